"""`agent-runner schedules`: executions that begin by the clock."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from agent_runner.app.cli.exits import api_errors, server_url, settings_or_exit
from agent_runner.app.cli.secret_options import env_option, secrets_of
from agent_runner.clients.backend.http_api import HttpApi

Json = dict[str, Any]
Ask = Callable[[HttpApi], Awaitable[Json]]
Asked = Callable[[Ask], Json]
F = TypeVar("F", bound=Callable[..., Any])
_COLUMNS = (("ID", 30), ("NAME", 20), ("STATE", 7), ("WHEN", 20), ("TIME ZONE", 16), ("NEXT (UTC)", 19), ("FIRED", 5))
_HISTORY = (("NO", 4), ("TIME (UTC)", 19), ("BY", 5), ("OUTCOME", 8), ("PHASE", 11), ("EXECUTION", 30))
_TIME_OPTIONS = (
    click.option("--cron", help="Five fields, or @daily and the like: '0 9 * * 1-5'."),
    click.option("--at", multiple=True, metavar="TIME", help="Instead: a time like 2027-01-31T09:00; once or more."),
    click.option("--timezone", help="An IANA name, like Europe/Berlin. [UTC]"),
    click.option("--until", "end_time", metavar="TIME", help="No time after this one fires; '' for no end."),
    click.option("--max-firings", type=click.IntRange(min=0), help="By the clock; 0: any number."),
)
_RULE_OPTIONS = (
    click.option("--overlap", type=click.Choice(["fresh", "enqueue", "reject", "interrupt", "rollback"]),
                 help="fresh: a session for each firing; else one session, and what a firing does in it. [fresh]"),
    click.option("--session", "session_id", help="The session of all firings; without it they get one of their own."),
    click.option("--catch-up", type=click.Choice(["skip", "once", "all"]),
                 help="What fires of the times that passed while no server ran. [once]"),
    click.option("--catch-up-limit", type=click.IntRange(1, 100), help="With all: at most so many. [10]"),
    click.option("--grace", "grace_s", type=click.FloatRange(min=0), help="With skip: seconds until late. [60]"),
)  # fmt: skip
_EXECUTION_OPTIONS = (
    click.option("--agent", help="Id or slug."),
    click.option("--graph"),
    click.option("--model"),
    click.option("--input", "input_json", metavar="JSON", help="Instead of a message, or with it."),
)
_as_json = click.option("--json", "as_json", is_flag=True)


def _all_of(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def added(command: F) -> F:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return added


@click.group()
@click.option("--server", metavar="URL", callback=server_url, help="AGENT_RUNNER_HTTP_URL [http://127.0.0.1:8080]")
@click.pass_context
def schedules(ctx: click.Context, server: str | None) -> None:
    """Make, list, change, pause, fire or delete schedules."""
    settings = settings_or_exit("client")

    def asked(ask: Ask) -> Json:
        async def call() -> Json:
            url, key = server or settings.http_url, settings.api_key.get_secret_value()
            async with HttpApi(url, key, settings.tls_ca) as api:
                return await ask(api)

        with api_errors():
            return asyncio.run(call())

    ctx.obj = asked


@schedules.command()
@click.argument("name")
@click.argument("message", required=False)
@_all_of(_TIME_OPTIONS, _EXECUTION_OPTIONS)
@env_option
@_all_of(_RULE_OPTIONS)
@click.option("--paused", is_flag=True)
@click.option("--org", default="")
@_as_json
@click.pass_obj
def create(
    asked: Asked, /, name: str, message: str | None, org: str, paused: bool, as_json: bool, **given: Any
) -> None:
    """A schedule that sends MESSAGE to an agent or a graph."""
    body: Json = {"name": name, "execution": _execution(message, given), **_rules(given)}
    body |= ({"org": org} if org else {}) | ({"paused": True} if paused else {})
    _show(asked(lambda api: api.schedules("POST", body=body)), as_json=as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.option("--name")
@click.option("--message", help="With it the execution is replaced as a whole: give its other parts again.")
@_all_of(_TIME_OPTIONS, _EXECUTION_OPTIONS)
@env_option
@_all_of(_RULE_OPTIONS)
@_as_json
@click.pass_obj
def update(
    asked: Asked, /, schedule_id: str, name: str | None, message: str | None, as_json: bool, **given: Any
) -> None:
    """Change what is given; the rest stays."""
    execution = _execution(message, given)
    body = _rules(given) | ({"name": name} if name else {}) | ({"execution": execution} if execution else {})
    if not body:
        raise click.UsageError("nothing to change: give an option")
    _show(asked(lambda api: api.schedules("PATCH", schedule_id, body=body)), as_json=as_json)


@schedules.command("list")
@click.option("--page-size", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--page-token", default="")
@_as_json
@click.pass_obj
def list_(asked: Asked, page_size: int, page_token: str, as_json: bool) -> None:
    """Newest first."""
    page = asked(lambda api: api.schedules(page_size=page_size, page_token=page_token))
    if as_json:
        _print(page)
        return
    _table(_COLUMNS, [_row(one) for one in page.get("schedules", [])])
    if token := page.get("next_page_token"):
        click.echo(f"more: --page-token {token}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.pass_obj
def get(asked: Asked, schedule_id: str) -> None:
    """One schedule, as JSON."""
    _print(asked(lambda api: api.schedules("GET", schedule_id)))


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@_as_json
@click.pass_obj
def pause(asked: Asked, schedule_id: str, as_json: bool) -> None:
    """It fires no more until it goes on."""
    _show(asked(lambda api: api.schedules("POST", schedule_id, "pause")), as_json=as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@_as_json
@click.pass_obj
def resume(asked: Asked, schedule_id: str, as_json: bool) -> None:
    """It goes on with its next time; those that came meanwhile do not fire."""
    _show(asked(lambda api: api.schedules("POST", schedule_id, "resume")), as_json=as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@_as_json
@click.pass_obj
def fire(asked: Asked, schedule_id: str, as_json: bool) -> None:
    """One execution now, also while it is paused. Prints the execution's id."""
    made = asked(lambda api: api.schedules("POST", schedule_id, "fire", once=True))
    _print(made) if as_json else click.echo(made["metadata"]["id"])


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@_as_json
@click.pass_obj
def history(asked: Asked, schedule_id: str, limit: int, as_json: bool) -> None:
    """The last firings, the newest first: what came of them, or why there is no execution."""
    found = asked(lambda api: api.schedules("GET", schedule_id, "firings", limit=limit))
    if as_json:
        _print(found)
        return
    _table(_HISTORY, [_firing(one) for one in found.get("firings", [])])


