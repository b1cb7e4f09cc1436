"""Following an execution: a snapshot or a position, then every later row of its log, then the end (law L7).

The reader sets the pace: rows are read in pages when the one before has been taken, so a slow reader costs no memory.
A reader wakes by `Wakeups`, and looks by itself every second in case a wake-up was lost.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from app.server.context import ServerContext
from app.server.problems import Kind, Problem, not_found
from status.log import LogRow, State
from status.phases import TERMINAL_PHASES, Phase
from status.store.records import Execution

PAGE_ROWS = 500
LOOK_EVERY_S = 1.0
QUIET_S = 15.0
"""After this long without a row the reader is told so, and we look whether the execution still exists."""
COALESCE_S = 0.25
_PHASES = {phase.wire_name: phase for phase in Phase}


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    execution: Execution
    state: State

    @property
    def seq(self) -> int:
        return self.state.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """Rows in order, without gaps."""

    rows: Sequence[LogRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Nothing happened for `QUIET_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    seq: int
    phase: Phase
    error_code: str


Followed = Snapshot | Updates | Quiet | End


async def follow(ctx: ServerContext, execution_id: str, after: int | None) -> AsyncGenerator[Followed, None]:
    """`after` None: first a snapshot; a number: only rows above it. Ends after `End`.

    Raises `Problem`: NOT_FOUND, or OUT_OF_RANGE when the log has no such position yet.
    """
    with ctx.wakeups.subscribe(execution_id):
        if after is None:
            first = await snapshot(ctx, execution_id)
            yield first
            after, ended = first.seq, _end_of(first.execution)
        else:
            ended = await _checked(ctx, execution_id, after)
        quiet_since = time.monotonic()
        while True:
            if ended is not None and after >= ended.seq:
                yield ended
                return
            rows = await ctx.store.read_log(execution_id, after, PAGE_ROWS)
            if rows:
                yield Updates(rows=rows)
                after = rows[-1].seq
                ended = ended or end_row(rows[-1])
                quiet_since = time.monotonic()
                continue
            if time.monotonic() - quiet_since >= QUIET_S:
                await _existing(ctx, execution_id)
                yield Quiet()
                quiet_since = time.monotonic()
            await ctx.wakeups.wait(execution_id, LOOK_EVERY_S)


async def states(ctx: ServerContext, execution_id: str) -> AsyncGenerator[Snapshot, None]:
    """The whole state now, then after changes, at most four times a second; the terminal one always, as the last."""
    with ctx.wakeups.subscribe(execution_id):
        shown = await snapshot(ctx, execution_id)
        yield shown
        since = time.monotonic()
        state = shown.state
        while not state.terminal:
            await ctx.wakeups.wait(execution_id, LOOK_EVERY_S)
            await _rest(since + COALESCE_S)
            changed = False
            while rows := await ctx.store.read_log(execution_id, state.seq, PAGE_ROWS):
                for row in rows:
                    state.apply(row)
                changed = True
            if changed:
                yield Snapshot(execution=await _existing(ctx, execution_id), state=state)
                since = time.monotonic()
            elif time.monotonic() - since > QUIET_S:
                await _existing(ctx, execution_id)


async def until_ended(ctx: ServerContext, execution_id: str, timeout_s: float) -> None:
    """Returns when the execution has ended, at the latest after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    with ctx.wakeups.subscribe(execution_id):
        while (left := deadline - time.monotonic()) > 0:
            if (await _existing(ctx, execution_id)).phase in TERMINAL_PHASES:
                return
            await ctx.wakeups.wait(execution_id, min(LOOK_EVERY_S, left))


async def snapshot(ctx: ServerContext, execution_id: str) -> Snapshot:
    found = await ctx.store.state(execution_id)
    if found is None:
        raise not_found("AgentExecution", execution_id)
    execution, state = found
    return Snapshot(execution=execution, state=state)


def phase_of(row: LogRow) -> Phase | None:
    """The phase that this row sets, if it sets one."""
    said: dict[str, Any] = row.payload.get("status") or {} if row.kind == "merge" else row.payload
    return _PHASES.get(str(said.get("phase", ""))) if row.kind in ("phase", "merge") else None


def end_row(row: LogRow) -> End | None:
    """The end that this row writes; the terminal row is always the last of a log."""
    phase = phase_of(row)
    if phase not in TERMINAL_PHASES or phase is None:
        return None
    return End(seq=row.seq, phase=phase, error_code=str(row.payload.get("error_code", "")))


def _end_of(execution: Execution) -> End | None:
    if execution.phase not in TERMINAL_PHASES:
        return None
    return End(seq=execution.last_seq, phase=execution.phase, error_code=execution.error_code)


async def _checked(ctx: ServerContext, execution_id: str, after: int) -> End | None:
    execution = await _existing(ctx, execution_id)
    if not 0 <= after <= execution.last_seq:
        raise unknown_position(str(after), execution.last_seq)
    return _end_of(execution)


def unknown_position(given: str, last_seq: int) -> Problem:
    return Problem(
        Kind.OUT_OF_RANGE,
        f"the log has no position {given!r}; it goes from 0 to {last_seq}",
        next_step="Start again without a position: the first event is then a snapshot.",
    )


async def _existing(ctx: ServerContext, execution_id: str) -> Execution:
    execution = await ctx.store.get(execution_id)
    if execution is None:
        raise not_found("AgentExecution", execution_id)
    return execution


async def _rest(until: float) -> None:
    if (left := until - time.monotonic()) > 0:
        await asyncio.sleep(left)
