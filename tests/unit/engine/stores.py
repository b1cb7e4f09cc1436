"""Stores of graphs as a worker has them, on both databases, and what the tables of one hold."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.factory import EngineFactory
from agent_runner.clients.engine.memory.checkpoints import open_saver
from agent_runner.clients.engine.store.org_store import OrgStore
from tests.support.databases import POSTGRES, postgres_database
from tests.unit.models.settings import SomeSettings

PGVECTOR = "AGENT_RUNNER_TEST_PGVECTOR_URL"
DIMS = 512

GRAPH = """
import asyncio
import os
import pathlib
import zlib

from langgraph.graph import START, MessagesState, StateGraph

asked = []


def embed(texts):
    asked.extend(texts)
    return [words(text) for text in texts]


async def embed_async(texts):
    return embed(texts)


async def waits(texts):
    asked.extend(texts)
    pathlib.Path(__file__).with_name("asked.txt").write_text(" | ".join(asked))
    while "slow" in texts and not pathlib.Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
    return [words(text) for text in texts]


def too_short(texts):
    return [[1.0, 0.0] for _ in texts]


def fails(texts):
    raise RuntimeError("the embedding model is away")


not_callable = 5


def words(text):
    vector = [0.0] * 512
    for word in "".join(c if c.isalpha() else " " for c in text.lower()).split():
        vector[zlib.crc32(word.encode()) % 512] += 1.0
    return vector


plain = StateGraph(MessagesState).add_node("n", lambda state: {}).add_edge(START, "n")
"""


def run_of(org: str = "acme", **given: Any) -> CurrentRun:
    return CurrentRun(thread_id="t", org=org, **given)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    with postgres_database() as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def vector_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database that can search by meaning."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = os.environ.get(PGVECTOR) or os.environ.get(POSTGRES, "")
    if not has_pgvector(server):
        pytest.skip(f"needs a Postgres with pgvector: set {PGVECTOR}")
    monkeypatch.setenv(POSTGRES, server)
    with postgres_database() as made:
        yield made


def has_pgvector(server: str) -> bool:
    if not server:
        return False
    with psycopg.connect(server) as connection:
        return bool(connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone())


@asynccontextmanager
async def configured(url: str, folder: Path, store: Any) -> AsyncIterator[OrgStore]:
    """As in a worker: the store of a process that has read this `langgraph.json`."""
    (folder / "things_of_store.py").write_text(GRAPH)
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"plain": "./things_of_store.py:plain"}, "store": store}))
    opened = OrgStore(url)
    try:
        async with await open_saver(f"sqlite:///{folder}/memory.db") as memory:
            engine = EngineFactory(replace(SomeSettings(), graphs=file), memory.saver, opened)
            await engine.graph(Bundle(graph="plain"), {})
            yield opened
    finally:
        await opened.aclose()


def rows(url: str) -> list[tuple[str, float | None, Any]]:
    """(key, minutes to live, when it expires as text), as the database has it."""
    query = "SELECT key, ttl_minutes, CAST(expires_at AS TEXT) FROM store ORDER BY key"
    return [tuple(row) for row in execute(url, query)]


def shorten(url: str, *, expired: bool = False) -> None:
    """Move the ends of all lives to a minute from now, or to a minute ago."""
    sign = "-" if expired else "+"
    moved = {
        "sqlite": f"DATETIME('now', '{sign}1 minutes')",
        "postgresql": f"NOW() {sign} interval '1 minute'",
    }[url.partition(":")[0]]
    execute(url, f"UPDATE store SET expires_at = {moved} WHERE expires_at IS NOT NULL")


def execute(url: str, query: str) -> list[Any]:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=15, isolation_level=None)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url, autocommit=True) as postgres:
        cursor = postgres.execute(query)
        return list(cursor.fetchall()) if cursor.description else []
