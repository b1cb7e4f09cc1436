"""Finds the kinds of sandboxes by their names. Packages add some as entry points of the group `agent_runner.sandboxes`.

An entry point is a `SandboxKind`, or a function that makes a deepagents backend (`SandboxBackendProtocol`) for a
`SandboxRequest`. A kind is imported when a worker offers it, and only then.
"""

import inspect
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.port import Sandbox, SandboxError

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

GROUP = "agent_runner.sandboxes"
NONE = "none"
"""No kind: the agent has no commands, and its files are in the conversation."""
_OURS = "agent_runner.clients.sandbox"
BUILT_IN = {
    "local": (f"{_OURS}.kinds.local", "LocalKind"),
    "docker": (f"{_OURS}.docker.kind", "DockerKind"),
    "daytona": (f"{_OURS}.daytona.kind", "DaytonaKind"),
}
ANNOTATION = "agent-runner/sandbox"
"""The annotation of an agent that names the kind which its commands run in."""


class UnusableKind(SandboxKind):
    """A kind that is offered and could not be loaded: everything says why."""

    def __init__(self, settings: "Settings", error: SandboxError) -> None:
        super().__init__(settings)
        self._why = str(error)

    def open(self, request: SandboxRequest) -> Sandbox:
        raise SandboxError(self._why)

    def remove(self, name: str) -> bool:
        return False

    def health(self) -> Health:
        return Health(up=False, said=self._why, fix="Install what it names, or set AGENT_RUNNER_SANDBOX to another.")


def known() -> list[str]:
    """The names that can be set: ours first."""
    return [*(name for name in BUILT_IN if _exists(name)), NONE, *sorted(_installed())]


def kind_of(name: str, settings: "Settings") -> SandboxKind:
    """The kind of that name. Raises SandboxError for a name that nothing has, and for a kind that cannot be loaded."""
    found = _KINDS.get((name, id(settings)))
    if found is None or found.settings is not settings:
        found = _KINDS[name, id(settings)] = _loaded(name, settings)
    return found


def kinds_of(settings: "Settings") -> dict[str, SandboxKind]:
    """Every kind that this worker offers, the default first. One that cannot be loaded says so when it is used."""
    found: dict[str, SandboxKind] = {}
    for name in settings.offered_sandboxes:
        if name == NONE:
            continue
        try:
            found[name] = kind_of(name, settings)
        except SandboxError as error:
            found[name] = UnusableKind(settings, error)
    return found


def chosen_kind(settings: "Settings", wanted: str) -> str:
    """The name of the kind for an agent that wants this one, '' for no wish. Raises SandboxError for one that this
    worker does not offer: no other one takes over."""
    name = wanted.strip()
    if not name:
        return settings.sandbox
    if name not in settings.offered_sandboxes:
        offered = ", ".join(settings.offered_sandboxes)
        raise SandboxError(
            f"the agent wants it ({ANNOTATION}), and this worker offers {offered}; AGENT_RUNNER_SANDBOX_KINDS names"
            " more of them",
            kind=name,
        )
    return name


_KINDS: dict[tuple[str, int], SandboxKind] = {}
"""One of each for the settings of this process."""


def _loaded(name: str, settings: "Settings") -> SandboxKind:
    if name in BUILT_IN and _exists(name):
        module, attribute = BUILT_IN[name]
        kind: type[SandboxKind] = getattr(import_module(module), attribute)
        return kind(settings)
    if (point := _installed().get(name)) is None:
        raise SandboxError(f"there is no kind of that name; there are {', '.join(known())}", kind=name)
    try:
        made = point.load()
    except Exception as error:
        text = f"{point.value} of {point.dist.name if point.dist else 'a package'} cannot be loaded"
        raise SandboxError(f"{text}: {type(error).__name__}: {error}", kind=name) from error
    if inspect.isclass(made) and issubclass(made, SandboxKind):
        return made(settings)
    from agent_runner.clients.sandbox.kinds.of_backend import BackendKind  # deepagents takes half a second

    return BackendKind(settings, name, made)


def _exists(name: str) -> bool:
    try:
        return find_spec(BUILT_IN[name][0]) is not None
    except ModuleNotFoundError:
        return False


@lru_cache
def _installed() -> dict[str, EntryPoint]:
    """Ours cannot be replaced: a package must not take the place of walls."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in (*BUILT_IN, NONE)}
