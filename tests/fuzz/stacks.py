"""Servers to be fuzzed: real processes, on SQLite or on a database of their own in the Postgres of the tests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.stack import Stack
from tests.support.databases import on_postgres

QUICK_ENDS = {
    "AGENT_RUNNER_SCHEDULE_TO_START_TIMEOUT_S": "0.2",
    "AGENT_RUNNER_SWEEP_INTERVAL_S": "0.1",
    "AGENT_RUNNER_THREAD_WAIT_S": "1",
    "AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": "1",
    "AGENT_RUNNER_START_TO_CLOSE_TIMEOUT_S": "2",
    "AGENT_RUNNER_SCHEDULE_TO_CLOSE_TIMEOUT_S": "115",
    "AGENT_RUNNER_MAX_RUN_S": "3",
}
"""There is no worker: whoever waits for an end (`?wait=`, an event stream) gets it, E101, as soon as this."""


@contextmanager
def fuzzed(postgres: str = "", **settings: str) -> Iterator[Stack]:
    """A Redis and a server. `postgres`: the URL of a server on which a database is made, and removed again."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        if not postgres:
            with Stack.open(Path(folder), **settings) as stack:
                yield stack
            return
        with on_postgres(postgres) as url, Stack.open(Path(folder), AGENT_RUNNER_DATABASE_URL=url, **settings) as stack:
            yield stack
