"""Who makes a call, and what of the store is theirs. Every call has a principal before any handler runs.

What belongs to another org looks as if it did not exist; what would be written there is refused. Both are decided here
and asked for by `agent_runner.app.server.access.org_view`, which stands between the handlers and the store.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.api_keys import Scope

DEFAULT_ORG = "local"
PLATFORM = ""
"""The org of what belongs to nobody: all may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An empty `org` means all orgs; an empty `key_id` the key of the environment, or the server itself."""

    name: str
    scopes: frozenset[Scope]
    org: str = ""
    key_id: str = ""
    queues: frozenset[str] = frozenset()
    """The queues that a key for workers serves; empty: all."""
    expires_at: float | None = None
    """Epoch seconds; None: the key has no end."""


SERVER = Principal(name="the server", scopes=frozenset())
"""Does what the system needs by itself, for whoever asks: an agent's missing default instance, for example."""
_current: ContextVar[Principal] = ContextVar("principal")


def enter(principal: Principal) -> None:
    """For the rest of this task, which is one call, and for the tasks that it starts."""
    _current.set(principal)


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    before = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Principal:
    """Raises RuntimeError outside of any call: what the server does by itself says so with `acting_as(SERVER)`."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("nobody made this call: it needs a principal, or acting_as(SERVER)") from None


def actor() -> str:
    """Who makes this call, for an audit: the id of the key; the name of what has none."""
    principal = current()
    return principal.key_id or principal.name


def default_org() -> str:
    """The org that is meant where a request names none."""
    return current().org or DEFAULT_ORG


def sees(org: str) -> bool:
    mine = current().org
    return not mine or org in (mine, PLATFORM)


def must_own(org: str) -> None:
    """Before anything is written that belongs to `org`. Raises PERMISSION_DENIED."""
    principal = current()
    if principal.org and org != principal.org:
        what = f"of org '{org}'" if org else "of the platform"
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"the key '{principal.name}' belongs to org '{principal.org}' and cannot write what is {what}",
            next_step=f"Leave the org out, or name '{principal.org}'; or use a key of that org.",
        )
