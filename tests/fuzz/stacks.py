"""Servers to be fuzzed: real processes, on SQLite or on a database of their own in the Postgres of the tests."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.integration.stack import Stack
from tests.support.databases import on_postgres

GRAPHS = Path(__file__).parent.parent / "agent_server" / "graphs" / "langgraph.json"
QUICK_ENDS = {
    "AGENT_RUNNER_SCHEDULE_TO_START_TIMEOUT_S": "0.2",
    "AGENT_RUNNER_SWEEP_INTERVAL_S": "0.1",
    "AGENT_RUNNER_THREAD_WAIT_S": "1",
    "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": "1",
    "AGENT_RUNNER_START_TO_CLOSE_TIMEOUT_S": "2",
    "AGENT_RUNNER_SCHEDULE_TO_CLOSE_TIMEOUT_S": "115",
    "AGENT_RUNNER_MAX_RUN_S": "3",
}
"""Whoever waits for an end (`?wait=`, an event stream) gets it as soon as this: E101 where there is no worker."""


@contextmanager
def fuzzed(postgres: str = "", *, worker: bool = False, **settings: str) -> Iterator[Stack]:
    """A Redis and a server. `postgres`: the URL of a server on which databases are made, and removed again. `worker`:
    one more process, without which each question about a graph or its memory is refused after eight seconds."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        if postgres:
            for name in ("AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_CHECKPOINT_URL"):
                settings[name] = opened.enter_context(on_postgres(postgres))
        if worker:
            settings["AGENT_RUNNER_GRAPHS"] = str(GRAPHS)
        stack = opened.enter_context(Stack.open(folder, **settings))
        if worker:
            stack.start_worker()
        yield stack
