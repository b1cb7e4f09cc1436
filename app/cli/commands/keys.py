"""`agent-runner keys`: API keys of a server: make, list, revoke."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import click

from agent_runner.app.cli.exits import api_errors, server_url, settings_or_exit
from agent_runner.clients.backend.http_api import HttpApi

SCOPES = ("admin", "execute", "read", "runner", "model")
_COLUMNS = (("ID", 18), ("NAME", 24), ("SCOPES", 24), ("ORG", 16), ("CREATED", 20), ("LAST USED", 20),
            ("EXPIRES", 20), ("MADE BY", 18))  # fmt: skip
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
Ask = Callable[[HttpApi], Awaitable[Any]]


@click.group()
@click.option("--server", metavar="URL", callback=server_url, help="AGENT_RUNNER_HTTP_URL [http://127.0.0.1:8080]")
@click.pass_context
def keys(ctx: click.Context, server: str | None) -> None:
    """Make, list and revoke API keys. Needs a key with the scope admin."""
    settings = settings_or_exit("client")

    def asked(ask: Ask) -> Any:
        async def call() -> Any:
            url, key = server or settings.http_url, settings.api_key.get_secret_value()
            async with HttpApi(url, key, settings.tls_ca) as api:
                return await ask(api)

        with api_errors():
            return asyncio.run(call())

    ctx.obj = asked


def _seconds(_context: click.Context, _option: click.Parameter, given: str | None) -> float | None:
    if given is None:
        return None
    if not (matched := re.fullmatch(r"([1-9]\d{0,5})([smhdw])", given.strip())):
        raise click.BadParameter("give a number and s, m, h, d or w, like 30d")
    return float(matched.group(1)) * _UNITS_S[matched.group(2)]


@keys.command()
@click.option("--name", required=True, help="Whom or what it is for.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="Once or more.")
@click.option("--org", default="", help="Only what belongs to this org; without it all orgs.")
@click.option("--queue", "queues", multiple=True, help="Of a runner: only work of this queue; once or more. [all]")
@click.option("--expires", "expires_in_s", metavar="TIME", callback=_seconds, help="From now: 30d, 12h. [never]")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def create(
    asked: Callable[[Ask], Any], name: str, scopes: tuple[str, ...], org: str, queues: tuple[str, ...],
    expires_in_s: float | None, as_json: bool,
) -> None:  # fmt: skip
    """A new key. It is printed once, and kept by nobody."""
    made = asked(
        lambda api: api.create_key(name=name, scopes=scopes, org=org, queues=queues, expires_in_s=expires_in_s)
    )
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
        return
    click.echo(f"{made.get('id')}: {name} ({', '.join(scopes)}{f', org {org}' if org else ''}){_until(made)}", err=True)
    if "runner" in scopes and not queues:
        click.echo(
            "It serves every queue; --queue NAME keeps a key to its own (docs/guides/security.md#scopes).", err=True
        )
    click.echo("The key is shown this once:", err=True)
    click.echo(made.get("key"))


@keys.command("list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_obj
def list_(asked: Callable[[Ask], Any], as_json: bool) -> None:
    """Newest first, revoked ones too."""
    found = asked(lambda api: api.keys())
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo("  ".join(title.ljust(width) for title, width in _COLUMNS).rstrip())
    for key in found:
        cells = [
            key.get("id", ""), key.get("name", ""), ",".join(key.get("scopes", [])), key.get("org", "") or "(all)",
            str(key.get("created_at", ""))[:19], str(key.get("last_used_at", "never"))[:19],
            str(key.get("expires_at", "never"))[:19], key.get("made_by", ""),
        ]  # fmt: skip
        revoked = f"revoked {str(key['revoked_at'])[:19]}" if key.get("revoked_at") else ""
        row = "  ".join(str(cell).ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
        served = f"queues {', '.join(key['queues'])}" if key.get("queues") else ""
        click.echo("  ".join(filter(None, (row, served, revoked))).rstrip())


@keys.command()
@click.argument("key_id", metavar="ID")
@click.pass_obj
def revoke(asked: Callable[[Ask], Any], key_id: str) -> None:
    """It opens nothing any more, at the latest in 5 s. ID is the public part of the key."""
    key = asked(lambda api: api.revoke_key(key_id))
    click.echo(f"{key.get('id')}: {key.get('name')} revoked")


def _until(key: dict[str, Any]) -> str:
    return f", until {str(key['expires_at'])[:19]}" if key.get("expires_at") else ""
