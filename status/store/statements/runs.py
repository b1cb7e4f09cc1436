"""The statements of a worker's writes."""

from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, and_, case, func, or_, select, update

from agent_runner.status.phases import BEGIN, CLAIM, DONE, HAND_BACK, SETTLE, Phase, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import number, ready, seconds, text_of
from agent_runner.status.store.edges import take
from agent_runner.status.store.executions.ending import E, terminal
from agent_runner.status.store.schema import executions, session_facts, workers

NAMES = 16
"""More parents of a process than this are not looked for."""


def named(incarnation: str, key: str) -> int:
    """How many names a process and its parents have, if a key speaks for it; 0: none is needed."""
    return min(len(incarnation.split(".")), NAMES) if key else 0


def said_by(incarnation: str, key: str) -> dict[str, Any]:
    """Parameters of a statement that names a process, and the key that speaks for it."""
    its: dict[str, Any] = {"incarnation": incarnation}
    if count := named(incarnation, key):
        parts = incarnation.split(".")
        names = [incarnation, *(".".join(parts[:n]) for n in range(1, count))]
        its |= {f"name_{n}": name for n, name in enumerate(names)} | {"key": key}
    return its


def _may_speak(names: int) -> list[ColumnElement[bool]]:
    """`speaks_for`, with parameters."""
    if not names:
        return []
    w, key = workers.c, text_of("key")
    mine = w.incarnation.in_([text_of(f"name_{n}") for n in range(names)])
    registered = select(w.key_id).where(mine).order_by(func.length(w.incarnation).desc()).limit(1)
    return [func.coalesce(registered.scalar_subquery(), key) == key]


def _in_time() -> ColumnElement[bool]:
    """Whether a worker may still take the step. Its limit for busy workers counts: whoever takes it was one."""
    within = and_(E.due_schedule_to_start < FOREVER, E.dispatched_at + E.limit_busy_to_start > NOW)
    return or_(E.due_schedule_to_start > NOW, within)


def _worker_name() -> Any:
    incarnation = text_of("incarnation")
    name = select(workers.c.name).where(workers.c.incarnation == incarnation).scalar_subquery()
    return case((name.is_not(None), name), else_=incarnation)


@ready
def begin(names: int) -> ClauseElement:
    return take(
        BEGIN,
        E.id == text_of("its_id"),
        _in_time(),
        E.not_before <= NOW,  # as at the claim
        *_may_speak(names),
        begin_id=text_of("begin_id"),
        owner=text_of("incarnation"),
        owner_name=_worker_name(),
        due_schedule_to_start=FOREVER,
        next_dispatch_at=FOREVER,
        due_ensure_thread=NOW + E.limit_ensure_thread,
    )


@ready
def done() -> ClauseElement:
    return take(
        DONE,
        E.id == text_of("its_id"),
        E.begin_id == text_of("its_begin"),
        thread_id=text_of("thread_id"),
        owner="",
        due_ensure_thread=FOREVER,
        due_worker_lost=FOREVER,
        dispatched_at=NOW,
        due_schedule_to_start=NOW + E.limit_schedule_to_start,
        next_dispatch_at=NOW + E.limit_schedule_to_start / 3,
    )


@ready
def claim(names: int) -> ClauseElement:
    return take(
        CLAIM,
        E.id == text_of("its_id"),
        _in_time(),
        E.due_schedule_to_close > NOW,
        E.not_before <= NOW,  # a message that comes twice must not begin the next attempt before its time
        *_may_speak(names),
        attempt=case((E.resumable == 1, E.attempt), else_=E.attempt + 1),
        claim_id=text_of("claim_id"),
        run_token=text_of("run_token"),
        run_token_fence=E.fence + 1,
        owner=text_of("incarnation"),
        owner_name=_worker_name(),
        claimed_at=NOW,
        last_beat_at=NOW,
        due_schedule_to_start=FOREVER,
        next_dispatch_at=FOREVER,
        due_heartbeat=NOW + E.limit_heartbeat,
        due_start_to_close=NOW + E.limit_start_to_close + E.limit_settle_grace,
        last_seq=case((E.resumable == 1, E.last_seq), else_=E.last_seq + 1),
    )


