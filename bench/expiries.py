"""S13: how many executions whose time is up one sweep ends in a second; SQLite always, Postgres where one is named."""

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import update

from agent_runner.status.store import schema
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.records import NewExecution
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Kind
from agent_runner.status.timeouts import Timeouts
from bench.arithmetic import Pair, Row, row

DUE = 1000
POSTGRES = "AGENT_RUNNER_TEST_POSTGRES_URL"


@dataclass
class _Clock:
    """The database's time, moved past everybody's schedule-to-start at once."""

    at: float

    def __call__(self) -> float:
        return self.at


def measure(rounds: int) -> list[Row]:
    found = {}
    for part, database in (("sqlite", _sqlite), ("postgres", _postgres)):
        pairs = []
        for _ in range(rounds):
            with database() as url:
                if url:
                    pairs.append(asyncio.run(_round(url)))
        found[part] = pairs
    return [row("S13", part, pairs) for part, pairs in found.items() if pairs]


async def _round(url: str) -> Pair:
    schema.migrate(url)
    clock = _Clock(time.time())
    store = Store.open(url, now=clock)
    for number in range(DUE):
        await store.create(new_execution(number))
        await store.dispatched(f"aex-{number}")
    bare = await _bare(store)
    await store.tick(period_s=Timeouts().schedule_to_start_s)  # no gap, so no amnesty
    clock.at += Timeouts().schedule_to_start_s + 1
    began = time.perf_counter()
    ticked = await store.tick(period_s=Timeouts().schedule_to_start_s)
    took_s = time.perf_counter() - began
    await store.close()
    if len(ticked.ended) != DUE:
        raise RuntimeError(f"{len(ticked.ended)} of {DUE} ended")
    return Pair(value=DUE / took_s, baseline=bare)


async def _bare(store: Store) -> float:
    """One conditional update per row and nothing else, in one transaction."""
    began = time.perf_counter()
    await store.transact(Kind.WRITES, _update_each)
    return DUE / (time.perf_counter() - began)


def _update_each(connection: Connection) -> None:
    for number in range(DUE):
        connection.execute(update(executions).where(executions.c.id == f"aex-{number}").values(name="bare"))


def new_execution(number: int) -> NewExecution:
    return NewExecution(
        id=f"aex-{number}",
        org="bench",
        session_id=f"ses-{number}",
        agent_id="agt-1",
        name="a run",
        slug="a-run",
        message="hello",
        timeouts=Timeouts(),
        runner_queue="runner",
        orchestrator_queue="orchestrator",
    )


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield f"sqlite:///{folder}/store.db"


@contextmanager
def _postgres() -> Iterator[str]:
    """A database of its own; empty without a server."""
    server = os.environ.get(POSTGRES, "")
    if not server:
        yield ""
        return
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")
