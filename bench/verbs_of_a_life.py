"""What the thirteen verbs of one execution's life cost the store alone, beside the same number of bare transactions.

    python -m bench.verbs_of_a_life [--lives 200] [--rounds 3]

On SQLite always, on Postgres where AGENT_RUNNER_TEST_POSTGRES_URL names one. CPU is that of this process: the threads
of the store and the event loop, without the database's own. Bare: as many times `UPDATE executions ... WHERE handle =`
in a transaction, by the driver alone.
"""

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Callable
from statistics import median

import psycopg

from agent_runner.status.phases import Phase
from agent_runner.status.store import schema
from agent_runner.status.store.run_records import NewDelta, Outcome, RunBeat
from agent_runner.status.store.store import Store
from bench.expiries import _postgres, _sqlite, new_execution

VERBS = 13
TOKENS = [NewDelta(kind="text", payload=f'{{"id":"a1","text":"token {n} "}}') for n in range(10)]


async def life(store: Store, number: int) -> None:
    """One execution from its row to its end, read by one watcher: thirteen verbs."""
    new = new_execution(number)
    id = new.id
    await store.create(new)
    await store.get(id)
    await store.dispatched(id)
    await store.begin(id, "b", "w1")
    await store.done(id, "b", f"thread-{number}")
    claimed = (await store.claim(id, "c", "w1")).execution
    if claimed is None:
        raise RuntimeError("the claim was refused")
    await store.append(claimed.handle, claimed.fence, 0, TOKENS)
    await store.beat("w1", [RunBeat(handle=claimed.handle, fence=claimed.fence, progress={"events_processed": 10})])
    await store.read_log(id, 3)
    await store.append(claimed.handle, claimed.fence, 10, TOKENS)
    await store.read_log(id, 13)
    await store.settle(claimed.handle, claimed.fence, 20, TOKENS[:1], "head", Outcome(phase=Phase.COMPLETED))
    await store.state(id)


async def _lives(url: str, count: int) -> tuple[float, float]:
    """(ms of CPU, ms of time) of one life."""
    store = Store.open(url)
    for number in range(20):
        await life(store, -1 - number)
    cpu, began = time.process_time(), time.perf_counter()
    for number in range(count):
        await life(store, number)
    cpu, took = time.process_time() - cpu, time.perf_counter() - began
    await store.close()
    return cpu / count * 1000, took / count * 1000


def _bare(url: str, count: int) -> float:
    """ms of CPU of as many bare transactions."""
    if url.startswith("sqlite"):
        lite = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        lite.execute("PRAGMA synchronous=NORMAL")
        execute: Callable[[str], object] = lite.execute
        close = lite.close
    else:
        big = psycopg.connect(url, autocommit=True)
        execute, close = big.execute, big.close
    cpu = time.process_time()
    for number in range(count * VERBS):
        execute("BEGIN")
        execute(f"UPDATE executions SET name = 'bare' WHERE handle = {1 + number % count}")
        execute("COMMIT")
    cpu = time.process_time() - cpu
    close()
    return cpu / count * 1000


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--lives", type=int, default=200)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    print(f"{'database':10} {'CPU ms/life':>12} {'us/verb':>8} {'time ms/life':>13} {'bare CPU ms':>12} {'ratio':>6}")
    for name, database in (("sqlite", _sqlite), ("postgres", _postgres)):
        rounds = []
        for _ in range(chosen.rounds):
            with database() as url:
                if not url:
                    break
                schema.migrate(url)
                cpu, took = asyncio.run(_lives(url, chosen.lives))
                rounds.append((cpu, took, _bare(url, chosen.lives)))
        if rounds:
            cpu, took, bare = (median(one[n] for one in rounds) for n in range(3))
            print(f"{name:10} {cpu:12.2f} {cpu / VERBS * 1000:8.0f} {took:13.2f} {bare:12.2f} {cpu / bare:6.1f}")


if __name__ == "__main__":
    main()
