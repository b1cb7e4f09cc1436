"""What a worker says and checks of the sandboxes that it offers, before it takes work."""

from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.isolation import Isolation, NotIsolated, check_isolation, isolation_of
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.kinds.registry import NONE, kind_of, kinds_of

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings


def sandbox_said(settings: "Settings") -> str:
    """What commands of the default sandbox run in, in words. Blocking the first time."""
    if settings.sandbox == NONE:
        return NONE
    if settings.sandbox == "local":
        return isolation_of(settings).said
    try:
        return kind_of(settings.sandbox, settings).health().said
    except SandboxError as error:
        return f"{settings.sandbox}, which cannot be used: {error}"


def check_sandboxes(settings: "Settings") -> tuple[Isolation | None, dict[str, str]]:
    """At a worker's start: the isolation of the local sandbox, if it is offered, and why kinds beside the default one
    cannot be used. Raises NotIsolated where the worker must not start: no other kind takes over."""
    isolation = check_isolation(settings)
    unusable = {}
    for name, kind in kinds_of(settings).items():
        if name == "local" or (health := kind.health()).up:
            continue
        if name == settings.sandbox:
            raise NotIsolated(f"AGENT_RUNNER_SANDBOX={name} cannot be used: {health.said}. {health.fix}".rstrip())
        unusable[name] = health.said
    return isolation, unusable
