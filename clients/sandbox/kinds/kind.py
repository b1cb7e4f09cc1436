"""One kind of sandbox, as a worker uses it: open one for a run, remove a session's, say how it is, sweep."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.kinds.port import DEFAULT_MAX_RESULT_BYTES, Sandbox

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxRequest:
    """The sandbox that a run needs. `name` is the same in every turn of its session until that is cleaned up; it has
    letters, digits, `_` and `-` only. `env`: what commands see beside the basic variables; it may hold secrets."""

    name: str
    session_id: str = ""
    org: str = ""
    execution_id: str = ""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    mask: Mask = field(default_factory=Mask, repr=False)
    max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """`said`: what commands run in, or why they cannot, for logs, presence, doctor and the live page."""

    up: bool
    said: str
    fix: str = ""


class SandboxKind(ABC):
    """Made once per process, with its settings. Every method may be called by several threads at once, and blocks."""

    def __init__(self, settings: "Settings") -> None:
        self.settings = settings

    @abstractmethod
    def open(self, request: SandboxRequest) -> Sandbox:
        """Raises SandboxError, whose text a user reads. There is no other kind that takes over."""

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Remove everything of the sandbox of that name; whether there was something. Raises SandboxError if some of it
        stays."""

    @abstractmethod
    def health(self) -> Health:
        """Whether sandboxes of this kind can be opened here. Raises nothing."""

    def sweep(self) -> int:
        """Remove what has no owner, or was idle for too long; how many. At a worker's start and now and then. Raises
        SandboxError."""
        return 0
