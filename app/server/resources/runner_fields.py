"""The fields of a session that only workers may write: the places of its memory and its files.

A caller who could set them could read the memory, or see the files, of another session in the next turn.
"""

from collections.abc import Mapping
from typing import Any

from agent_runner.app.server.access.principal import current
from agent_runner.app.server.access.scopes import may_grant
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.api_keys import Scope
from agent_runner.status.store.records import ResourceKind

FIELDS = ("thread_id", "sandbox_id")


def check_workers_fields(kind: ResourceKind, given: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """`shown`: the session as its callers see it, or empty. A caller may send these values back, or leave them out.

    Raises PERMISSION_DENIED for a key without the scope `runner`.
    """
    if kind is not ResourceKind.SESSION or may_grant(current().scopes, Scope.RUNNER):
        return
    spec, known = given.get("spec", {}), shown.get("spec", {})
    if changed := [name for name in FIELDS if spec.get(name) and spec[name] != known.get(name, "")]:
        raise Problem(
            Kind.PERMISSION_DENIED,
            f"spec.{changed[0]}: only a worker writes it, with the scope 'runner'",
            next_step="Leave it out: the session gets it with its first execution.",
        )
