"""The principal of a call, and the records that it may use. Every call has a principal before any handler runs.

Records of another org look as if they did not exist, and writes to another org are refused. Both are decided here.
`agent_runner.app.server.access.org_view`, which is between the handlers and the store, asks for these decisions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.api_keys import Scope

DEFAULT_ORG = "local"
PLATFORM = ""
"""The org of records that belong to no org: all may read them."""


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
"""The principal of the server's own work, for any caller: for example, to make a missing default instance."""
_current: ContextVar[Principal] = ContextVar("principal")


def enter(principal: Principal) -> None:
    """Sets the principal for the rest of this task, which is one call, and for the tasks that it starts."""
    _current.set(principal)


@contextmanager
def acting_as(principal: Principal) -> Iterator[None]:
    before = _current.set(principal)
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Principal:
    """The principal of this call. Raises RuntimeError outside a call; the server itself uses `acting_as(SERVER)`."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("nobody made this call: it needs a principal, or acting_as(SERVER)") from None


def actor() -> str:
    """The caller, for an audit: the id of its key, or the principal's name if it has no id."""
    principal = current()
    return principal.key_id or principal.name


def default_org() -> str:
    """The org of a request that names none."""
    return current().org or DEFAULT_ORG


def sees(org: str) -> bool:
    mine = current().org
    return not mine or org in (mine, PLATFORM)


def must_own(org: str) -> None:
    """Call it before a write to `org`. Raises PERMISSION_DENIED if the caller's key belongs to another org."""
    principal = current()
    if principal.org and org != principal.org:
        what = f"of org '{org}'" if org else "of the platform"
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"the key '{principal.name}' belongs to org '{principal.org}' and cannot write what is {what}",
            next_step=f"Leave the org out, or name '{principal.org}'; or use a key of that org.",
        )
