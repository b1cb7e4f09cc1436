"""Migrations in a process of their own, which takes with it what Alembic brought: 12 MiB that a server never needs."""

import os
from contextlib import suppress

from agent_runner.status.store.schema import migrate, revision


def migrate_apart(url: str) -> None:
    """Bring the database to the newest revision. Call it before there are threads: this process forks.

    Raises nothing: the server looks again when it starts, and says what is wrong.
    """
    with suppress(Exception):
        found, newest = revision(url)
        if found == newest:
            return
        if child := os.fork():
            os.waitpid(child, 0)
            return
        try:
            migrate(url)
        finally:
            os._exit(0)  # nobody asks how it went
