"""`agent-runner retention`: have the server remove now what is older than its retention allows."""

import asyncio
import json
import math
from collections import Counter
from typing import Any

import click

from agent_runner.app.cli.exits import api_errors, server_url, settings_or_exit
from agent_runner.clients.backend.http_api import HttpApi

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@click.command()
@click.option("--days", type=click.FloatRange(0, 36_500), help="Instead of AGENT_RUNNER_RETENTION_DAYS of the server.")
@click.option("--dry-run", is_flag=True, help="Count what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True)
@click.option("--server", metavar="URL", callback=server_url, help="AGENT_RUNNER_HTTP_URL [http://127.0.0.1:8080]")
def retention(days: float | None, dry_run: bool, as_json: bool, server: str | None) -> None:
    """Remove old executions, and sandboxes and memory that no session needs. Needs a key with the scope admin.

    The server does the same by itself every hour.
    """
    if days is not None and not math.isfinite(days):
        raise click.UsageError("--days: give a number of days")
    settings = settings_or_exit("client")

    async def call() -> dict[str, Any]:
        url, key = server or settings.http_url, settings.api_key.get_secret_value()
        async with HttpApi(url, key, settings.tls_ca) as api:
            return await _all(api, days, dry_run=dry_run)

    with api_errors():
        removed = asyncio.run(call())
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **removed}, indent=2))
        return
    verb = "would be removed" if dry_run else "removed"
    logs = f"{removed['log_rows']:,} rows of logs, {_size(removed['bytes'])}"
    click.echo(f"{verb}: {removed['executions']:,} executions ({logs})")
    click.echo(f"{verb}: the sandboxes and spare memory of {removed['sessions']:,} sessions (by the workers)")
    click.echo(f"{verb}: {removed['skill_archives']:,} archives of deleted skills")
    if removed["unconfirmed"]:
        click.echo(f"{removed['unconfirmed']:,} removals are with the workers, not confirmed yet")


async def _all(api: HttpApi, days: float | None, *, dry_run: bool) -> dict[str, Any]:
    """Calls the server until nothing is left. Returns the sums; `unconfirmed` is the number after the last call."""
    sums: Counter[str] = Counter()
    while True:
        answer = await api.retention(days, dry_run=dry_run)
        more, unconfirmed = answer.pop("more", False), answer.pop("unconfirmed", 0)
        sums.update(answer)
        if not more:
            return {**sums, "unconfirmed": unconfirmed}


def _size(count: float) -> str:
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:,.0f} {unit}" if unit == _UNITS[0] else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
