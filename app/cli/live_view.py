"""Follows one execution to its end on the terminal, for `run`, `executions watch` and `executions answer`."""

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from agent_runner.app.cli.display import Display, SilentDisplay, display_for, ending, failure, phase_of
from agent_runner.app.cli.exits import EXIT_CANCELLED, EXIT_FAILED
from agent_runner.clients.backend.http_api import PATIENCE_S, ApiError, HttpApi, Json
from agent_runner.status.phases import Phase

FIRST_WORD_S, NEXT_WORD_S = 2.0, 8.0
"""A user whose server does not answer reads so after this time, and again each time after that."""
CANCEL_PATIENCE_S = 30.0
"""How long Ctrl-C waits for the execution's end before it leaves anyway."""
WHOLE_LOG = 0


class Interrupts:
    """Handles Ctrl-C, SIGTERM and SIGHUP while the loop runs. The first sets `asked`, the second ends the task."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._task = asyncio.current_task()

    def __enter__(self) -> "Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _on_signal(self) -> None:
        if self.asked.is_set() and self._task is not None:
            self._task.cancel()
        self.asked.set()


class Terminal:
    """`async with Terminal(server, as_json=...) as terminal:` shows one execution to the user.

    `terminal.code` is the exit code afterwards. An `ApiError` is printed and ends the block, a second Ctrl-C ends it
    too. All other exceptions go to the caller.
    """

    def __init__(self, server: tuple[str, str, Path | None], *, as_json: bool) -> None:
        self.api = HttpApi(*server)
        self.display: Display = SilentDisplay() if as_json else display_for(sys.stdout)
        self.code = 0
        self._as_json = as_json
        self._interrupts = Interrupts()

    async def __aenter__(self) -> Self:
        self._interrupts.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            await self.api.close()
        finally:
            self._interrupts.__exit__()
            self.display.close()
        match error:
            case ApiError():
                self.code = told(error)
            case asyncio.CancelledError():
                self.code = EXIT_CANCELLED
            case _:
                return False
        return True

    async def create(self, body: Mapping[str, Any]) -> None:
        """Create the execution and follow it; Ctrl-C cancels it."""
        created = await _told_while_waiting(
            asyncio.create_task(self.api.create(dict(body))), self.api.url, self._interrupts.asked
        )
        execution_id = str((created.get("metadata") or {})["id"])
        self.display.note(f"execution {execution_id}")
        await self.follow(execution_id, cancels=True)

    async def follow(self, execution_id: str, *, cancels: bool) -> None:
        """Follow it to its end. With `cancels`, Ctrl-C cancels the execution; without, it only stops watching."""
        self.code = await follow_and_report(
            self.api, execution_id, self.display, self._interrupts, cancels=cancels, as_json=self._as_json
        )


async def _told_while_waiting(creating: "asyncio.Task[Json]", url: str, asked: asyncio.Event) -> Json:
    """The answer to a create. Says on stderr that there is none yet, and that it goes on trying; from then on an
    interrupt leaves. (Before that it cancels the execution, as soon as that is known.)"""
    await asyncio.wait({creating}, timeout=FIRST_WORD_S)
    leaving = asyncio.create_task(asked.wait())
    waited_s = FIRST_WORD_S
    try:
        while not creating.done():
            left = f"trying until {PATIENCE_S:g} s have passed (Ctrl-C: leave)"
            click.echo(f"no answer from {url} for {waited_s:g} s; {left}", err=True)
            await asyncio.wait({creating, leaving}, timeout=NEXT_WORD_S, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not creating.done():
                creating.cancel()
                raise asyncio.CancelledError
            waited_s += NEXT_WORD_S
        return await creating
    finally:
        leaving.cancel()


async def follow(api: HttpApi, execution_id: str, display: Display, interrupts: Interrupts, *, cancels: bool) -> int:
    """Show the execution until it ends. Returns the exit code of an interrupt, or -1 when the execution has ended.

    With `cancels`, an interrupt cancels the execution and waits for its end; without, it only stops watching.
    """
    reading = asyncio.create_task(_read(api, execution_id, display))
    asked = asyncio.create_task(interrupts.asked.wait())
    try:
        await asyncio.wait({reading, asked}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            await reading
            return -1
        if not cancels:
            return EXIT_CANCELLED
        display.note("cancelling ... (Ctrl-C again: leave now)")
        await api.cancel(execution_id)
        ended, _ = await asyncio.wait({reading}, timeout=CANCEL_PATIENCE_S)
        if ended:
            await reading
            return -1
        display.note("it has not ended yet; agent-runner executions watch follows it")
        return EXIT_CANCELLED
    finally:
        for task in (reading, asked):
            task.cancel()
        await asyncio.gather(reading, asked, return_exceptions=True)


async def _read(api: HttpApi, execution_id: str, display: Display) -> None:
    async with aclosing(api.events(execution_id, WHOLE_LOG)) as events:
        async for event in events:
            display.show(event)


async def follow_and_report(
    api: HttpApi, execution_id: str, display: Display, interrupts: Interrupts, *, cancels: bool, as_json: bool
) -> int:
    """Follow the execution and report its end. Returns the exit code."""
    try:
        code = await follow(api, execution_id, display, interrupts, cancels=cancels)
    finally:
        display.close()
    if code >= 0:
        return code
    execution = await api.get(execution_id)
    return report(execution, display, as_json=as_json)


def report(execution: Mapping[str, Any], display: Display, *, as_json: bool) -> int:
    """Prints the last lines or the JSON on stdout, an error and its next step on stderr. Returns the exit code."""
    phase = phase_of(execution)
    if as_json:
        click.echo(json.dumps(execution, indent=2, ensure_ascii=False))
    else:
        click.echo(ending(execution, display.story))
        if step := execution.get("next_step"):
            click.echo(f"It waits for an answer. {step}")
        session = str((execution.get("spec") or {}).get("session_id") or "")
        if session:
            click.echo(f"session {session} (--session {session} goes on with it)")
    if phase is Phase.COMPLETED:
        return 0
    what, where, next_step = failure(execution)
    click.echo(f"{'Cancelled' if phase is Phase.CANCELLED else 'Error'}: {what}", err=True)
    if where:
        click.echo(f"Where: {where}", err=True)
    if next_step:
        click.echo(f"Next step: {next_step}", err=True)
    return EXIT_CANCELLED if phase is Phase.CANCELLED else EXIT_FAILED


def told(error: ApiError) -> int:
    """Prints the server's error. Returns the exit code."""
    click.echo(f"Error: {error} [{error.code}]", err=True)
    if error.next_step:
        click.echo(f"Next step: {error.next_step}", err=True)
    return EXIT_FAILED


def out_is_terminal() -> bool:
    return sys.stdout.isatty()
