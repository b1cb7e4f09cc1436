"""The next attempt of an execution: whether there is one, its statement, and what the log says about the failed one.

L4: with one attempt no row ever takes this edge. The place in the session stays with the execution, so nothing of the
session runs between two attempts. The total time (schedule-to-close) goes on; the clocks of an attempt begin anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Row, case, or_

from agent_runner.status.failures import Code, describe
from agent_runner.status.phases import RETRY, RETRY_THREAD, Step
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import number, ready, seconds, text_of
from agent_runner.status.store.edges import take
from agent_runner.status.store.schema import executions

E = executions.c
ROWS = 2
"""The rows of the log about a failed attempt: `message` and `attempt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAttempt:
    """Decided, not written. `code` and `facts` say how the attempt before failed."""

    code: Code
    facts: Mapping[str, Any]
    pause_s: float


def next_attempt(row: Row[Any], code: Code | None, facts: Mapping[str, Any]) -> NextAttempt | None:
    """The attempt after one that failed so. None: the failure is the end. `row`: before its end."""
    attempt = attempt_that_fails(row)
    if code is None or not attempt or attempt >= row.max_attempts or row.cancel_requested_at is not None:
        return None
    policy = RetryPolicy.from_json(row.retry, row.max_attempts)
    if not policy.retries(code, facts):
        return None
    return NextAttempt(code=code, facts=facts, pause_s=policy.pause_s(attempt, facts))


def attempt_that_fails(row: Row[Any]) -> int:
    """The number of the attempt that a worker has begun; 0: none has. The claim counts it, so in EnsureThread it is not
    counted yet. What reports by `updateStatus` claims nothing, and would not see a second attempt."""
    if row.step == Step.THREAD_STARTED.value:
        return int(row.attempt) + 1
    return int(row.attempt) if row.step == Step.RUNNING.value and row.claim_id else 0


@ready
def retry(*, owned: bool, due: bool = False) -> ClauseElement:
    """Parameters: `its_handle`, `its_fence`, `pause_s`, `count`, `rows`, and `its_first` if its owner says it. With
    `due` only past a deadline."""
    mine: list[ColumnElement[bool]] = [E.handle == number("its_handle"), E.fence == number("its_fence")]
    if owned:
        mine.append(E.runner_seq == number("its_first"))
    if due:
        mine.append(E.next_deadline <= NOW)
    begins = NOW + seconds("pause_s")
    return take(
        RETRY,
        *mine,
        E.attempt < E.max_attempts,
        E.cancel_requested_at.is_(None),
        E.rolled_back == 0,
        E.due_schedule_to_close > begins,
        settled_fence=E.fence if owned else 0,
        resumable=0,
        owner="",
        runner_seq=E.runner_seq + number("count"),
        last_seq=E.last_seq + number("rows"),
        due_heartbeat=FOREVER,
        due_worker_lost=FOREVER,
        due_start_to_close=FOREVER,
        dispatched_at=None,
        next_dispatch_at=begins,
        not_before=begins,
    )


@ready
def retry_thread(*, due: bool = False) -> ClauseElement:
    """As `retry`, for a worker that was lost in EnsureThread. Parameter besides: `its_begin`."""
    mine: list[ColumnElement[bool]] = [E.handle == number("its_handle"), E.begin_id == text_of("its_begin")]
    if due:
        mine.append(E.next_deadline <= NOW)
    begins = NOW + seconds("pause_s")
    return take(
        RETRY_THREAD,
        *mine,
        E.attempt + 1 < E.max_attempts,
        E.cancel_requested_at.is_(None),
        E.rolled_back == 0,
        E.due_schedule_to_close > begins,
        attempt=E.attempt + 1,
        begin_id="",
        owner="",
        last_seq=E.last_seq + number("rows"),
        due_ensure_thread=FOREVER,
        due_worker_lost=FOREVER,
        dispatched_at=None,
        next_dispatch_at=begins,
        not_before=begins,
    )


def attempt_of_message() -> ColumnElement[Any]:
    """The attempt that the message of the row's step is for."""
    return case((or_(E.step == Step.RUNNING.value, E.resumable == 1), E.attempt), else_=E.attempt + 1)


def rows_about(row: Row[Any], again: NextAttempt) -> list[tuple[str, dict[str, Any]]]:
    """(kind, payload) of the rows about the attempt that failed. `row`: after the statement."""
    known = {"attempt": row.attempt, "worker": row.owner_name or None} | dict(again.facts)
    failure = describe(again.code, known)
    begins = f"Attempt {row.attempt + 1} begins in {again.pause_s:g} s, at the last step that is in memory."
    beside = {name: value for name, value in failure.metadata.items() if name not in ("next_step", "next")} | {
        "attempt": row.attempt,
        "maximum_attempts": row.max_attempts,
    }
    message = {
        "id": f"attempt-{row.attempt}",
        "type": "MESSAGE_SYSTEM",
        "content": f"Attempt {row.attempt} of {row.max_attempts} failed: {failure.error} {begins}",
        "metadata": beside,
    }
    attempt = {
        "attempt": row.attempt,
        "maximum_attempts": row.max_attempts,
        "error_code": again.code.value,
        "error": failure.error,
        "worker": row.owner_name,
        "pause_s": again.pause_s,
    }
    return [("message", message), ("attempt", attempt)]
