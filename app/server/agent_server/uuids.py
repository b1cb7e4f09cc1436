"""Ids of threads, runs and crons. The API wants UUIDs, our ids end with a ULID: both are the same 128 bits.

`ses-<ULID>` is the thread with that UUID, `aex-<ULID>` the run, `sch-<ULID>` the cron. So nothing has to be stored, an
id that a client chooses has its session id, and a link in either form finds the same record.
"""

import uuid

from ulid import ULID

from agent_runner.app.server.contract.ids import SCHEDULE_PREFIX, execution_prefix, resource_prefix
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.records import ResourceKind

SEARCHES = frozenset({"search", "count", "prune"})
"""These stand where an id would, and only a POST is for them."""


def thread_uuid(session_id: str) -> str:
    return _uuid_of(session_id)


def session_of(thread_id: str) -> str:
    """The session's id. Raises UNPROCESSABLE for what is no UUID."""
    return f"{resource_prefix(ResourceKind.SESSION)}-{_ulid_of(thread_id, 'thread_id')}"


def run_uuid(execution_id: str) -> str:
    return _uuid_of(execution_id)


def execution_of(run_id: str) -> str:
    """The execution's id. Raises UNPROCESSABLE for what is no UUID."""
    return f"{execution_prefix()}-{_ulid_of(run_id, 'run_id')}"


def cron_uuid(schedule_id: str) -> str:
    return _uuid_of(schedule_id)


def schedule_of(cron_id: str) -> str:
    """The schedule's id. Raises UNPROCESSABLE for what is no UUID."""
    return f"{SCHEDULE_PREFIX}-{_ulid_of(cron_id, 'cron_id')}"


def is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def known_uuid(text: str, what: str) -> str:
    """In its usual form. Raises UNPROCESSABLE, or METHOD_NOT_ALLOWED for the name of a search."""
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError):
        if text in SEARCHES:
            raise Problem(Kind.METHOD_NOT_ALLOWED, "Method Not Allowed", next_step="POST it.") from None
        raise Problem(
            Kind.UNPROCESSABLE, f"{what}: {str(text)[:80]!r} is not a UUID", next_step="Send the id as it was given."
        ) from None


def _uuid_of(our_id: str) -> str:
    return str(ULID.from_str(our_id.rpartition("-")[2].upper()).to_uuid())


def _ulid_of(text: str, what: str) -> str:
    return str(ULID.from_uuid(uuid.UUID(known_uuid(text, what)))).lower()
