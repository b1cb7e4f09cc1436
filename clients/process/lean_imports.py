"""Imports of packages without the parts that they take along when they find them, and that nobody here uses.

`httpx` has a command of its own, which brings rich and pygments. `redis` can count its calls for OpenTelemetry, which
brings the SDK for metrics. Celery's command line colours what it prints. All of them do without. Call these before
anything else imports the package, and before a second thread imports anything.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_httpx() -> None:
    with without("rich", "pygments"):
        import httpx  # noqa: F401


def import_redis() -> None:
    with without("opentelemetry.sdk.metrics"):
        import redis  # noqa: F401


def import_celery_commands() -> None:
    with without("pygments"):
        import celery.bin.base  # noqa: F401


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """In the block these cannot be imported, as if they were not installed. Those that are imported already can."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: the import system raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
