"""The reads of lists of executions. Filters are checked here, and an agent's slug becomes its id."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from agent_runner.app.server.contract.tags import check_tags
from agent_runner.app.server.executions.placement import Placing
from agent_runner.app.server.problems import invalid
from agent_runner.status.store.lists.queries import ExecutionQuery, Page
from agent_runner.status.store.lists.summary_records import PhaseCounts, SummaryPage
from agent_runner.status.store.store import Store

T = TypeVar("T")


class Listing:
    """`store` shows only what the caller of each call may see."""

    def __init__(self, store: Store, placing: Placing) -> None:
        self._store = store
        self._placing = placing

    async def entries(self, query: ExecutionQuery) -> Page:
        """Newest first. Raises INVALID_ARGUMENT, and NOT_FOUND for the slug of no agent."""
        return await self._read(self._store.list, query)

    async def rows(self, query: ExecutionQuery) -> SummaryPage:
        """As `entries`, without content."""
        return await self._read(self._store.summaries, query)

    async def counts(self, query: ExecutionQuery) -> PhaseCounts:
        return await self._read(self._store.phase_numbers, query)

    async def checked(self, query: ExecutionQuery) -> ExecutionQuery:
        """The query as the store takes it."""
        check_tags(query.tags, "tags")
        if query.agent:
            query = replace(query, agent=await self._placing.agent_id(query.org, query.agent))
        return query

    async def _read(self, verb: Callable[[ExecutionQuery], Awaitable[T]], query: ExecutionQuery) -> T:
        try:
            return await verb(await self.checked(query))
        except ValueError as error:
            raise invalid(str(error)) from None
