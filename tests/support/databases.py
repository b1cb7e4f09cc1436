"""One way to get a database: a SQLite file, or a database of one's own on the Postgres that a variable names.

To run every migration takes longer than most tests. So they run once for each kind and process: a test gets a copy of
the file that they made, or a database that another test has given back and that was emptied since. What a test changed
in the tables themselves is seen, and such a database is given to nobody.
"""

import functools
import os
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from agent_runner.status.store import schema

SORTS = ("sqlite", "postgres")
Prepare = Callable[[str], None]
POSTGRES = "AGENT_RUNNER_TEST_POSTGRES_URL"

SHAPE = """
select md5(string_agg(line, e'\\n' order by line)) from (
  select concat_ws(' ', 'column', table_name, column_name, data_type, is_nullable, column_default)
    from information_schema.columns where table_schema = 'public'
  union all select indexdef from pg_indexes where schemaname = 'public'
  union all select concat_ws(' ', 'rule', conrelid::regclass, pg_get_constraintdef(oid))
    from pg_constraint where connamespace = 'public'::regnamespace
  union all select concat_ws(' ', 'trigger', tgrelid::regclass, tgname) from pg_trigger where not tgisinternal
) as all_of_it (line)
"""
"""Tables, columns, indexes, constraints and triggers in one word: two databases with the same word have the same."""
OTHERS_OUT = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""


def no_more(_url: str) -> None:
    """The preparation that adds nothing."""


@contextmanager
def empty(sort: str, folder: Path) -> Iterator[str]:
    """The URL of a database without any table. One on Postgres is dropped afterwards."""
    if sort == "sqlite":
        yield f"sqlite:///{folder}/{uuid.uuid4().hex[:12]}.db"
        return
    with postgres_database() as url:
        yield url


@contextmanager
def migrated(sort: str, folder: Path, prepare: Prepare = no_more) -> Iterator[str]:
    """The URL of a database with the newest tables and no row in them. `prepare` adds what is no row, a trigger for
    instance; it gets the URL, and runs once as the migrations do."""
    if sort == "sqlite":
        yield copied(folder / f"{uuid.uuid4().hex[:12]}.db", prepare)
        return
    server = postgres_or_skip()
    shelf = _SHELVES.setdefault((server, prepare), [])
    url = shelf.pop() if shelf else _made(server, prepare)
    try:
        yield url
    finally:
        if _emptied(server, url, prepare):
            shelf.append(url)
        else:
            _drop(server, url)


@contextmanager
def copy_of(sort: str, folder: Path, make: Prepare) -> Iterator[str]:
    """The URL of a database of the test's own with what `make` did to an empty one, whose URL it gets. It runs once in
    a process. One on Postgres is dropped afterwards."""
    if sort == "sqlite":
        file = folder / f"{uuid.uuid4().hex[:12]}.db"
        file.touch(mode=0o600)
        file.write_bytes(_content(make))
        yield f"sqlite:///{file}"
        return
    server = postgres_or_skip()
    url = _hurried(server, _created(server, of=_original(server, make)))
    try:
        yield url
    finally:
        _drop(server, url)


def copied(file: Path, prepare: Prepare = no_more) -> str:
    """The URL of a new SQLite file with the newest tables and no row: what a server would make of it at its start."""
    file.touch(mode=0o600)  # as the product's own
    with _ONE_AT_A_TIME:  # alembic keeps what it works on in global variables
        content = _template(prepare)
    file.write_bytes(content)
    return f"sqlite:///{file}"


