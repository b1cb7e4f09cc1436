"""What callers do with schedules: make, find, list, change, pause, fire now, look ahead and back, delete."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from agent_runner.app.server.access.allow_lists import check_model_scope
from agent_runner.app.server.access.principal import acting_as, actor, default_org, must_own
from agent_runner.app.server.contract.ids import new_schedule_id
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.problems import Kind, Problem, invalid, not_found
from agent_runner.app.server.resources.sealing import SealBroken
from agent_runner.app.server.schedules.firer import Firer
from agent_runner.app.server.schedules.schedule_bodies import NewSchedule, SchedulePatch, rules_of, times_of
from agent_runner.app.server.schedules.schedule_requests import Maker, apart, principal_of
from agent_runner.clients.cron.times import BadTimes
from agent_runner.status.schedules.catch_up import first_after
from agent_runner.status.schedules.schedule import Ended, Firing, Overlap, Rules, Schedule
from agent_runner.status.store.errors import StaleVersion
from agent_runner.status.store.records import Execution
from agent_runner.status.store.registry.schedules import SchedulePage, ScheduleQuery
from agent_runner.status.store.turns.firings import KEPT

TRIES = 5
"""A change is made again if the schedule fired in between."""


class ScheduleService:
    """`edges`: what the caller may see. Firings act for the schedule's org, whoever asks for them."""

    def __init__(self, edges: Edges, makers: Mapping[str, Maker]) -> None:
        self._ctx, self._store = edges.ctx, edges.ctx.store
        self._makers = makers
        self._firer = Firer(edges.ctx, makers)

    async def create(self, sent: NewSchedule) -> Schedule:
        rules = rules_of(sent, Rules(overlap=Overlap.ENQUEUE) if sent.session_id else Rules())
        new = Schedule(
            id=new_schedule_id(),
            org=sent.org or default_org(),
            name=sent.name,
            rules=rules,
            session_id=sent.session_id or "",
            paused=bool(sent.paused),
        )
        return await self.add(new, sent.execution)

    async def add(self, new: Schedule, request: Mapping[str, Any]) -> Schedule:
        """Raises what a firing would be refused for now, and TOO_MANY at the org's limit."""
        must_own(new.org)
        new = replace(new, made_by=actor())
        new = await self._checked(self._with_request(new, request, None))
        new = await self._from_now(new)
        if new.next_at is None:
            raise invalid("the schedule has no time to come", next_step="Give a time, or an end, that is not past.")
        most = self._ctx.settings.max_schedules
        made = await self._store.add_schedule(new, most=most)
        if made is None:
            raise Problem(
                Kind.TOO_MANY,
                f"org '{new.org}' has {most} schedules (AGENT_RUNNER_MAX_SCHEDULES)",
                next_step="Delete those that are over, or raise the limit.",
            )
        return made

    async def get(self, id: str) -> Schedule:
        found = await self._store.find_schedule(id)
        if found is None:
            raise not_found("Schedule", id)
        return found

    async def page(self, query: ScheduleQuery) -> SchedulePage:
        try:
            return await self._store.list_schedules(query)
        except ValueError as error:
            raise invalid(str(error)) from None

    async def search(self, query: ScheduleQuery) -> list[Schedule]:
        return await self._store.search_schedules(query)

    async def patch(self, id: str, sent: SchedulePatch) -> Schedule:
        """Its times begin anew from now if one of them changes, or if it goes on after a pause."""

        def changed(one: Schedule) -> Schedule:
            if one.edge and (not_here := sorted(_OF_A_CRON & sent.model_fields_set)):
                raise Problem(
                    Kind.FAILED_PRECONDITION,
                    f"{', '.join(not_here)}: the schedule is a cron of the Agent Server API",
                    next_step="Change it there: PATCH /runs/crons/{cron_id}.",
                )
            values: dict[str, Any] = {"rules": rules_of(sent, one.rules)}
            values |= {n: v for n in ("name", "paused") if (v := getattr(sent, n)) is not None}
            if sent.session_id is not None:
                values["session_id"] = sent.session_id
            return replace(one, **values)

        execution = sent.execution
        return await self.change(id, changed, None if execution is None else lambda _: execution)

    async def change(
        self,
        id: str,
        changed: Callable[[Schedule], Schedule],
        request_of: Callable[[Schedule], Mapping[str, Any]] | None = None,
    ) -> Schedule:
        """Both make what shall be of the schedule as it is; without `request_of` its request stays. Raises CONFLICT if
        others change it each time."""
        for tries_left in reversed(range(TRIES)):
            one = await self.get(id)
            must_own(one.org)
            new = changed(one)
            if request_of is not None:
                new = self._with_request(new, request_of(one), one)
            if request_of is not None or _place_of(new) != _place_of(one):
                new = await self._checked(new)  # anything else, a pause above all, is always possible
            times = {name: getattr(new.rules, name) for name in _TIMES}
            if times != {name: getattr(one.rules, name) for name in _TIMES} or (one.paused and not new.paused):
                new = await self._from_now(new)
            try:
                return await self._store.change_schedule(new, read=one)
            except StaleVersion:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    async def delete(self, id: str) -> None:
        """Executions that it made stay."""
        if not await self._store.delete_schedule(await self.get(id)):
            raise not_found("Schedule", id)

    async def fire(self, id: str, *, idempotency_key: str = "") -> Execution:
        """Also while it is paused or over; its times stay as they are."""
        one = await self.get(id)
        must_own(one.org)
        now = await self._store.clock()
        return await self._firer.fire_by_hand(one, now, fired_by=actor(), idempotency_key=idempotency_key)

    async def firings(self, id: str, limit: int = KEPT) -> list[Firing]:
        """The newest first."""
        return await self._store.schedule_firings((await self.get(id)).id, limit=limit)

    async def coming(self, rules: Rules, count: int, *, fired: int = 0) -> list[float]:
        """The next times by these rules, at most `count`."""
        times, at = times_of(rules), await self._store.clock()
        if rules.max_firings:
            count = min(count, rules.max_firings - fired)
        found: list[float] = []
        while len(found) < count and (next_at := first_after(rules, times, at)[0]) is not None:
            found.append(at := next_at)
        return found

    async def next_times(self, id: str, count: int) -> tuple[Schedule, list[float]]:
        one = await self.get(id)
        try:
            return one, [] if one.next_at is None else await self.coming(one.rules, count, fired=one.fired)
        except BadTimes as error:
            raise invalid(str(error)) from None

    def _with_request(self, new: Schedule, request: Mapping[str, Any], before: Schedule | None) -> Schedule:
        try:
            shown, sealed = apart(self._ctx.sealing, request, before)
        except SealBroken as error:
            raise invalid(f"execution: {error}", next_step="Send the values of all secrets.") from None
        return replace(new, request=shown, sealed=sealed)

    async def _checked(self, new: Schedule) -> Schedule:
        if new.rules.overlap is Overlap.FRESH and new.session_id:
            raise invalid(
                "session_id: with overlap 'fresh' each firing has a session of its own",
                next_step="Leave session_id out (empty it), or choose enqueue, reject, interrupt or rollback.",
            )
        check_model_scope(str(new.request.get("model") or ""), str(new.request.get("fallback_models") or ""))
        with acting_as(principal_of(new)):
            try:
                await self._makers[new.edge].check(new)
            except SealBroken as error:
                raise invalid(f"execution: {error}", next_step="Send the values of all secrets.") from None
        return new

    async def _from_now(self, one: Schedule) -> Schedule:
        """With its next time, later than now and than its last firing."""
        if one.rules.max_firings and one.fired >= one.rules.max_firings:
            return replace(one, next_at=None, ended=Ended.FIRINGS)
        now = max(await self._store.clock(), one.last_fired_at or 0.0)
        next_at, ended = first_after(one.rules, times_of(one.rules), now)
        return replace(one, next_at=next_at, ended=ended)


def _place_of(one: Schedule) -> tuple[str, Overlap]:
    return one.session_id, one.rules.overlap


_OF_A_CRON = {"execution", "session_id", "overlap", "at"}
_TIMES = ("cron", "at", "timezone", "end_at", "max_firings")
