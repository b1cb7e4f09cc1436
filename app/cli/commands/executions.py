"""`agent-runner executions`: a client of a running server."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from agent_runner.app.cli.commands.answer import answer_on
from agent_runner.app.cli.display import failure, phase_of
from agent_runner.app.cli.exits import Failed, api_errors, server_url, settings_or_exit
from agent_runner.app.cli.live_view import Terminal
from agent_runner.app.cli.secret_options import env_option, secrets_of
from agent_runner.clients.backend.http_api import HttpApi
from agent_runner.status.phases import TERMINAL_PHASES, Phase

Server = tuple[str, str, Path | None]
"""Address, key, trusted certificate authority."""
_COLUMNS = (("ID", 30), ("PHASE", 12), ("CREATED", 20), ("SESSION", 30))


@click.group()
@click.option("--server", metavar="URL", callback=server_url, help="AGENT_RUNNER_HTTP_URL [http://127.0.0.1:8080]")
@click.pass_context
def executions(ctx: click.Context, server: str | None) -> None:
    """List, get, watch, cancel, redrive or answer executions."""
    settings = settings_or_exit("client")
    ctx.obj = (server or settings.http_url, settings.api_key.get_secret_value(), settings.tls_ca)


@executions.command("list")
@click.option("--phase", type=click.Choice([p.name.lower() for p in Phase], case_sensitive=False))
@click.option("--session", "session_id", default="")
@click.option("--agent", default="")
@click.option("--waiting", is_flag=True, help="Only what waits for an answer.")
@click.option("--page-size", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--page-token", default="")
@click.option("--json", "as_json", is_flag=True)
@click.option("--full", is_flag=True, help="With --json: with their content, which lists leave out.")
@click.pass_obj
def list_(
    server: Server, phase: str | None, session_id: str, agent: str, waiting: bool, page_size: int, page_token: str,
    as_json: bool, full: bool,
) -> None:  # fmt: skip
    """Newest first."""

    async def ask(api: HttpApi) -> dict[str, Any]:
        wire = Phase.named(phase).wire_name if phase else ""
        return await api.list(
            phase=wire,
            session_id=session_id,
            agent=agent,
            waiting=waiting,
            page_size=page_size,
            page_token=page_token,
            full=full and as_json,
        )

    page = _with_api(server, ask)
    if as_json:
        _print(page)
        return
    click.echo("  ".join(name.ljust(width) for name, width in _COLUMNS) + "  ERROR")
    for execution in page.get("entries", []):
        click.echo(_row(execution))
    if token := page.get("next_page_token"):
        click.echo(f"more: --page-token {token}")


@executions.command()
@click.argument("execution_id")
@click.pass_obj
def get(server: Server, execution_id: str) -> None:
    """One execution with its whole status, as JSON."""
    _print(_with_api(server, lambda api: api.get(execution_id)))


@executions.command()
@click.argument("execution_id")
@click.option("--json", "as_json", is_flag=True, help="The final execution as JSON on stdout and nothing else there.")
@click.pass_obj
def watch(server: Server, execution_id: str, as_json: bool) -> None:
    """Show it from its beginning to its end; Ctrl-C stops watching, not the execution. Exit code as of `run`."""
    sys.exit(asyncio.run(_watch(server, execution_id, as_json=as_json)))


@executions.command()
@click.argument("execution_id")
@click.pass_obj
def cancel(server: Server, execution_id: str) -> None:
    """Ask for its end; `watch` shows when it has come."""
    phase = phase_of(_with_api(server, lambda api: api.cancel(execution_id)))
    if phase is Phase.CANCELLED:
        click.echo(f"{execution_id} is cancelled")
    elif phase in TERMINAL_PHASES:
        click.echo(f"{execution_id} has ended already: {phase.name}. Nothing was changed.")
    else:
        click.echo(f"cancel of {execution_id} was requested")


@executions.command()
@click.argument("execution_id")
@env_option
@click.option(
    "--from",
    "begin",
    type=click.Choice(["failed_step", "start"]),
    default=None,
    help="Go on from the step that failed (it begins again, those before it are kept), or begin before the run."
    " By default the first that is possible.",
)
@click.option("--watch", "then_watch", is_flag=True, help="And show the new one.")
@click.pass_obj
def redrive(
    server: Server,
    execution_id: str,
    env: tuple[str, ...],
    env_file: tuple[Path, ...],
    begin: str | None,
    then_watch: bool,
) -> None:
    """A new execution with the same input. Secrets went with the end of the old one: give them again."""
    secrets = secrets_of(env, env_file)
    created = _with_api(server, lambda api: api.redrive(execution_id, secrets, begin or ""))
    new_id = str((created.get("metadata") or {}).get("id", ""))
    click.echo(new_id)
    if then_watch:
        sys.exit(asyncio.run(_watch(server, new_id, as_json=False)))


@executions.command()
@click.argument("given", nargs=-1, metavar="[ID] [ANSWER]")
@click.option("--session", "-s", "session_id", default="", help="The session that waits, instead of an execution's ID.")
@click.option("--id", "by_id", multiple=True, metavar="QUESTION=JSON", help="The answer to one question; repeatable.")
@env_option
@click.option("--json", "as_json", is_flag=True, help="The final execution as JSON on stdout and nothing else there.")
@click.pass_obj
def answer(
    server: Server, given: tuple[str, ...], session_id: str, by_id: tuple[str, ...], env: tuple[str, ...],
    env_file: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Answer what an execution waits for, and show how it goes on. Without an answer: list the open questions.

    ANSWER is a text, or a JSON object or list. Exit code as of `run`.
    """
    sys.exit(answer_on(server, given, session_id, by_id, secrets_of(env, env_file), as_json=as_json))


async def _watch(server: Server, execution_id: str, *, as_json: bool) -> int:
    async with Terminal(server, as_json=as_json) as terminal:
        await terminal.follow(execution_id, cancels=False)
    return terminal.code


def _with_api(server: Server, ask: Any) -> Any:
    async def call() -> Any:
        async with HttpApi(*server) as api:
            return await ask(api)

    with api_errors():
        return asyncio.run(call())


def _row(execution: Mapping[str, Any]) -> str:
    status, metadata = execution.get("status") or {}, execution.get("metadata") or {}
    phase = str(status.get("phase", "")).removeprefix("EXECUTION_")
    created = ((status.get("audit") or {}).get("status_audit") or {}).get("created_at", "") or status.get(
        "started_at", ""
    )
    session = (execution.get("spec") or {}).get("session_id", "")
    shown = "WAITING" if execution.get("waiting_for_input") else phase
    cells = (metadata.get("id", ""), shown, str(created)[:19], session)
    less = execution.get("incomplete") or {}
    error = f"not a whole answer: {less.get('text') or less.get('reason')}" if less else ""
    if phase in ("FAILED", "CANCELLED"):
        error = failure(execution)[0].splitlines()[0][:120]
    return (
        "  ".join(str(cell).ljust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)) + f"  {error}"
    ).rstrip()


def _print(document: Any) -> None:
    if not isinstance(document, dict):
        raise Failed("the server's answer is not JSON")
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
