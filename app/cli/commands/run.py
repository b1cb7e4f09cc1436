"""`agent-runner run`: one execution, shown live; with a stack of its own when no server is configured."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent_runner.app.cli.attachment_options import attach_option, message_with
from agent_runner.app.cli.data_dir import written_in
from agent_runner.app.cli.exits import EXIT_CANCELLED, EXIT_USAGE, Failed, server_url, settings_or_exit
from agent_runner.app.cli.live_view import Terminal
from agent_runner.app.cli.secret_options import env_option, secrets_of
from agent_runner.clients.process.local_stack import stack_runs
from agent_runner.clients.process.private_files import keep_private
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.requests.fair_turns import HIGHEST, LOWEST
from agent_runner.status.requests.retries import MOST_ATTEMPTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request. `body` is the short form of the HTTP API; the agent of `agent_file` is added to it later."""

    body: Mapping[str, Any]
    agent_file: Path | None
    as_json: bool


@click.command()
@click.argument("message", required=False)
@click.option("--agent", "-a", metavar="NAME|ID|FILE", help="An agent on the server, or a file that describes one.")
@click.option("--graph", "-g", metavar="NAME", help="A graph of langgraph.json.")
@click.option("--session", "-s", metavar="ID", help="Go on with this session.")
@click.option("--model", "-m", metavar="NAME", help="The model, for this execution.")
@click.option(
    "--fallback-models", metavar="NAMES", help="Models that are asked in this order if it gives no answer: a,b."
)
@attach_option
@env_option
@click.option("--input", "input_", metavar="JSON", help="Fields of a graph's state, or an answer that is no text.")
@click.option(
    "--attempts",
    type=click.IntRange(1, MOST_ATTEMPTS),
    metavar="N",
    help="It may be tried N times: a lost worker or a model that is away is not its end.",
)
@click.option(
    "--priority",
    type=click.IntRange(LOWEST, HIGHEST),
    metavar="N",
    help="Where orgs take turns: before its org's other executions (more than 0), or after them.",
)
@click.option("--org", metavar="ORG", help="The organisation it belongs to.")
@click.option(
    "--server", metavar="URL", callback=server_url,
    help="A server that runs; else AGENT_RUNNER_HTTP_URL, else one for this run.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The final execution as JSON on stdout and nothing else there.")
def run(
    message: str | None, agent: str | None, graph: str | None, session: str | None, model: str | None,
    fallback_models: str | None, attach: tuple[str, ...], env: tuple[str, ...], env_file: tuple[Path, ...],
    input_: str | None, attempts: int | None, priority: int | None, org: str | None, server: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run MESSAGE and show it live. Ctrl-C cancels it.

    Exit code: 0 completed, 1 failed, 130 cancelled, 2 wrong usage or settings.
    """
    if message is None and input_ is None and not attach:
        raise click.UsageError("give MESSAGE, --input JSON or both; or --attach FILE")
    if agent is not None and graph is not None:
        raise click.UsageError("give one of --agent and --graph")
    agent_file = Path(agent) if agent and Path(agent).suffix in (".yaml", ".yml", ".json") else None
    body = {
        "message": message_with(message, attach), "input": _json(input_), "agent": None if agent_file else agent,
        "graph": graph, "session_id": session, "model": model, "env": secrets_of(env, env_file), "org": org,
        "priority": priority,
        "retry": {"maximum_attempts": attempts} if attempts else None,
        "fallback_models": [n.strip() for n in fallback_models.split(",")] if fallback_models else None,
    }  # fmt: skip
    sent = {k: v for k, v in body.items() if v or (k == "input" and v is not None)}
    request = Request(body=sent, agent_file=agent_file, as_json=as_json)
    settings = settings_or_exit("run")
    if server or settings.given("http_url"):
        key = settings.api_key.get_secret_value()
        sys.exit(asyncio.run(_run_on(server or settings.http_url, key, settings, request)))
    with written_in(settings.data_dir):
        code = _run_embedded(settings, request)
    sys.exit(code)


async def _run_on(url: str, key: str, settings: Settings, request: Request) -> int:
    """Runs the execution on a running server. Returns the exit code."""
    server = (url, key, settings.tls_ca)
    async with Terminal(server, as_json=request.as_json) as terminal:
        body = dict(request.body)
        if request.agent_file is not None:
            from agent_runner.app.cli.commands.apply import apply_file

            body["agent"] = await apply_file(terminal.api, request.agent_file, only_kind="Agent")
        await terminal.create(body)
    return terminal.code


def _run_embedded(settings: Settings, request: Request) -> int:
    from agent_runner.app.dev.redis import RedisMissing
    from agent_runner.app.dev.stack import Stack, StackError, StackPlan

    with _data_dir(settings, keeps_session="session_id" in request.body) as own, _Logs(own.data_dir / "logs") as logs:
        stack = Stack(StackPlan(settings=own, with_flower=False, write=logs.write, announce=False))
        try:
            with _stop_flag() as stopping:
                if not request.as_json:
                    click.echo("starting the stack for this run ...", err=True)
                stack.start(stopping=stopping)
                if stopping():
                    return EXIT_CANCELLED
            return asyncio.run(_run_on(stack.http_url, stack.key, own, request))
        except (StackError, RedisMissing) as error:
            raise Failed(str(error), next_step="agent-runner doctor shows what is missing.") from None
        finally:
            with _stop_flag(lambda: setattr(stack, "impatient", True)):
                stack.stop()


@contextmanager
def _data_dir(settings: Settings, *, keeps_session: bool) -> Iterator[Settings]:
    """The settings with the data directory to use: the configured one, or a temporary one if a stack runs there.

    Two runs at the same time are normal. The session of the second run is removed with its directory.
    """
    home = settings.data_dir
    keep_private(home)
    for left in home.glob("run-*"):  # left over from a run that was killed
        if left.is_dir() and not stack_runs(left):
            shutil.rmtree(left, ignore_errors=True)
    if not stack_runs(home):
        yield settings
        return
    if keeps_session:
        raise Failed(
            f"another run uses {home}, and --session needs what is stored there",
            next_step="Wait for it, or start agent-runner dev: any number of runs share that.",
        )
    own = Path(tempfile.mkdtemp(prefix="run-", dir=home))
    try:
        values = {name: getattr(settings, name) for name in settings.model_fields_set}
        yield Settings(**{**values, "data_dir": own})
    finally:
        shutil.rmtree(own, ignore_errors=True)


class _Logs:
    """One file per role, with the output of its process. The files of the last run are kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}

    def __enter__(self) -> "_Logs":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, role: str, line: bytes) -> None:
        if role not in self._files:
            self._files[role] = (self._folder / f"{role}.log").open("wb")
        with suppress(OSError, ValueError):
            self._files[role].write(line)
            self._files[role].flush()


@contextmanager
def _stop_flag(again: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """In this block Ctrl-C, SIGTERM and SIGHUP do not end the process: each sets a flag and calls `again`."""
    asked = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        asked.set()
        again()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(f"--input is not JSON: {error}", exit_code=EXIT_USAGE) from None
