"""Reading: facts, the log, the folded state, pages of executions. A status is snapshot + tail, at every read."""

import json
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from status.log import LogRow, State
from status.phases import Phase, Step
from status.store.connection import Transactions
from status.store.records import Execution, Page
from status.store.rows import to_execution
from status.store.schema import execution_log, execution_snapshots, executions, session_facts

MAX_PAGE, COUNTED = 500, 10_000


async def read_rows(connection: AsyncConnection, handle: int, after: int, limit: int | None) -> list[LogRow]:
    log = execution_log.c
    query = select(execution_log).where(log.handle == handle, log.seq > after).order_by(log.seq).limit(limit)
    return [
        LogRow(seq=r.seq, at=r.at, fence=r.fence, kind=r.kind, payload=json.loads(r.payload))
        for r in await connection.execute(query)
    ]


async def folded(connection: AsyncConnection, handle: int) -> State:
    """The state after the last row that this transaction sees."""
    snapshot = (
        await connection.execute(select(execution_snapshots).where(execution_snapshots.c.handle == handle))
    ).one_or_none()
    state = State.from_json(json.loads(snapshot.state)) if snapshot else State.empty()
    for row in await read_rows(connection, handle, snapshot.seq if snapshot else 0, None):
        state.apply(row)
    return state


class Reading(Transactions):
    async def get(self, id: str) -> Execution | None:
        async with self.read() as connection:
            row = (await connection.execute(select(executions).where(executions.c.id == id))).one_or_none()
        return to_execution(row) if row else None

    async def read_log(self, id: str, after: int = 0, limit: int = 1000) -> list[LogRow]:
        """Rows with a `seq` above `after`, in order."""
        async with self.read() as connection:
            handle = await connection.scalar(select(executions.c.handle).where(executions.c.id == id))
            return [] if handle is None else await read_rows(connection, handle, after, limit)

    async def state(self, id: str) -> tuple[Execution, State] | None:
        """Facts and folded content of one moment."""
        async with self.read() as connection:
            row = (await connection.execute(select(executions).where(executions.c.id == id))).one_or_none()
            return (to_execution(row), await folded(connection, row.handle)) if row else None

    async def states(self, found: Sequence[Execution]) -> list[tuple[Execution, State]]:
        """`state` for each of a page of executions, in one transaction."""
        async with self.read() as connection:
            return [(e, await folded(connection, e.handle)) for e in found]

    async def list(
        self,
        *,
        org: str = "",
        phase: Phase | None = None,
        session_id: str = "",
        agent_id: str = "",
        page_size: int = 50,
        page_token: str = "",
    ) -> Page:
        """Newest first. Raises `ValueError` for a page token that is not ours."""
        e = executions.c
        given = [
            c == v for c, v in ((e.org, org), (e.phase, phase), (e.session_id, session_id), (e.agent_id, agent_id)) if v
        ]
        size = max(1, min(page_size or 50, MAX_PAGE))
        before = [e.handle < _token(page_token)] if page_token else []
        async with self.read() as connection:
            counted = select(e.handle).where(*given).limit(COUNTED).subquery()
            total = await connection.scalar(select(func.count()).select_from(counted)) or 0
            query = select(executions).where(*given, *before).order_by(e.handle.desc()).limit(size + 1)
            rows = [to_execution(r) for r in await connection.execute(query)]
        more = len(rows) > size
        return Page(executions=rows[:size], next_token=f"h{rows[size - 1].handle}" if more else "", total=total)

    async def session_facts(self, session_id: str) -> tuple[str, str, str]:
        """(thread id, head checkpoint id, sandbox id); empty strings for what is not known."""
        query = select(session_facts).where(session_facts.c.session_id == session_id)
        async with self.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return (row.thread_id, row.head_checkpoint_id, row.sandbox_id) if row else ("", "", "")

    async def phase_counts(self) -> dict[Phase, int]:
        """How many executions are in each open phase."""
        e = executions.c
        query = select(e.phase, func.count()).where(e.step != Step.SETTLED.value, e.phase < 3).group_by(e.phase)
        async with self.read() as connection:
            return {Phase(phase): count for phase, count in await connection.execute(query)}

    async def oldest_open(self) -> float | None:
        """When the oldest execution that has not ended was created."""
        async with self.read() as connection:
            oldest: float | None = await connection.scalar(
                select(func.min(executions.c.created_at)).where(executions.c.phase < 3)
            )
            return oldest

    async def ping(self) -> None:
        """Raises `StoreUnavailable` when the database does not answer."""
        async with self.read() as connection:
            await connection.execute(select(1))


def _token(text: str) -> int:
    if not (text.startswith("h") and text[1:].isdigit()):
        raise ValueError(f"page_token {text!r} was not made by this server; start again without one")
    return int(text[1:])
