"""Errors of the databases that hold the agents' memory.

psycopg is imported where a Postgres is used, and before that no error of it can come: so it is only looked for here.
It costs a worker with SQLite 6 MiB.
"""

import sqlite3
import sys

import aiosqlite


class MemoryAway(Exception):
    """The run is given up, because the database with the agents' memory was away too long or cannot be used."""


def memory_errors() -> tuple[type[Exception], ...]:
    """What either database may raise: `except memory_errors() as error`."""
    return (aiosqlite.Error, *psycopg_errors("Error"))


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether somebody else has the SQLite file at the moment: the same again may succeed."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def psycopg_errors(*names: str) -> tuple[type[Exception], ...]:
    """The classes of psycopg with these names; none while nothing has imported it, or a thread still does."""
    errors = sys.modules.get("psycopg.errors")
    return tuple(getattr(errors, name) for name in names if hasattr(errors, name))
