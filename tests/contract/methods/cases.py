"""How a valid request of each method is made, what it names, which scope it needs, and what a good answer is.

The one table of this folder: every aspect (answers, rules, keys, orgs) is tested over all of its rows.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_IN_PROGRESS
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from tests.contract.methods import answers
from tests.contract.methods.drafts import changed
from tests.contract.methods.facts import (
    AGENT,
    CONTEXT,
    ENVIRONMENT,
    EXECUTION,
    INSTANCE,
    SESSION,
    SKILL,
    Kind,
)
from tests.contract.methods.world import World, request

Names = Mapping[str, Kind]
ARTIFACT = Kind("artifact", 0, "")
PARENTS: Mapping[Kind, Names] = {
    INSTANCE: {"spec.agent_id": AGENT},
    SESSION: {"spec.agent_instance_id": INSTANCE},
    EXECUTION: {"spec.agent_id": AGENT, "spec.session_id": SESSION},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    request: Callable[[World], Awaitable[Any]]
    """A valid request; what it needs has been made in that world."""
    check: Callable[[World, Any, Any], Awaitable[None]]
    """(world, request, reply): asserts that the answer is right, and that `get` agrees."""
    scope: str
    """The least that a key needs."""
    names: Names = field(default_factory=dict)
    """The fields that name something that must exist, and what that is."""


def _commands(kind: Kind, *methods: str, write: str = "admin") -> dict[str, Case]:
    service, parents = f"{kind.name}CommandController", PARENTS.get(kind, {})
    delete = f"{service}.delete"
    (identity,) = {"value", "resource_id"} & {f.name for f in request(delete).DESCRIPTOR.fields}

    async def draft(world: World) -> Any:
        return await world.draft(kind)

    async def change(world: World) -> Any:
        return changed(await world.make(kind))

    async def deletion(world: World) -> Any:
        made = await world.make(kind)
        if kind is EXECUTION:
            await world.end(made)
        return request(delete, **{identity: made.metadata.id})

    known = {
        "create": Case(request=draft, check=answers.created(kind), names=parents, scope=write),
        "apply": Case(request=draft, check=answers.applied(kind), names=parents, scope=write),
        "update": Case(
            request=change,
            check=answers.updated(kind),
            names={"metadata.id": kind, **({} if kind is EXECUTION else parents)},
            scope=write,
        ),
        "push": Case(request=draft, check=answers.pushed, scope=write),
        "delete": Case(request=deletion, check=answers.deleted(kind), names={identity: kind}, scope="admin"),
    }
    return {f"{service}.{method}": known[method] for method in methods}


def _queries(kind: Kind, *methods: str) -> dict[str, Case]:
    service = f"{kind.name}QueryController"

    async def get(world: World) -> Any:
        return request(f"{service}.get", value=(await world.make(kind)).metadata.id)

    async def by_reference(world: World) -> Any:
        made = await world.make(kind)
        scope = organization if made.metadata.owner_scope else 0
        return request(
            f"{service}.getByReference", scope=scope, org=world.org, kind=kind.number, slug=made.metadata.slug
        )

    known = {
        "get": Case(request=get, check=answers.got(kind), names={"value": kind}, scope="read"),
        "getByReference": Case(
            request=by_reference, check=answers.referenced(kind), names={"slug": kind}, scope="read"
        ),
    }
    return {f"{service}.{method}": known[method] for method in methods}


async def _update_status(world: World) -> Any:
    id = (await world.make(EXECUTION)).metadata.id
    given = request("AgentExecutionCommandController.updateStatus", execution_id=id)
    given.status.phase = EXECUTION_IN_PROGRESS
    given.status.messages.add(type=1, content="hello")
    given.status.messages.add(type=2, content="working on it")
    given.status.tool_calls.add(id="call-1", name="read", status=2)
    given.status.todos["1"].content = "look around"
    return given


def _listing(kind: Kind, method: str, field: str = "", of: Kind = AGENT) -> dict[str, Case]:
    """A list of all of a kind, or of those that belong to what `field` names."""

    async def listing(world: World) -> Any:
        for _ in range(2):
            await world.make(kind)
        return request(method, **({field: (await world.some(of)).metadata.id} if field else {}))

    return {method: Case(request=listing, check=answers.listed(kind), scope="read")}


async def _by_session(world: World) -> Any:
    made = await world.make(EXECUTION)
    return request("AgentExecutionQueryController.listBySession", session_id=made.spec.session_id)


async def _subscribe(world: World) -> Any:
    return request("AgentExecutionQueryController.subscribe", value=(await world.make(EXECUTION)).metadata.id)


async def _artifact(world: World) -> Any:
    key = (await world.make(SKILL)).status.artifact_storage_key
    return request("SkillQueryController.getArtifact", artifact_storage_key=key)


CASES: Mapping[str, Case] = {
    **_commands(AGENT, "create", "apply", "update", "delete"),
    **_queries(AGENT, "get", "getByReference"),
    **_commands(INSTANCE, "create", "apply", "update", "delete"),
    **_queries(INSTANCE, "get", "getByReference"),
    **_listing(INSTANCE, "AgentInstanceQueryController.getByAgent", "agent_id"),
    **_commands(SESSION, "create", "apply", "update", "delete", write="execute"),
    **_queries(SESSION, "get"),
    **_listing(SESSION, "SessionQueryController.list"),
    **_listing(SESSION, "SessionQueryController.listByAgent", "agent_id"),
    **_commands(ENVIRONMENT, "create", "apply", "update", "delete"),
    **_queries(ENVIRONMENT, "get", "getByReference"),
    **_commands(CONTEXT, "create", "apply", "delete"),
    **_queries(CONTEXT, "get", "getByReference"),
    **_commands(SKILL, "push", "delete"),
    **_queries(SKILL, "get", "getByReference"),
    "SkillQueryController.getArtifact": Case(
        request=_artifact, check=answers.artifact, names={"artifact_storage_key": ARTIFACT}, scope="read"
    ),
    **_commands(EXECUTION, "create", "update", "delete", write="execute"),
    "AgentExecutionCommandController.updateStatus": Case(
        request=_update_status, check=answers.status_updated, names={"execution_id": EXECUTION}, scope="runner"
    ),
    **_queries(EXECUTION, "get"),
    **_listing(EXECUTION, "AgentExecutionQueryController.list"),
    "AgentExecutionQueryController.listBySession": Case(
        request=_by_session, check=answers.listed(EXECUTION), scope="read"
    ),
    "AgentExecutionQueryController.subscribe": Case(
        request=_subscribe, check=answers.followed, names={"value": EXECUTION}, scope="read"
    ),
}
"""By the method's id. That its keys are the contract's methods is a test."""
