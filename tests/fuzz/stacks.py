"""Servers to be fuzzed: real processes, on SQLite or on a database of their own in the Postgres of the tests."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests.integration.stack import Stack

POSTGRES = "AGENT_RUNNER_TEST_POSTGRES_URL"
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
        with _database(postgres) as url, Stack.open(Path(folder), AGENT_RUNNER_DATABASE_URL=url, **settings) as stack:
            yield stack


@contextmanager
def _database(server: str) -> Iterator[str]:
    name = f"fuzz_{uuid.uuid4().hex[:12]}"
    admin = make_url(server).set(drivername="postgresql")
    with psycopg.connect(admin.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
        try:
            yield admin.set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"drop database {name} with (force)".encode())
