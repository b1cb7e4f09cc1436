"""From every revision that there ever was, a full database reaches the newest one as a whole, and is read as before."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from alembic.runtime.migration import HeadMaintainer
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine

from agent_runner.status.api_keys import Scope
from agent_runner.status.log.log import fold
from agent_runner.status.phases import Phase, Step
from agent_runner.status.store import schema
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.store.lists.queries import ExecutionQuery, ResourceQuery
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.run_records import NewDelta, Outcome, RunnerVerdict
from agent_runner.status.store.store import Store
from agent_runner.status.store.tables.revisions import MIGRATIONS
from tests.store.conftest import Clock, Flow
from tests.store.old_rows import BLOB, LOGS, ROWS, T0, TEXT, Row, fill
from tests.store.test_migrations import differences, migrate_to
from tests.support import databases

REVISIONS = [s.revision for s in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
NEWEST = REVISIONS[-1]
MIGRATE = """
import sys, traceback, alembic.command, alembic.config
from agent_runner.status.store.schema import migrate
print("ready", flush=True)
for url in sys.stdin:
    try:
        migrate(url.rstrip())
        print("done", flush=True)
    except BaseException:
        print(repr(traceback.format_exc()), flush=True)
"""
TABLES = {
    "sqlite": "select name from sqlite_master where type = 'table' and name not like 'sqlite%'",
    "postgresql": "select tablename from pg_tables where schemaname = 'public'",
}
SHAPES = {"sqlite": "select type, name, sql from sqlite_master order by 1, 2", "postgresql": databases.SHAPE}
Dump = dict[str, list[Row]]
_COMPARED: dict[str, list[Any]] = {}
"""By shape: what is not as in the code."""


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    engine = create_engine(schema.sync_url(url))
    try:
        yield engine
    finally:
        engine.dispose()


@dataclass(eq=False)
class Filled:
    """Makes a full database of a revision. `tables`: as they are there, after that."""

    sort: str
    revision: str
    tables: MetaData = field(default_factory=MetaData)

    def __call__(self, url: str) -> None:
        if self.revision:
            migrate_to(url, self.revision)
            with engine_of(url) as engine, engine.begin() as connection:
                self.tables = fill(connection)


filled_at = cache(Filled)


@dataclass
class Old:
    """A database of one's own, as that revision left it."""

    url: str
    tables: MetaData


@pytest.fixture
def old(sort: str, revision: str, tmp_path: Path) -> Iterator[Old]:
    """Full; without any table where there is no revision."""
    filled = filled_at(sort, revision)
    with databases.copy_of(sort, tmp_path, filled) as url:
        yield Old(url, filled.tables)


def contents(connection: Connection) -> Dump:
    """All rows of all tables, in all columns, as the driver gives them: to reflect the tables first takes longer."""
    names = connection.exec_driver_sql(TABLES[connection.dialect.name]).scalars()
    found = {name: connection.exec_driver_sql(f'select * from "{name}"').mappings() for name in names.all()}
    return {name: sorted(map(dict, rows), key=repr) for name, rows in found.items() if name != "alembic_version"}


def dump(url: str, tables: MetaData) -> Dump:
    """All rows of these tables, in these columns, as far as they are still there."""
    with engine_of(url) as engine, engine.connect() as connection:
        found = contents(connection)
    return {
        name: sorted(({c.name: row[c.name] for c in tables.tables[name].c if c.name in row} for row in rows), key=repr)
        for name, rows in found.items()
        if name in tables.tables
    }


def unlike(url: str) -> list[Any]:
    """`differences`, which takes longer than all migrations, once for each shape that the tables have."""
    with engine_of(url) as engine, engine.connect() as connection:
        shape = str(connection.exec_driver_sql(SHAPES[connection.dialect.name]).all())
    if shape not in _COMPARED:
        _COMPARED[shape] = differences(url)
    return _COMPARED[shape]


def everything(url: str) -> tuple[Dump, list[Any], str]:
    """With the tables of now, what they are like, and the revision."""
    with engine_of(url) as engine, engine.connect() as connection:
        shape = connection.exec_driver_sql(SHAPES[connection.dialect.name]).all()
        return contents(connection), list(shape), schema.revision(url)[0]


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_full_database_is_read_as_before(old: Old, clock: Clock, revision: str) -> None:
    """Executions in every phase and step, logs, sessions, resources, skills, keys, workers: what was put in."""
    clock.at = T0 + 1_000
    before = dump(old.url, old.tables)
    assert before
    assert all(before.values()), "every table has rows"
    schema.migrate(old.url)
    assert schema.revision(old.url) == (NEWEST, NEWEST)
    assert unlike(old.url) == []
    assert dump(old.url, old.tables) == before
    store = Store.open(old.url, now=clock)
    try:
        await check_executions(store)
        await check_logs(store)
        await check_lists(store)
        await check_sessions_and_workers(store)
        await check_resources(store)
        if "execution_attachments" in before:
            await check_attachments(store)
        if "api_keys" in before:
            await check_keys(store)
        if "skill_artifacts" in before:
            await check_skills(store)
        await check_that_it_goes_on(store, clock)
    finally:
        await store.close()


