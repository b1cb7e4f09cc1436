"""The store's conformance suite runs on SQLite always, and on Postgres where a server is named."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from agent_runner.status.store.records import Execution, NewExecution
from agent_runner.status.store.run_records import Claimed, NewDelta
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts
from tests.store.table_guard import guard
from tests.support import databases


class Clock:
    """The database's time, moved by the test."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=databases.SORTS)
def sort(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(sort: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """With the newest tables, which are empty and guarded."""
    with databases.migrated(sort, tmp_path_factory.mktemp("store"), guard) as url:
        yield url


@pytest.fixture
def empty_url(sort: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Without any table."""
    with databases.empty(sort, tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture
async def store(database_url: str, clock: Clock) -> AsyncIterator[Store]:
    opened = Store.open(database_url, now=clock)
    yield opened
    await opened.close()


class Flow:
    """The usual way of an execution, in words."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def new(self, **given: object) -> NewExecution:
        values: dict[str, object] = {
            "id": f"aex-{uuid.uuid4().hex}",
            "org": "local",
            "session_id": f"ses-{uuid.uuid4().hex}",
            "agent_id": "agt-1",
            "name": "a run",
            "slug": "a-run",
            "message": "hello",
            "timeouts": Timeouts(),
            "runner_queue": "runner",
            "orchestrator_queue": "orchestrator",
        }
        return NewExecution(**(values | given))  # type: ignore[arg-type]

    async def created(self, **given: object) -> Execution:
        created = await self.store.create(self.new(**given))
        assert created.execution is not None
        return created.execution

    async def executable(self, **given: object) -> Execution:
        """Created, dispatched, its thread ensured."""
        execution = await self.created(**given)
        await self.store.dispatched(execution.id)
        assert (await self.store.begin(execution.id, "b1", "w1")).granted
        assert await self.store.done(execution.id, "b1", "thread-1")
        return execution

    async def claimed(self, incarnation: str = "w1", **given: object) -> Claimed:
        execution = await self.executable(**given)
        claimed = await self.store.claim(execution.id, "c1", incarnation)
        assert claimed.granted
        return claimed

    async def facts(self, id: str) -> Execution:
        found = await self.store.get(id)
        assert found is not None
        return found

    async def log(self, id: str) -> list[tuple[int, str]]:
        return [(row.seq, row.kind) for row in await self.store.read_log(id)]


@pytest.fixture
def flow(store: Store) -> Flow:
    return Flow(store)


@pytest.fixture
def text() -> Callable[[str], NewDelta]:
    return lambda said: NewDelta(kind="text", payload=f'{{"id":"a1","text":"{said}"}}')
