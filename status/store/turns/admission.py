"""A session's next execution: it is admitted at once, or it is ready for its org's turn where orgs take turns.

The caller's transaction holds the session. Where orgs take turns, at most one execution of a session is ready, and none
while another one of it is active. So the order of creation holds in each session, whoever's turn it is.
"""

from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, exists, func, select, update

from agent_runner.status.phases import ADMIT, TERMINAL_PHASES, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.ready import ready, text_of
from agent_runner.status.store.edges import take
from agent_runner.status.store.schema import executions

E = executions.c
ADMITTED: dict[str, Any] = {
    "dispatchable_at": NOW,
    "due_thread_wait": FOREVER,
    "due_schedule_to_close": NOW + E.limit_schedule_to_close,
    "ready_at": 0,
}
"""What every admission writes; schedule-to-start begins later, when the message is published."""


@ready
def admit() -> ClauseElement:
    """Parameter: `its_session`."""
    return take(ADMIT, *_first_of_free(text_of("its_session")), next_dispatch_at=NOW, **ADMITTED)


@ready
def make_ready() -> ClauseElement:
    """As `admit`, where orgs take turns."""
    its_session = text_of("its_session")
    other = executions.alias("ready_one")
    first = (*_first_of_free(its_session), ~exists().where(other.c.session_id == its_session, other.c.ready_at > 0))
    return update(executions).where(*first).values(ready_at=NOW).returning(E.id)


def busy_elsewhere() -> ColumnElement[bool]:
    """Another execution of the row's session is active."""
    other = executions.alias("other")
    return exists().where(
        E.session_id != "",
        other.c.session_id == E.session_id,
        other.c.phase < min(TERMINAL_PHASES),
        other.c.step != Step.WAITING.value,
    )


def _first_of_free(its_session: ColumnElement[str]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    other = executions.alias("other")
    waiting = select(func.min(E.handle)).where(
        E.session_id == its_session, E.step == Step.WAITING.value, E.not_before <= NOW
    )
    held = exists().where(
        other.c.session_id == its_session, other.c.phase < min(TERMINAL_PHASES), other.c.step != Step.WAITING.value
    )
    return E.handle == waiting.scalar_subquery(), ~held