async def check_executions(store: Store) -> None:
    assert {Step(row["step"]) for row in ROWS["executions"]} == set(Step)
    assert {Phase(row["phase"]) for row in ROWS["executions"]} == set(Phase)
    for row in ROWS["executions"]:
        found = await store.get(row["id"])
        assert found is not None
        shown = asdict(found) | {"phase": found.phase.value, "step": found.step.value}
        shown |= {f"limit_{name.removesuffix('_s')}": seconds for name, seconds in found.timeouts.as_dict().items()}
        put_in = {**row, "spec": json.loads(row["spec"]), "progress": json.loads(row["progress"])}
        put_in |= {"idempotency_key": row["idempotency_key"] or "", "sealed_env": row["sealed_env"] or b""}
        assert_same(shown, put_in, at_least=38)


def assert_same(shown: Row, put_in: Row, at_least: int) -> None:
    """In all fields that both have: the store need not show every column, and later revisions add some."""
    both = shown.keys() & put_in.keys()
    assert len(both) >= at_least
    assert {name: shown[name] for name in both} == {name: put_in[name] for name in both}


async def check_logs(store: Store) -> None:
    for id, log in LOGS.items():
        rows = await store.read_log(id)
        assert [(r.kind, r.payload) for r in rows] == log
        assert [(r.seq, r.at) for r in rows] == [(n, T0 + n) for n in range(1, len(log) + 1)]
        found = await store.state(id)
        assert found is not None
        assert found[1] == fold(rows), "also where it is read from a snapshot"
        assert found[1].phase == found[0].phase
        assert "".join(found[1].messages["user"]["content"]) == TEXT


async def check_lists(store: Store) -> None:
    newest_first = list(LOGS)[::-1]

    async def ids(**given: Any) -> list[str]:
        return [e.id for e in (await store.list(ExecutionQuery(**given))).executions]

    assert await ids() == newest_first
    assert await ids(org="other") == ["aex-failed"]
    assert await ids(phase=Phase.COMPLETED) == ["aex-completed"]
    assert await ids(session_id="ses-6") == ["aex-failed", "aex-completed"]
    assert await ids(agent="agt-1", page_size=2) == newest_first[:2]
    assert await ids(tags=["blue"]) == newest_first
    assert await ids(tags=["blue", "aex-running"]) == ["aex-running"]
    assert await ids(more=ListFilters(labels=[f"a:{TEXT}"])) == newest_first
    assert await ids(more=ListFilters(labels=[f"a:{TEXT}"], code="E103")) == []


async def check_sessions_and_workers(store: Store) -> None:
    for n in range(1, 7):
        assert await store.session_facts(f"ses-{n}") == (f"thread-{n}", f"head-{n}", f"sandbox-{n}")
    (worker,) = await store.workers("runner")
    assert_same(asdict(worker), ROWS["workers"][0], at_least=15)
    assert await store.last_startup_failure("runner") == (T0, f"STARTUP FAILURE: {TEXT}")


async def check_resources(store: Store) -> None:
    for row in ROWS["resources"]:
        kind = ResourceKind(row["kind"])
        found = await store.get_resource(kind, row["id"])
        assert found is not None
        assert_same(asdict(found), {**row, "kind": kind, "body": json.loads(row["body"])}, at_least=8)
        assert await store.find_resource(kind, "acme", row["slug"]) == found
        for given in ({}, {"org": "acme"}, {"parent_id": row["parent_id"]}, {"tags": ["green"]}):
            assert (await store.list_resources(ResourceQuery(kind=kind, **given))).resources == [found]


async def check_keys(store: Store) -> None:
    first, revoked = ROWS["api_keys"]
    for row, scopes in ((first, {Scope.EXECUTE, Scope.READ}), (revoked, {Scope.RUNNER})):
        found = await store.find_key(row["id"])
        assert found is not None
        assert_same(asdict(found), {**row, "scopes": scopes}, at_least=8)
    assert [key.id for key in await store.list_keys()] == ["0b", "0a"]


