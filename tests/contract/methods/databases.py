"""Where the server of these tests keeps what it stores."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

SORTS = ("sqlite", "postgres")
ON_SQLITE = pytest.mark.parametrize("server", ["sqlite"], indirect=True, scope="session")
"""For what is decided outside of the database: one is enough."""
POSTGRES = "AGENT_RUNNER_TEST_POSTGRES_URL"


@contextmanager
def database(sort: str, folder: Path) -> Iterator[str]:
    """The URL of a new database, dropped afterwards."""
    if sort == "sqlite":
        yield f"sqlite:///{folder}/contract.db"
        return
    server = os.environ.get(POSTGRES, "")
    if not server:
        pytest.skip(f"needs a Postgres server: set {POSTGRES}")
    name = f"agent_runner_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name}")
    try:
        yield f"{server.rsplit('/', 1)[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"drop database {name} with (force)")
