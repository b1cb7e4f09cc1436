"""Postgres as it is met: behind PgBouncer in transaction mode, away for a while, with several hosts (L1, L5)."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from agent_runner.clients.engine.memory import postgres_pool
from agent_runner.clients.engine.memory.checkpoints import open_saver
from agent_runner.clients.engine.memory.database_errors import MemoryAway
from agent_runner.status.store import schema
from agent_runner.status.store.postgres import engine_url, plain, prepares
from agent_runner.status.store.store import Store
from tests.integration.stack import Stack
from tests.support.ports import free_port
from tests.surroundings.postgres import Cluster, pgbouncer


def place(thread: str) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


@pytest.mark.parametrize("spelled", ["{}", "{}?prepared_statements=off"])
def test_runs_behind_pgbouncer(cluster: Cluster, tmp_path: Path, spelled: str) -> None:
    """Twelve runs at once complete: store and memory both go through three connections in transaction mode."""
    with pgbouncer(cluster.folder.parent / "bouncer", cluster) as url:
        urls = dict.fromkeys(("AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_CHECKPOINT_URL"), spelled.format(url))
        with Stack.open(tmp_path, **urls) as stack:
            stack.start_worker()
            ids = [stack.create("$ echo hello")["metadata"]["id"] for _ in range(12)]
            ended = [stack.wait_for(id, within_s=90) for id in ids]
            assert [e["status"]["phase"] for e in ended] == ["EXECUTION_COMPLETED"] * 12, [
                e["status"].get("error") for e in ended
            ]


async def test_memory_is_back_soon_after_its_database(cluster: Cluster) -> None:
    """A write waits for a database that is away, and is there within seconds of it; however long that was."""
    async with await open_saver(cluster.url) as memory:
        many = [memory.saver.aput(place(f"t{n}"), empty_checkpoint(), {}, {}) for n in range(8)]
        await asyncio.gather(*many)  # several connections, all of which break
        await asyncio.to_thread(cluster.stop)
        waiting = [asyncio.create_task(memory.saver.aput(place(f"w{n}"), empty_checkpoint(), {}, {})) for n in range(8)]
        await asyncio.sleep(9)  # the stock pool's next attempt would come 6 s after this, the one after it 16 s
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(cluster.start)
        back = time.monotonic()
        await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert time.monotonic() - back < 5
        assert await memory.saver.aget_tuple(place("w7")) is not None


async def test_memory_that_stays_away_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience a run says that the memory was away, which is no fault of the agent."""
    monkeypatch.setattr(postgres_pool, "PATIENCE_S", 1.0)
    monkeypatch.setattr(postgres_pool, "CONNECTION_WAIT_S", 1.0)
    async with await open_saver(cluster.url) as memory:
        await asyncio.to_thread(cluster.stop)
        with pytest.raises(MemoryAway, match="was away"):
            await memory.saver.aput(place("t"), empty_checkpoint(), {}, {})


def test_a_run_waits_for_its_memory(cluster: Cluster, tmp_path: Path) -> None:
    """An outage in the middle of a run, of store and memory both, costs time and nothing else."""
    urls = dict.fromkeys(("AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_CHECKPOINT_URL"), cluster.url)
    with Stack.open(tmp_path, **urls) as stack:
        stack.start_worker()
        id = stack.create("$ sleep 4\n$ echo after")["metadata"]["id"]
        stack.wait_for(id, "EXECUTION_IN_PROGRESS")
        cluster.away(8)
        ended = stack.wait_for(id, within_s=60)
        assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"].get("error")
        following = stack.create("$ echo again")["metadata"]["id"]
        assert stack.wait_for(following, within_s=30)["status"]["phase"] == "EXECUTION_COMPLETED"


@pytest.mark.parametrize("spelled", ["{dead},{alive}/postgres", "/postgres?host={dead}&host={alive}"])
async def test_several_hosts(cluster: Cluster, spelled: str) -> None:
    """One spelling is good for both settings: store and memory find the host that answers."""
    dead, alive = f"127.0.0.1:{free_port()}", f"127.0.0.1:{cluster.port}"
    url = f"postgresql://runner@{spelled.format(dead=dead, alive=alive)}"
    schema.migrate(url)
    store = Store.open(url)
    await store.ping()
    await store.close()
    async with await open_saver(url) as memory:
        await memory.saver.aput(place("t"), empty_checkpoint(), {}, {})


@pytest.mark.parametrize(
    ("url", "host", "port", "query"),
    [
        ("postgres://u@h/d", "h", None, {}),
        ("postgresql+asyncpg://u:p%2Fq@h:6432/d?sslmode=require", "h", 6432, {"sslmode": "require"}),
        ("postgresql://u@[::1]:5/d?prepared_statements=off", "::1", 5, {}),
        ("postgresql:///d?host=/run/postgresql", None, None, {"host": "/run/postgresql"}),
        ("postgresql://h1:1,h2:2/d", None, None, {"host": ("h1:1", "h2:2")}),
        ("postgresql:///d?host=h1:1&host=h2:2", None, None, {"host": ("h1:1", "h2:2")}),
    ],
)
def test_spellings(url: str, host: str | None, port: int | None, query: dict[str, Any]) -> None:
    """What SQLAlchemy is given says the same as what libpq reads."""
    read = engine_url(url)
    assert (read.host, read.port, read.database, dict(read.query)) == (host, port, "d", query)
    assert "prepared_statements" not in plain(url)
    assert prepares(url) == ("prepared_statements" not in url)