async def check_attachments(store: Store) -> None:
    for id in LOGS:
        (found,) = await store.attachments(id)
        assert (found.id, found.name, found.mime_type, found.content) == ("att-1", TEXT, "image/png", BLOB)
        assert await store.attachment(id, "att-1") == found


async def check_skills(store: Store) -> None:
    assert await store.skill_tags("skill-1") == {"latest": "bb"}
    for name, hash in (("aa", "aa"), ("bb", "bb"), ("latest", "bb")):
        version = await store.skill_version("skill-1", name)
        assert version is not None
        assert (version.version_hash, version.skill_md, version.created_at) == (hash, TEXT, T0)
        assert await store.skill_artifact(version.artifact_key) == ("skill-1", BLOB + hash.encode())


async def check_that_it_goes_on(store: Store, clock: Clock) -> None:
    """Deadlines, fences and numbers hold: what was under way ends as it would have, and new ones come behind it."""
    assert (await store.tick(period_s=1.0)).ended == []
    running = await store.get("aex-running")
    assert running is not None
    said = [NewDelta(kind="text", payload=json.dumps({"id": "a1", "text": " and more"}))]
    appended = await store.append(running.handle, running.fence, running.runner_seq, said)
    assert (appended.verdict, appended.last_seq) == (RunnerVerdict.OK, len(LOGS["aex-running"]) + 1)
    outcome = Outcome(phase=Phase.COMPLETED)
    assert (await store.settle(running.handle, running.fence, appended.next, [], "head", outcome)).accepted
    assert (await store.claim("aex-handed-back", "c2", "w2")).resume
    cancelled = await store.request_cancel("aex-unstarted", "the user")
    assert cancelled is not None
    assert cancelled.phase is Phase.CANCELLED
    promoted = await store.get("aex-waiting")
    assert promoted is not None
    assert promoted.step is Step.ENSURE_THREAD
    created = await Flow(store).created(session_id="ses-1")
    assert created.step is Step.WAITING
    assert created.handle > running.handle
    again = await store.create(Flow(store).new(org="acme", idempotency_key=f"key {TEXT}"))
    assert again.execution is not None
    assert again.execution.id == "aex-completed"
    clock.at = T0 + 9e6 + 1
    ended = {e.id for e in (await store.tick(period_s=9e6)).ended}
    assert {"aex-preparing", "aex-ready"} <= ended


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_second_migrate_changes_nothing(old: Old, revision: str) -> None:
    """Every row, every table and the revision stay what they are."""
    schema.migrate(old.url)
    once = everything(old.url)
    schema.migrate(old.url)
    assert everything(old.url) == once


@pytest.fixture(scope="module")
def migrators() -> Iterator[list["subprocess.Popen[str]"]]:
    """Three processes that migrate what they are told to. They take longer to begin than a database to be migrated."""
    with ExitStack() as running:
        argv = [sys.executable, "-c", MIGRATE]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen(argv, text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload]
        for process in processes:
            running.enter_context(process)
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
        yield processes


@pytest.mark.parametrize("revision", ["", *REVISIONS])
def test_several_migrate_at_once(old: Old, revision: str, migrators: list["subprocess.Popen[str]"]) -> None:
    """Three processes begin together, as servers do in a deploy: all succeed, and nothing is done twice or lost."""
    before = dump(old.url, old.tables)
    for process in migrators:
        assert process.stdin is not None
        process.stdin.write(f"{old.url}\n")
        process.stdin.flush()
    told = [process.stdout.readline() for process in migrators if process.stdout]
    assert told == ["done\n"] * 3
    assert schema.revision(old.url) == (NEWEST, NEWEST)
    assert unlike(old.url) == []
    assert dump(old.url, old.tables) == before


@pytest.mark.parametrize("revision", ["", *REVISIONS[:-1]])
def test_a_migration_that_fails_leaves_what_was_there(old: Old, monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    """It is one transaction: after a failure in the last step there is neither a new table nor a changed row."""
    before = everything(old.url)
    steps = len(REVISIONS) - (REVISIONS.index(revision) + 1 if revision else 0)
    with monkeypatch.context() as patch:
        patch.setattr(HeadMaintainer, "update_to_step", failing_at(steps))
        with pytest.raises(InterruptedError):
            schema.migrate(old.url)
    assert everything(old.url) == before
    schema.migrate(old.url)
    assert schema.revision(old.url) == (NEWEST, NEWEST)


def failing_at(step: int) -> Any:
    """Alembic's note of a step, which comes behind the step itself, until that one."""
    noted = HeadMaintainer.update_to_step
    count = 0

    def note(self: Any, what: Any) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise InterruptedError
        noted(self, what)

    return note