@ready
def append() -> ClauseElement:
    told = (E.id, E.handle, E.session_id, E.runner_seq, E.last_seq, E.tail_bytes, E.snapshot_bytes)
    return (
        update(executions)
        .where(*_owned())
        .values(
            runner_seq=E.runner_seq + number("count"),
            last_seq=E.last_seq + number("count"),
            tail_bytes=E.tail_bytes + number("size"),
        )
        .returning(*told, E.cancel_requested_at, NOW.label("at"))
    )


@ready
def worker_beat() -> ClauseElement:
    said = {"busy": number("busy"), "loop_lag_s": seconds("loop_lag_s"), "hung_threads": number("hung_threads")}
    mine = update(workers).where(workers.c.incarnation == text_of("incarnation"))
    slots = func.coalesce(func.nullif(number("slots"), 0), workers.c.slots)
    return mine.values(last_seen_at=NOW, not_taking=text_of("not_taking"), slots=slots, **said)


@ready
def beat() -> ClauseElement:
    return (
        update(executions)
        .where(E.handle == number("its_handle"), E.fence == number("its_fence"), E.step == Step.RUNNING.value)
        .values(last_beat_at=NOW, due_heartbeat=NOW + E.limit_heartbeat, progress=text_of("progress"))
        .returning(E.cancel_requested_at)
    )


@ready
def settle(phase: Phase, *, yields: bool) -> ClauseElement:
    last = text_of("end_progress")
    progress = case((last == "{}", E.progress), else_=last)
    return terminal(SETTLE, phase, *_owned(), yields=yields).values(progress=progress)


@ready
def hand_back() -> ClauseElement:
    return take(
        HAND_BACK,
        *_owned(),
        E.cancel_requested_at.is_(None),
        settled_fence=E.fence,
        resumable=1,
        owner="",
        runner_seq=E.runner_seq + number("count"),
        last_seq=E.last_seq + number("rows"),
        due_heartbeat=FOREVER,
        due_worker_lost=FOREVER,
        due_start_to_close=FOREVER,
        dispatched_at=None,
        next_dispatch_at=NOW,
    )


@ready
def undone() -> ClauseElement:
    earlier = (E.session_id == text_of("its_session"), E.handle < number("its_handle"))
    return select(E.id).where(*earlier, E.rolled_back == 1)


@ready
def token() -> ClauseElement:
    told = (E.run_token, E.run_token_fence, E.fence, E.settled_fence, E.step)
    return select(*told).where(E.handle == number("its_handle"))


@ready
def waiting() -> ClauseElement:
    return select(E.handle).where(E.session_id == text_of("its_session"), E.waiting == 1).limit(1)


@ready
def facts() -> ClauseElement:
    return select(session_facts).where(session_facts.c.session_id == text_of("its_session"))


@ready
def thread_of() -> ClauseElement:
    f = session_facts.c
    unknown = (f.session_id == text_of("its_session"), f.thread_id == "")
    return update(session_facts).where(*unknown).values(thread_id=text_of("thread_id"))


@ready
def head() -> ClauseElement:
    f, moved_to = session_facts.c, text_of("head_checkpoint_id")
    other = (f.session_id == text_of("its_session"), f.head_checkpoint_id != moved_to)
    return update(session_facts).where(*other).values(head_checkpoint_id=moved_to)


@ready
def base() -> ClauseElement:
    given = {"base_checkpoint_id": text_of("base_checkpoint_id"), "base_given": 1}
    return update(executions).where(E.handle == number("its_handle")).values(**given)


@ready
def before() -> ClauseElement:
    earlier = (E.session_id == text_of("its_session"), E.handle < number("its_handle"), E.rolled_back == 0)
    return select(E.id, E.settled_fence, E.error_code).where(*earlier).order_by(E.handle.desc()).limit(1)


def _owned() -> tuple[ColumnElement[bool], ...]:
    handle, fence, first = number("its_handle"), number("its_fence"), number("its_first")
    return (E.handle == handle, E.fence == fence, E.step == Step.RUNNING.value, E.runner_seq == first)
