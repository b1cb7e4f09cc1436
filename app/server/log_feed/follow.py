"""Following an execution: a snapshot or a position, then every later row of its log, then the end (law L7).

The reader sets the pace: a page of rows is taken when the page before has been sent, so a slow reader costs no memory.
Rows are read once for all readers of the same execution (`watchers.py`). A reader that began further back, or is slower
than the others, reads its missing rows from the store.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.log_feed.log_ends import End, end_of, end_row
from agent_runner.app.server.log_feed.shared_pages import SharedPage
from agent_runner.app.server.log_feed.watchers import PAGE_ROWS, Watcher
from agent_runner.app.server.problems import Kind, Problem, not_found
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from agent_runner.status.log.log import State
from agent_runner.status.phases import TERMINAL_PHASES
from agent_runner.status.store.records import Execution

QUIET_S = 15.0
"""After this long without a row the reader gets `Quiet`."""
COALESCE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    execution: Execution
    state: State

    @property
    def seq(self) -> int:
        return self.state.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    rows: SharedPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Nothing happened for `QUIET_S`."""


Followed = Snapshot | Updates | Quiet | End


async def follow(
    ctx: ServerContext, execution_id: str, after: int | None, made: Snapshot | None = None
) -> AsyncGenerator[Followed, None]:
    """`after` None: first a snapshot; a number: only rows above it. Ends after `End`. `made`: what the caller has just
    stored as a new execution; it is not read again.

    Raises `Problem`: NOT_FOUND, or OUT_OF_RANGE when the log has no such position yet.
    """
    with ctx.watchers.watch(execution_id) as watcher:
        if after is None:
            first = made or await snapshot(ctx, execution_id)
            execution, after = first.execution, first.seq
            yield first
        elif made is not None:
            execution = made.execution
        else:
            execution = await _checked(ctx, execution_id, after)
        ended = end_of(execution)
        if ended is None:
            watcher.start(execution.last_seq)
        quiet_since = time.monotonic()
        while ended is None or after < ended.seq:
            rows = await _rows_after(ctx, watcher, execution_id, after)
            if rows:
                yield Updates(rows=rows)
                after = rows[-1].seq
                ended = ended or end_row(rows[-1])
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= QUIET_S:
                yield Quiet()
                quiet_since = time.monotonic()
            else:
                await watcher.news()
        yield ended


async def states(ctx: ServerContext, execution_id: str) -> AsyncGenerator[Snapshot, None]:
    """The whole state now, then after changes, at most four times a second. The last one is the terminal state."""
    with ctx.watchers.watch(execution_id) as watcher:
        shown = await snapshot(ctx, execution_id)
        yield shown
        since = time.monotonic()
        state = shown.state
        if not state.terminal:
            watcher.start(state.seq)
        while not state.terminal:
            if not await _rows_after(ctx, watcher, execution_id, state.seq):
                await watcher.news()
                continue
            await _rest(since + COALESCE_S)
            while rows := await _rows_after(ctx, watcher, execution_id, state.seq):
                for row in rows:
                    state.apply(row)
            yield Snapshot(execution=await watcher.facts(state.seq), state=state)
            since = time.monotonic()


async def until_ended(ctx: ServerContext, execution_id: str, timeout_s: float) -> None:
    """Returns when the execution has ended, at the latest after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    with ctx.watchers.watch(execution_id) as watcher:
        execution = await _existing(ctx, execution_id)
        if execution.phase in TERMINAL_PHASES:
            return
        seq = execution.last_seq
        watcher.start(seq)
        while (left := deadline - time.monotonic()) > 0:
            if rows := await _rows_after(ctx, watcher, execution_id, seq):
                seq = rows[-1].seq
                if end_row(rows[-1]) is not None:
                    return
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await watcher.news()


async def snapshot(ctx: ServerContext, execution_id: str) -> Snapshot:
    found = await ctx.store.state(execution_id)
    if found is None:
        raise not_found("AgentExecution", execution_id)
    execution, state = found
    return Snapshot(execution=execution, state=state)


async def _rows_after(ctx: ServerContext, watcher: Watcher, execution_id: str, seq: int) -> SharedPage:
    """The next page, if there is one. Raises when the caller's key was revoked meanwhile, or the execution is gone."""
    await ctx.gate.keys.confirm()
    rows = watcher.rows_after(seq)
    if rows is None:
        rows = SharedPage(await ctx.store.read_log(execution_id, seq, PAGE_ROWS, max_bytes=MAX_PAGE_BYTES))
        if not rows:  # the log had newer rows, so the execution is gone
            raise not_found("AgentExecution", execution_id)
    return rows


async def _checked(ctx: ServerContext, execution_id: str, after: int) -> Execution:
    execution = await _existing(ctx, execution_id)
    if not 0 <= after <= execution.last_seq:
        raise unknown_position(str(after), execution.last_seq)
    return execution


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
