"""Fires a schedule: decides which of its times fires, makes the execution, and keeps what came of it.

Deciding needs no lock. The execution is stored together with the time that it takes (`status/store/turns/firings.py`),
so it does not matter how many servers decide, or where one of them dies.
"""

from collections.abc import Mapping

from agent_runner.app.server.access.principal import acting_as
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.problems import FiringTaken, Kind, Problem, internal
from agent_runner.app.server.resources.sealing import SealBroken
from agent_runner.app.server.schedules.schedule_bodies import times_of
from agent_runner.app.server.schedules.schedule_requests import Maker, principal_of
from agent_runner.clients.cron.times import BadTimes
from agent_runner.status.event_logger import event_logger
from agent_runner.status.log.log import rfc3339
from agent_runner.status.schedules.catch_up import MOST_COUNTED, Decision, decide
from agent_runner.status.schedules.schedule import Ended, FiringOutcome, Mark, Schedule
from agent_runner.status.store.errors import StoreError
from agent_runner.status.store.records import Execution
from agent_runner.status.store.turns.firings import Due

log = event_logger(__name__)
LATE, BAD_TIMES, SEALED = "LATE", "BAD_TIMES", "SECRETS_UNREADABLE"
"""Codes of firings that made no execution, beside those of the refusals of `POST /v1/executions`."""


class Firer:
    def __init__(self, ctx: ServerContext, makers: Mapping[str, Maker]) -> None:
        self._store, self._counts = ctx.store, ctx.counted.firings
        self._makers = makers

    async def fire_due(self, due: Due) -> None:
        """One time of a schedule that is due. Raises `StoreError` if nothing could be written: it is still due then."""
        one = due.schedule
        if one.next_at is None:
            return
        try:
            decision = decide(one.rules, times_of(one.rules), due_at=one.next_at, now=due.now, fired=one.fired)
        except BadTimes as error:  # the zone is not known on this machine any more
            over = Mark(
                schedule_id=one.id, revision=one.revision, due_at=one.next_at, fires_for=one.next_at, next_at=None,
                ended=Ended.TIMES,
            )  # fmt: skip
            await self._note(over, FiringOutcome.REFUSED, BAD_TIMES, f"{error}; the schedule is over")
            return
        mark = _mark(one, decision)
        if decision.fires_for is None:
            why = f"{_count(decision.passed_over)} until {rfc3339(decision.latest)} passed while no server fired them"
            await self._note(mark, FiringOutcome.SKIPPED, LATE, f"{why}; the schedule does not catch up")
        else:
            await self._fire_at(one, mark, due.now)
        if mark.ended is not Ended.NOT:
            log.info("schedule.ended", schedule_id=one.id, reason=mark.ended.value)

    async def fire_by_hand(self, one: Schedule, now: float, *, fired_by: str, idempotency_key: str) -> Execution:
        """One execution now, whatever its times are. Raises a `Problem` if it is refused; the history has it too."""
        mark = Mark(
            schedule_id=one.id, revision=one.revision, due_at=None, fires_for=now, next_at=one.next_at, ended=one.ended
        )
        try:
            return await self._make(one, mark, fired_by, idempotency_key)
        except FiringTaken:
            raise
        except SealBroken as error:
            await self._note(mark, FiringOutcome.REFUSED, SEALED, str(error))
            raise Problem(Kind.FAILED_PRECONDITION, str(error), next_step="Send the secrets again.") from None
        except Problem as problem:
            await self._note(mark, FiringOutcome.REFUSED, problem.code, problem.text)
            raise

    async def _fire_at(self, one: Schedule, mark: Mark, now: float) -> None:
        try:
            await self._make(one, mark, "", "")
            self._counts.late(now - mark.fires_for)
        except FiringTaken:
            return
        except StoreError:
            raise
        except SealBroken as error:
            await self._note(mark, FiringOutcome.REFUSED, SEALED, f"{error}. Send the secrets of the schedule again.")
        except Problem as problem:
            if problem.kind is Kind.UNAVAILABLE:  # it is due again when the lease is over
                log.warning("schedule.postponed", schedule_id=one.id, error=problem.text)
                return
            await self._note(mark, FiringOutcome.REFUSED, problem.code, problem.text)
        except Exception:
            log.exception("schedule.failed", schedule_id=one.id)
            unknown = internal()
            await self._note(mark, FiringOutcome.REFUSED, unknown.code, unknown.text)

    async def _make(self, one: Schedule, mark: Mark, fired_by: str, idempotency_key: str) -> Execution:
        with acting_as(principal_of(one)):
            made = await self._makers[one.edge].make(one, mark, fired_by=fired_by, idempotency_key=idempotency_key)
        self._counts.count(FiringOutcome.FIRED)
        log.info(
            "schedule.fired", schedule_id=one.id, execution_id=made.id, kind=mark.kind, due_at=rfc3339(mark.fires_for)
        )
        return made

    async def _note(self, mark: Mark, outcome: FiringOutcome, code: str, reason: str) -> None:
        if await self._store.note_firing(mark, outcome, code=code, reason=reason):
            self._counts.count(outcome)
            log.warning(
                "schedule.not_fired", schedule_id=mark.schedule_id, outcome=outcome.value, code=code, reason=reason
            )


def _mark(one: Schedule, decision: Decision) -> Mark:
    return Mark(
        schedule_id=one.id,
        revision=one.revision,
        due_at=one.next_at,
        fires_for=decision.latest if decision.fires_for is None else decision.fires_for,
        next_at=decision.next_at,
        ended=decision.ended,
        passed_over=decision.passed_over,
    )


def _count(passed_over: int) -> str:
    told = f"{passed_over} or more" if passed_over >= MOST_COUNTED else str(passed_over)
    return f"{told} time{'' if passed_over == 1 else 's'}"
