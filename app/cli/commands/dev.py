"""`agent-runner dev`: the whole stack in one terminal."""

import os
import signal
import sys
import threading
from pathlib import Path

import click

from agent_runner.app.cli.commands.roles import FLOWER_PORT
from agent_runner.app.cli.data_dir import written_in
from agent_runner.app.cli.exits import Failed, settings_or_exit
from agent_runner.app.dev.redis import RedisMissing
from agent_runner.app.dev.stack import Stack, StackError, StackPlan
from agent_runner.clients.process.private_files import keep_private

LOOK_EVERY_S = 0.2


@click.command()
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="AGENT_RUNNER_DATA_DIR [./.agent-runner]"
)
@click.option("--http-port", type=click.IntRange(0, 65535), help="AGENT_RUNNER_HTTP_PORT [8080]; 0: a free one")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="AGENT_RUNNER_GRPC_PORT [50051]; 0: a free one")
@click.option(
    "--flower-port", type=click.IntRange(0, 65535), default=FLOWER_PORT, show_default=True, help="0: a free one"
)
@click.option("--no-flower", is_flag=True, help="Without Flower.")
@click.option("--no-worker", is_flag=True, help="Without a worker: start agent-runner worker yourself.")
def dev(
    data_dir: Path | None,
    http_port: int | None,
    grpc_port: int | None,
    flower_port: int,
    no_flower: bool,
    no_worker: bool,
) -> None:
    """The whole stack in one terminal: Redis, SQLite, server, worker, orchestrator, Flower.

    Prints READY with the addresses when all of it is up. Ctrl-C or SIGTERM ends all of it; twice: at once.

    The key is STIGMER_API_KEY; without it a random one of the data directory, which READY names as key_file. Flower's
    login is admin with AGENT_RUNNER_FLOWER_PASSWORD, else with a random password in the same file.
    """
    if data_dir is not None:
        os.environ["AGENT_RUNNER_DATA_DIR"] = str(data_dir)
    settings = settings_or_exit("dev")
    keep_private(settings.data_dir)
    plan = StackPlan(
        settings=settings,
        http_port=settings.http_port if http_port is None else http_port,
        grpc_port=settings.grpc_port if grpc_port is None else grpc_port,
        flower_port=flower_port,
        with_worker=not no_worker,
        with_flower=not no_flower,
        keep_endpoint=True,
        known_key=True,
        write=_prefixed,
    )
    with written_in(settings.data_dir, option="--data-dir"):
        _run(Stack(plan))


def _run(stack: Stack) -> None:
    asked = threading.Event()

    def on_signal(_number: int, _frame: object) -> None:
        if asked.is_set():
            stack.impatient = True
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        stack.start(stopping=asked.is_set, say=_say)
        if not asked.is_set():
            flower = f" flower={stack.flower_url}" if stack.flower_url else ""
            key_file = f" key_file={stack.facts_file}" if stack.has_own_key else ""
            click.echo(f"READY http={stack.http_url} grpc={stack.grpc_endpoint}{flower}{key_file}")
            _say(f"the page: {stack.page_url}")
            if flower and stack.has_own_flower_password:
                _say(f"Flower's login: admin, and flower_password of {stack.facts_file}")
        while not asked.wait(LOOK_EVERY_S):
            stack.tend(_say)
        _say("stopping ...")
    except (StackError, RedisMissing) as error:
        raise Failed(str(error)) from None
    finally:
        stack.stop()


def _say(text: str) -> None:
    click.echo(f"{'dev':<12} | {text}", err=True)


def _prefixed(role: str, line: bytes) -> None:
    try:
        sys.stderr.buffer.write(f"{role:<12} | ".encode() + line)
        sys.stderr.buffer.flush()
    except (OSError, ValueError):
        pass  # a closed terminal must not end the stack
