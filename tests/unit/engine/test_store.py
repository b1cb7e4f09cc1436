"""The store of graphs on both databases: an org's namespaces, time to live, several processes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.store.base import InvalidNamespaceError, PutOp

from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.store.org_store import OrgStore, StoreError
from agent_runner.clients.engine.user_graphs.user_graphs import GraphError
from tests.unit.engine.stores import configured, rows, run_of, shorten, url

__all__ = ["url"]


async def test_one_org_never_sees_what_another_stored(url: str) -> None:
    """Not by key, search, listing, wildcard or suffix, also where one name begins with the other."""
    store = OrgStore(url)
    try:
        for org in ("a", "ab", "A", "a.b", ""):
            with running(run_of(org)):
                await store.aput(("facts", "x"), "colour", {"value": org})
        for org in ("a", "ab", "A", "a.b", ""):
            with running(run_of(org)):
                item = await store.aget(("facts", "x"), "colour")
                assert item is not None
                assert (item.value, item.namespace) == ({"value": org}, ("facts", "x"))
                assert [i.value["value"] for i in await store.asearch(())] == [org]
                assert [i.namespace for i in await store.asearch(("facts",))] == [("facts", "x")]
                assert await store.alist_namespaces() == [("facts", "x")]
                assert await store.alist_namespaces(max_depth=1) == [("facts",)]
                assert await store.alist_namespaces(prefix=("facts", "*")) == [("facts", "x")]
                assert await store.alist_namespaces(suffix=("x",)) == [("facts", "x")]
                assert await store.alist_namespaces(suffix=("*", "facts", "x")) == []
        with running(run_of("a")):
            await store.adelete(("facts", "x"), "colour")
            assert await store.aget(("facts", "x"), "colour") is None
            with pytest.raises(InvalidNamespaceError):
                await store.aput(("a.b",), "k", {})
        with running(run_of("ab")):
            assert await store.aget(("facts", "x"), "colour") is not None
        with pytest.raises(StoreError, match="within a run"):
            await store.aget(("facts",), "k")
    finally:
        await store.aclose()


async def test_what_is_stored_is_found_by_its_fields_a_page_at_a_time(url: str) -> None:
    """Filters, limit and offset, a second value in place of the first, from a thread and on the loop."""
    store = OrgStore(url)
    try:
        with running(run_of()):
            for number in range(5):
                await store.aput(("n",), str(number), {"even": number % 2 == 0, "number": number})
            await asyncio.to_thread(store.put, ("n",), "4", {"even": True, "number": 40})
            even = await store.asearch(("n",), filter={"even": True})
            assert sorted(item.value["number"] for item in even) == [0, 2, 40]
            assert {i.key for i in await store.asearch(("n",), filter={"number": {"$gte": 3}})} >= {"3", "4"}
            pages = [await store.asearch(("n",), limit=2, offset=offset) for offset in (0, 2, 4)]
            assert sorted(item.key for page in pages for item in page) == ["0", "1", "2", "3", "4"]
            found = await asyncio.to_thread(store.get, ("n",), "4")
            assert found is not None
            assert found.value["number"] == 40
            assert found.created_at <= found.updated_at
            with pytest.raises(asyncio.InvalidStateError, match=r"await store\.aget"):
                store.get(("n",), "4")
    finally:
        await store.aclose()


async def test_processes_may_begin_together_and_write_together(url: str) -> None:
    """Each sets up the same tables; none is refused, nothing is lost, and no index is left half made."""
    stores = [OrgStore(url) for _ in range(6)]

    async def work(number: int, store: OrgStore) -> None:
        with running(run_of()):
            for turn in range(15):
                await store.aput((f"w{number}",), str(turn), {"n": turn}, ttl=60)
                await store.aget((f"w{number}",), str(turn), refresh_ttl=True)
                await store.asearch(("shared",), refresh_ttl=True)
                await store.aput(("shared",), str(turn), {"by": number}, ttl=60)

    try:
        await asyncio.gather(*(work(number, store) for number, store in enumerate(stores)))
        with running(run_of()):
            for number in range(len(stores)):
                assert len(await stores[0].asearch((f"w{number}",), limit=50)) == 15
    finally:
        for store in stores:
            await store.aclose()
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)


async def test_a_process_that_closes_has_written_what_a_cancelled_run_began(url: str) -> None:
    """A cancelled run's write is whole, also when the process leaves at once."""
    store = OrgStore(url)
    await store.ready()
    with running(run_of()):
        many = [PutOp(("n",), str(number), {"n": number}) for number in range(300)]
        writing = asyncio.ensure_future(store.abatch(many))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await store.aclose()
    again = OrgStore(url)
    try:
        with running(run_of()):
            assert len(await again.asearch(("n",), limit=1000)) in (0, 300)
    finally:
        await again.aclose()


