"""The statements of the creation of an execution."""

from typing import Any

from sqlalchemy import ClauseElement, case, func, literal, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.clock import NOW
from agent_runner.status.store.driver.ready import Ready, number, ready, seconds, text_of
from agent_runner.status.store.edges import started
from agent_runner.status.store.executions.ending import OPEN, E
from agent_runner.status.store.rows import LIMITS
from agent_runner.status.store.schema import executions, session_facts
from agent_runner.status.store.turns.several_at_once import holds_session
from agent_runner.status.timeouts import RESEND_UNSTAMPED_S

GIVEN = (
    *("id", "org", "session_id", "agent_id", "name", "slug", "graph", "model_name", "redriven_from"),
    *("base_checkpoint_id", "base_given", "resume_checkpoint_id", "idempotency_key", "spec", "sealed_env"),
    *("max_attempts", "runner_queue", "orchestrator_queue", "last_seq", "multitask", "webhook", "webhook_events"),
    *("retry", "priority"),
    *LIMITS,
)


def _row(*, waits: bool, later: bool, is_ready: bool) -> Ready:
    clocks: dict[str, Any] = (
        {**started(Step.WAITING), "due_thread_wait": NOW + seconds("wait_s")}
        if waits
        else {
            **started(Step.ENSURE_THREAD),
            "dispatchable_at": NOW,
            "due_schedule_to_close": NOW + seconds("close_s"),
            "next_dispatch_at": NOW + RESEND_UNSTAMPED_S,
        }
    )
    if later:
        clocks["not_before"] = NOW + seconds("after_s")
    if is_ready:
        clocks["ready_at"] = NOW
    return Ready(executions.insert().values(created_at=NOW, **clocks).returning(executions), columns=GIVEN)


_ROWS = {
    (waits, later, is_ready): _row(waits=waits, later=later, is_ready=is_ready)
    for waits, later in ((False, False), (True, False), (True, True))
    for is_ready in (False, True)
}


def row(*, waits: bool, later: bool, is_ready: bool) -> Ready:
    """The new row: admitted to its session, or waiting in it. `later`: it may begin only after `after_s`. `is_ready`:
    its session is free, and it waits for its org's turn."""
    return _ROWS[waits, later, is_ready]


@ready
def session_used(*, sqlite: bool, redrive: bool, threaded: bool) -> ClauseElement:
    """`threaded`: the session gets this thread, unless it has one."""
    insert = sqlite_insert if sqlite else postgres_insert
    used: dict[str, Any] = {"used_at": NOW, "retired": 0}
    session_id, once = text_of("session_id"), {"one_shot": number("one_shot")}
    thread: dict[str, Any] = {"thread_id": text_of("thread_id")} if threaded else {}
    new = insert(session_facts).values(session_id=session_id, sandbox_id=session_id, turns=1, **once, **used, **thread)
    # A session with a further execution is not one-shot any more, unless that execution is a redrive.
    again: dict[str, Any] = {"turns": session_facts.c.turns + 1, **used, **({} if redrive else once)}
    if threaded:
        unnamed = session_facts.c.thread_id == ""
        again["thread_id"] = case((unnamed, text_of("thread_id")), else_=session_facts.c.thread_id)
    return new.on_conflict_do_update(index_elements=["session_id"], set_=again)


@ready
def open_one() -> ClauseElement:
    return select(E.handle).where(E.session_id == text_of("its_session"), holds_session()).limit(1)


@ready
def last_graph() -> ClauseElement:
    return select(E.graph).where(E.session_id == text_of("its_session")).order_by(E.handle.desc()).limit(1)


@ready
def queued() -> ClauseElement:
    waiting = (OPEN, E.runner_queue == text_of("its_queue"), E.phase == Phase.PENDING)
    return select(func.count()).select_from(executions).where(*waiting)


@ready
def queue_lock(*, shared: bool) -> ClauseElement:
    """Postgres' lock for those who count a queue, until the end of the transaction."""
    lock = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
    taken = lock(func.hashtextextended("agent_runner.queue " + text_of("its_queue"), 0))
    return select(literal(1)).select_from(taken.alias())


@ready
def by_key() -> ClauseElement:
    return select(executions).where(E.org == text_of("its_org"), E.idempotency_key == text_of("its_key"))