class RowsAtStart:
    """A SQLite database in use, as it was: what had no row then is emptied by `bring_back`, the rest is left alone."""

    def __init__(self, url: str) -> None:
        self._file = url.removeprefix("sqlite:///")

    def __enter__(self) -> Self:
        self._connection = sqlite3.connect(self._file, timeout=20, isolation_level=None)
        names = self._connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        self._empty = [
            name for (name,) in names if not self._connection.execute(f'select 1 from "{name}" limit 1').fetchone()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def bring_back(self) -> None:
        self._connection.execute("begin immediate")
        for name in self._empty:
            self._connection.execute(f'delete from "{name}"')
        self._connection.execute("commit")


def postgres_or_skip() -> str:
    """The URL of the tests' Postgres server. Skips the test where there is none."""
    server = os.environ.get(POSTGRES, "")
    if not server:
        pytest.skip(f"needs a Postgres server: set {POSTGRES}")
    return server


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of an empty one, dropped afterwards. Skips the test where there is no server."""
    with on_postgres(postgres_or_skip()) as url:
        yield url


@contextmanager
def on_postgres(server: str) -> Iterator[str]:
    """The URL of an empty database on this server, dropped afterwards."""
    url = _created(server)
    try:
        yield url
    finally:
        _drop(server, url)


def drop_all() -> None:
    """At the end of the process: what was kept for the next test."""
    while _KEPT:
        _KEPT.popitem()[1].close()
    for (server, _), shelf in _SHELVES.items():
        while shelf:
            _drop(server, shelf.pop())
    while _ORIGINALS:
        (server, _), url = _ORIGINALS.popitem()
        _drop(server, url)


_SHELVES: dict[tuple[str, Prepare], list[str]] = {}
"""By server and preparation: migrated and empty databases that nobody uses."""


_ORIGINALS: dict[tuple[str, Prepare], str] = {}
"""By server and what made them: databases that are copied."""
_KEPT: dict[str, psycopg.Connection[tuple[str, ...]]] = {}
"""By URL: a connection to each database that is used again. A new one would first learn all about its tables."""
_ONE_AT_A_TIME = threading.Lock()


@functools.cache
def _template(prepare: Prepare) -> bytes:
    def make(url: str) -> None:
        schema.migrate(url)
        prepare(url)

    return _content(make)


@functools.lru_cache(maxsize=64)
def _content(make: Prepare) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.db"
        file.touch()  # an empty file is a database without any table
        make(f"sqlite:///{file}")
        return file.read_bytes()


def _original(server: str, make: Prepare) -> str:
    if (server, make) not in _ORIGINALS:
        url = _created(server)
        try:
            make(url)
        except BaseException:
            _drop(server, url)
            raise
        _ORIGINALS[server, make] = url
    return _ORIGINALS[server, make]


def _made(server: str, prepare: Prepare) -> str:
    url = _hurried(server, _created(server))
    schema.migrate(url)
    prepare(url)
    return url


def _emptied(server: str, url: str, prepare: Prepare) -> bool:
    """Whether it is as new. Whoever is still connected is cut off first, so that nobody holds a lock."""
    connection = _alone(url)
    if connection.execute(SHAPE).fetchone() != _shape(server, prepare):
        return False
    tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    rows = [sql.Identifier(name) for (name,) in tables if name != "alembic_version"]
    with connection.transaction():
        for name in rows:  # in any order: what belongs to a row goes with it
            connection.execute(sql.SQL("delete from {}").format(name))
        connection.execute(
            "select setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) "
            "from pg_sequences where schemaname = 'public'"
        )
    return True


def _alone(url: str) -> psycopg.Connection[tuple[str, ...]]:
    """The connection that is kept, when nobody else has one any more."""
    if url in _KEPT:
        with suppress(psycopg.OperationalError):  # a test about lost connections has cut off this one too
            _KEPT[url].execute(OTHERS_OUT)
            return _KEPT[url]
    _KEPT[url] = admin(url)
    _KEPT[url].execute(OTHERS_OUT)
    return _KEPT[url]


@functools.cache
def _shape(server: str, prepare: Prepare) -> tuple[str, ...] | None:
    url = _made(server, prepare)
    try:
        with admin(url) as connection:
            return connection.execute(SHAPE).fetchone()
    finally:
        _drop(server, url)


def _created(server: str, of: str = "") -> str:
    """`of`: the URL of a database that nobody is connected to, whose copy it is."""
    name = f"agent_runner_test_{uuid.uuid4().hex[:12]}"
    statement = sql.SQL("create database {}").format(sql.Identifier(name))
    if of:
        statement += sql.SQL(" template {}").format(sql.Identifier(_name(of)))
    with admin(server) as connection:
        connection.execute(statement)
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _hurried(server: str, url: str) -> str:
    """The same database, whose commits do not wait for the disk from now on: 3 ms each, and no test of one process cuts
    the power of the server."""
    with admin(server) as connection:
        connection.execute(
            sql.SQL("alter database {} set synchronous_commit to off").format(sql.Identifier(_name(url)))
        )
    return url


def _drop(server: str, url: str) -> None:
    if url in _KEPT:
        _KEPT.pop(url).close()
    with admin(server) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(_name(url))))


def _name(url: str) -> str:
    return str(make_url(url).database)


def admin(url: str) -> psycopg.Connection[tuple[str, ...]]:
    """A connection without transactions, for one `with`."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)
