"""The upgrade to tags in tables of their own."""

import json
from typing import Any

from sqlalchemy import MetaData, create_engine

from agent_runner.status.store import schema
from agent_runner.status.store.clock import FOREVER
from agent_runner.status.store.lists.queries import ExecutionQuery, ResourceQuery
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock
from tests.store.test_migrations import migrate_to

BEFORE = "0003"


class Database:
    """Rows are put into the tables as they were; what is not given is 0 or empty."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(schema.sync_url(url))
        self._tables = MetaData()
        self._tables.reflect(self._engine)

    def put(self, table: str, rows: list[dict[str, Any]]) -> None:
        into = self._tables.tables[table]
        needed = {
            c.name: 0 for c in into.c if not (c.nullable or c.server_default or c.computed or c.autoincrement is True)
        }
        with self._engine.begin() as connection:
            connection.execute(into.insert(), [needed | row for row in rows])

    def close(self) -> None:
        self._engine.dispose()


def execution(handle: int, id: str, tags: list[str]) -> dict[str, Any]:
    document = {"metadata": {"labels": {"tags": "no tag"}, **({"tags": tags} if tags else {})}, "spec": {}}
    return {
        "handle": handle,
        "id": id,
        "spec": json.dumps(document),
        "phase": 3,
        "created_at": 1.0,
        "next_dispatch_at": FOREVER,
        "step": "settled",
    }


def resource(kind: str, id: str, tags: list[str]) -> dict[str, Any]:
    return {
        "kind": kind,
        "id": id,
        "slug": id,
        "body": json.dumps({"metadata": {"tags": tags}, "spec": {"tags": ["red"]}}),
    }


async def test_what_was_stored_before_is_found_by_its_tags(empty_url: str, clock: Clock) -> None:
    """Executions and resources from before keep their tags in the upgrade, and lists find them."""
    migrate_to(empty_url, BEFORE)
    found = Database(empty_url)
    every = (("all", 1), ("third", 3), ("ü", 401))
    tagged = [
        execution(n + 1, f"aex-{n}", [tag for tag, nth in every if n % nth == 0] * 2)
        for n in range(1203)  # several batches of the migration
    ]
    odd = [execution(2000, "aex-long", ["x" * 5000, "a\0b"]), execution(2001, "aex-none", [])]
    found.put("executions", [*tagged, *odd])
    found.put("resources", [resource("Session", "ses-1", ["red", "blue"]), resource("Session", "ses-2", [])])
    found.put("resources", [resource("Agent", "agt-1", ["red"])])
    found.close()
    schema.migrate(empty_url)
    store = Store.open(empty_url, now=clock)
    try:
        for wanted, total in ((["all"], 1203), (["third"], 401), (["all", "ü"], 3), (["third", "ü"], 1), (["none"], 0)):
            assert (await store.list(ExecutionQuery(tags=wanted))).total == total
        marked = await store.list(ExecutionQuery(tags=["ü"]))
        assert [e.id for e in marked.executions] == ["aex-802", "aex-401", "aex-0"]
        red = await store.list_resources(ResourceQuery(kind=ResourceKind.SESSION, tags=["red"]))
        assert [(r.kind, r.id) for r in red.resources] == [(ResourceKind.SESSION, "ses-1")]
        assert (await store.list(ExecutionQuery())).total == 1205
        assert await store.delete("aex-0")
        assert (await store.list(ExecutionQuery(tags=["ü"]))).total == 2
    finally:
        await store.close()