TTLS: list[tuple[dict[str, Any], bool]] = [
    ({"default_ttl": 60}, True),
    ({"default_ttl": 90, "refresh_on_read": False, "sweep_interval_minutes": 1}, True),
    ({"refresh_on_read": True}, False),
]


@pytest.mark.parametrize(("ttl", "expires"), TTLS)
async def test_the_first_item_lives_as_long_as_langgraph_json_says(
    url: str, tmp_path: Path, ttl: dict[str, Any], expires: bool
) -> None:
    """`default_ttl` counts from the first write of a process on; `ttl=None` keeps an item for ever."""
    async with configured(url, tmp_path, {"ttl": ttl}) as store:
        with running(run_of()):
            await store.aput(("n",), "first", {})
            await store.aput(("n",), "kept", {}, ttl=None)
            await store.aput(("n",), "own", {}, ttl=5)
    found = {key: minutes for key, minutes, _ in rows(url)}
    assert found == {"first": ttl["default_ttl"] if expires else None, "kept": None, "own": 5.0}


@pytest.mark.parametrize("minutes", [5e-324, 1e-9, 0.00001])
async def test_a_life_may_be_as_short_as_one_likes(url: str, tmp_path: Path, minutes: float) -> None:
    """It counts as a millisecond at least: Postgres reads no shorter one."""
    async with configured(url, tmp_path, {}) as store:
        with running(run_of()):
            await store.aput(("n",), "short", {}, ttl=minutes)
    assert [key for key, _, _ in rows(url)] == ["short"]


@pytest.mark.parametrize("refreshed", [True, False])
async def test_reading_prolongs_a_life_as_langgraph_json_says(url: str, tmp_path: Path, refreshed: bool) -> None:
    """`refresh_on_read`, from the first read of a process on; a call may say otherwise."""
    ttl = {"default_ttl": 60, "refresh_on_read": refreshed}
    async with configured(url, tmp_path, {"ttl": ttl}) as store:
        with running(run_of()):
            await store.aput(("n",), "k", {})
    shorten(url)
    ((_, _, before),) = rows(url)
    async with configured(url, tmp_path, {"ttl": ttl}) as store:
        with running(run_of()):
            assert await store.aget(("n",), "k", refresh_ttl=not refreshed) is not None
            ((_, _, otherwise),) = rows(url)
            assert (otherwise > before) is not refreshed
            if otherwise > before:
                shorten(url)
                ((_, _, before),) = rows(url)
            assert await store.aget(("n",), "k") is not None
    ((_, _, after),) = rows(url)
    assert (after > before) is refreshed


async def test_what_has_expired_goes(url: str, tmp_path: Path) -> None:
    """With the sweep, and where `omit_expired` says so nobody reads it before that."""
    ttl = {"default_ttl": 60, "sweep_interval_minutes": 0.001, "omit_expired": True}
    async with configured(url, tmp_path, {"ttl": ttl | {"sweep_interval_minutes": 600}}) as store:
        with running(run_of()):
            await store.aput(("n",), "old", {})
            await store.aput(("n",), "kept", {}, ttl=None)
            shorten(url, expired=True)
            assert await store.aget(("n",), "old") is None
            assert [item.key for item in await store.asearch(("n",))] == ["kept"]
            await store.aput(("o",), "old", {})
            shorten(url, expired=True)
            assert await store.alist_namespaces() == [("n",)]
    async with configured(url, tmp_path, {"ttl": ttl}) as store:
        with running(run_of()):
            await store.aput(("o",), "old", {})
            shorten(url, expired=True)
            await until(lambda: [key for key, _, _ in rows(url)] == ["kept"])


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.01)


WRONG: list[tuple[Any, str]] = [
    ({"ttl": {"default_ttl": "soon"}}, "store.ttl.default_ttl"),
    ({"ttl": {"default_ttl": True}}, "store.ttl.default_ttl"),
    ({"ttl": {"sweep_interval_minutes": -1}}, "store.ttl.sweep_interval_minutes"),
    ({"ttl": {"refresh_on_read": "no"}}, "store.ttl.refresh_on_read"),
    ({"ttl": 60}, "store.ttl"),
    ({"index": {"embed": "openai:text-embedding-3-small"}}, "store.index.dims"),
    ({"index": {"dims": 3}}, "store.index.embed"),
    ({"index": {"dims": 3, "embed": "x:y", "fields": "text"}}, "store.index.fields"),
    ({"path": "./mine.py:store"}, "store.path"),
    ([], "store"),
]


@pytest.mark.parametrize(("store", "told"), WRONG)
async def test_a_wrong_entry_is_named(tmp_path: Path, store: Any, told: str) -> None:
    """The field, and what belongs there; not at the first use, but where the file is read."""
    with pytest.raises(GraphError, match=rf"langgraph.json: {told} "):
        async with configured(f"sqlite:///{tmp_path}/store.db", tmp_path, store):
            pass
