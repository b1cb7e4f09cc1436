"""Every list of the control plane, as the server reads it and as the model says it is."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import io_pb2 as instance_io
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from tests.control_plane.caller import Caller
from tests.control_plane.model import Execution, Model, Resource, has
from tests.control_plane.seen import Seen, execution_in, of_execution, of_resource, resource_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    entries: list[Seen]
    next_token: str
    pages: int
    """How many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    name: str
    expected: Callable[[Model], Sequence[Execution | Resource]]
    """All of it, newest first."""
    read: Callable[[Caller, int, str], Coroutine[Any, Any, Page]]
    """(caller, page size, page token)"""
    adds: str = "create_execution"
    """The verb that may add to it."""
    numbered: bool = False
    """A page's number is accepted in the place of a token."""
    tokens: bool = True


def executions(phase: int, tags: Sequence[str]) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given = io_pb2.ListAgentExecutionsRequest(page_size=size, page_token=token, phase=phase, tags=tags)  # type: ignore[arg-type]
        answer, following = await caller.listed(caller.query.list, given)
        return Page(entries=[of_execution(e) for e in answer.entries], next_token=following, pages=answer.total_pages)

    def expected(model: Model) -> Sequence[Execution]:
        return model.executions_where(lambda e: phase in (0, e.phase) and has(tags)(e))

    return Listing(name="executions", expected=expected, read=read, numbered=True)


def executions_of_session(session_id: str) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given = io_pb2.ListAgentExecutionsBySessionRequest(session_id=session_id, page_size=size, page_token=token)
        answer, following = await caller.listed(caller.query.listBySession, given)
        return Page(entries=[of_execution(e) for e in answer.entries], next_token=following, pages=answer.total_pages)

    return Listing(
        name="executions of a session",
        expected=lambda model: model.executions_where(lambda e: e.session_id == session_id),
        read=read,
        numbered=True,
    )


def executions_over_http(phase: int, tags: Sequence[str], agent_id: str) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given = [("page_size", size), ("page_token", token), ("agent", agent_id), *(("tag", tag) for tag in tags)]
        given.append(("view", "full"))
        body = await caller.get("/v1/executions", [*given, *([("phase", phase)] if phase else [])])
        return _of_http(body, size, [of_execution(execution_in(e)) for e in body["entries"]])

    def expected(model: Model) -> Sequence[Execution]:
        return model.executions_where(lambda e: phase in (0, e.phase) and agent_id in ("", e.agent_id) and has(tags)(e))

    return Listing(name="executions over HTTP", expected=expected, read=read)


def sessions(tags: Sequence[str]) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given = session_io.ListSessionsRequest(page_size=size, page_token=token, tags=tags)
        answer, following = await caller.listed(caller.queries["Session"].list, given)
        return Page(entries=[of_resource(s) for s in answer.entries], next_token=following, pages=answer.total_pages)

    return Listing(
        name="sessions",
        expected=lambda m: m.resources_where("Session", has(tags)),
        read=read,
        adds="create_session",
        numbered=True,
    )


def sessions_of_agent(agent_id: str) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given = session_io.ListSessionsByAgentRequest(agent_id=agent_id, page_size=size, page_token=token)
        answer, following = await caller.listed(caller.queries["Session"].listByAgent, given)
        return Page(entries=[of_resource(s) for s in answer.entries], next_token=following, pages=answer.total_pages)

    def expected(model: Model) -> Sequence[Resource]:
        instances = {i.id for i in model.resources_where("AgentInstance", lambda i: i.parent_id == agent_id)}
        return model.resources_where("Session", lambda s: s.parent_id in instances)

    return Listing(name="sessions of an agent", expected=expected, read=read, adds="create_session", numbered=True)


def instances_of_agent(agent_id: str) -> Listing:
    """The contract has numbers and a count here, no tokens."""

    async def read(caller: Caller, size: int, token: str) -> Page:
        given = instance_io.GetAgentInstancesByAgentRequest(agent_id=agent_id)
        given.page_info.num, given.page_info.size = int(token or 1), size
        answer, _ = await caller.listed(caller.queries["AgentInstance"].getByAgent, given)
        pages = -(-answer.total_count // size)
        return Page(entries=[of_resource(i) for i in answer.items], next_token="", pages=pages)

    return Listing(
        name="instances of an agent",
        expected=lambda model: model.resources_where("AgentInstance", lambda i: i.parent_id == agent_id),
        read=read,
        numbered=True,
        tokens=False,
    )


def agents_over_http(tags: Sequence[str]) -> Listing:
    async def read(caller: Caller, size: int, token: str) -> Page:
        given: list[tuple[str, Any]] = [("page_size", size), ("page_token", token), *(("tag", tag) for tag in tags)]
        given.append(("view", "full"))
        body = await caller.get("/v1/agents", given)
        return _of_http(body, size, [of_resource(resource_in(e)) for e in body["entries"]])

    return Listing(
        name="agents over HTTP",
        expected=lambda m: m.resources_where("Agent", has(tags)),
        read=read,
        adds="create_agent",
    )


def _of_http(body: dict[str, Any], size: int, entries: list[Seen]) -> Page:
    return Page(entries=entries, next_token=body["next_page_token"], pages=-(-body["total"] // size))