@schedules.command()
@click.argument("schedule_id", metavar="ID", required=False)
@_all_of(_TIME_OPTIONS)
@click.option("--count", type=click.IntRange(1, 100), default=10, show_default=True)
@_as_json
@click.pass_obj
def preview(asked: Asked, /, schedule_id: str | None, count: int, as_json: bool, **given: Any) -> None:
    """The next times of a schedule, or of --cron without one."""
    if schedule_id:
        found = asked(lambda api: api.schedules("GET", schedule_id, "preview", count=count))
    else:
        body = {**_rules(given), "count": count}
        found = asked(lambda api: api.schedules("POST", "preview", body=body))
    if as_json:
        _print(found)
        return
    for one in found["times"]:
        click.echo(f"{one['at'][:19]}Z  {one['local']}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.pass_obj
def delete(asked: Asked, schedule_id: str) -> None:
    """With its history; executions that it made stay."""
    asked(lambda api: api.schedules("DELETE", schedule_id))
    click.echo(f"{schedule_id} is deleted")


def _rules(given: Json) -> Json:
    names = ("cron", "timezone", "end_time", "max_firings", "overlap", "session_id", "catch_up", "catch_up_limit",
             "grace_s")  # fmt: skip
    rules = {name: given[name] for name in names if given.get(name) is not None}
    return rules | ({"at": list(given["at"])} if given.get("at") else {})


def _execution(message: str | None, given: Json) -> Json:
    execution: Json = {name: given[name] for name in ("agent", "graph", "model") if given[name]}
    files: tuple[Path, ...] = given["env_file"]
    if secrets := secrets_of(given["env"], files):
        execution["env"] = secrets
    if message is not None:
        execution["message"] = message
    if given["input_json"]:
        try:
            execution["input"] = json.loads(given["input_json"])
        except ValueError as error:
            raise click.UsageError(f"--input: is not JSON: {error}") from None
    return execution


def _show(one: Json, *, as_json: bool) -> None:
    if as_json:
        _print(one)
    else:
        _table(_COLUMNS, [_row(one)])


def _row(one: Json) -> list[str]:
    when = one.get("cron") or ", ".join(at[:16] for at in one.get("at", []))
    state = f"{one['state']}" if one["state"] != "ended" else f"ended ({one.get('ended')})"
    next_at = str(one.get("next_at", "-"))[:19]
    return [one["id"], one["name"], state, when, one["timezone"], next_at, str(one["fired"])]


def _firing(one: Json) -> list[str]:
    phase = str(one.get("phase", "")).removeprefix("EXECUTION_")
    told = [one.get("error_code", ""), one.get("reason", "")]
    if one["passed_over"] and one["outcome"] == "fired":
        told.append(f"{one['passed_over']} earlier times passed over")
    cells = [str(one["number"]), one["due_at"][:19], one["kind"], one["outcome"], phase, one.get("execution_id", "")]
    return [*cells, " ".join(filter(None, told))]


def _table(columns: tuple[tuple[str, int], ...], rows: list[list[str]]) -> None:
    click.echo("  ".join(title.ljust(width) for title, width in columns).rstrip())
    for row in rows:
        padded = [cell.ljust(width) for cell, (_, width) in zip(row, columns, strict=False)]
        click.echo("  ".join([*padded, *row[len(columns) :]]).rstrip())


def _print(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
