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
        if found != newest and (child := os.fork()) == 0:
            code = 1
            try:
                migrate(url)
                code = 0
            finally:
                os._exit(code)
        elif found != newest:
            os.waitpid(child, 0)
