"""Finds the place of an execution: its session, the session's agent, its graph.

If a session is given: session -> instance -> agent. If an agent is given: agent -> default instance (made again if it
is gone) -> a new session. Else the built-in agent of the org, so that a message alone is enough.
"""

from dataclasses import dataclass, replace

from agent_runner.app.server.access.principal import default_org, must_own
from agent_runner.app.server.executions.drafts.draft import GRAPH, Draft
from agent_runner.app.server.executions.drafts.run_config import fallback_models, priority, retry_policy
from agent_runner.app.server.problems import Kind, Problem, failed_precondition, invalid
from agent_runner.app.server.resources.resource_service import Resources
from agent_runner.clients.engine.agent_definition import DEFAULT_AGENT
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.schedules.schedule import Mark
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.logs.purge import subject_of
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.store import Store

THREAD = "agent-runner/thread"
"""The annotation of a session that clients know as a thread: each of its executions may name another agent or graph."""
BUILT_IN_NAME, BUILT_IN_SLUG = "AgentRunner", "agent-runner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    org: str
    session_id: str
    agent_id: str
    agent: str
    """Its slug."""
    graph: str
    made: Resource | None
    """The session, if it was made for this execution: it is stored with it."""
    retry: RetryPolicy
    priority: int = 0
    fallback_models: tuple[str, ...] = ()


class Placing:
    def __init__(self, store: Store, resources: Resources) -> None:
        self._store = store
        self._resources = resources

    async def place(self, draft: Draft) -> Place:
        if org := draft.execution.metadata.org:
            must_own(org)
        if session_id := draft.execution.spec.session_id:
            session, agent, known = (*draft.place, None) if draft.place else await self._found(session_id)
            if is_thread(session):
                return await self._place_in_thread(draft, session, agent, known)
            await self._check_same_agent(draft, agent)
            if known is not None and draft.graph and draft.graph != known:
                belongs = f"graph '{known}'" if known else f"agent '{agent.slug}'"
                raise invalid(
                    f"graph: the session belongs to {belongs}, not to graph '{draft.graph}'",
                    next_step="Leave the graph out, or start a new session.",
                )
            return _place(draft, agent, session, known=known or "")
        agent = await self._agent(draft)
        instance = await self._resources.default_instance(agent)
        return _place(draft, agent, self._new_session(draft, agent, instance), made=True)

    async def foreseen(self, draft: Draft) -> Place:
        """As `place`, and makes nothing; the session is empty if one would be made."""
        org = draft.execution.metadata.org or default_org()
        must_own(org)
        if session_id := draft.execution.spec.session_id:
            session, agent, known = await self._found(session_id)
            if not is_thread(session):
                return await self.place(draft)
            agent = await self._agent(draft) if draft.agent else agent
            return _place(draft, agent, session, known="" if draft.agent or draft.graph else known or "")
        if draft.agent:
            agent = await self._resources.named(ResourceKind.AGENT, org, draft.agent)
            id, slug, graph = agent.id, agent.slug, _annotated(agent)
        elif draft.default_agent or draft.graph:
            id, slug, graph = "", BUILT_IN_SLUG, ""
        else:
            raise _nowhere()
        return Place(
            org=org, session_id="", agent_id=id, agent=slug, graph=draft.graph or graph, made=None, retry=RetryPolicy()
        )

    async def _found(self, session_id: str) -> tuple[Resource, Resource, str | None]:
        """The session, its agent and its graph (see `_graph`). Raises what is missing."""
        if place := await self._store.session_place(session_id):
            session, _, agent, last = place
        else:  # one after the other, to name what is missing
            session = await self._resources.stored(ResourceKind.SESSION, session_id)
            agent = await self._agent_of(session)
            newest = await self._store.last_of_session(session.id)
            last = newest.graph if newest else None
        return session, agent, _graph(session, last)

    async def _place_in_thread(self, draft: Draft, session: Resource, agent: Resource, known: str | None) -> Place:
        if draft.agent and draft.agent not in (agent.id, agent.slug):
            agent = await self._agent(draft)
            session = await self._resources.rehome(session, agent)
        goes_on = not (draft.agent or draft.graph)
        return _place(draft, agent, session, known=(known or "") if goes_on else "")

    async def undo(self, place: Place) -> None:
        """Delete the session that was stored with an execution which was not accepted after all."""
        if place.made:
            await self._store.delete_resource(ResourceKind.SESSION, place.session_id)

    async def agent_id(self, org: str, agent: str) -> str:
        """The id of an agent given by id or slug. An id of a deleted agent stays as it is."""
        if agent.startswith("agt-"):
            return agent
        return (await self._resources.named(ResourceKind.AGENT, org or default_org(), agent)).id

    async def _agent(self, draft: Draft) -> Resource:
        org = draft.execution.metadata.org or default_org()
        if draft.agent:
            return await self._resources.named(ResourceKind.AGENT, org, draft.agent)
        if not (draft.default_agent or draft.graph):
            raise _nowhere()
        return await self.built_in(org)

    async def built_in(self, org: str) -> Resource:
        """The built-in agent of the org, which is made if it is missing."""
        found = await self._store.find_resource(ResourceKind.AGENT, org, BUILT_IN_SLUG)
        if found is not None:
            return found
        try:
            spec = {
                "description": "The built-in agent",
                "instructions": DEFAULT_AGENT.instructions,
                "sub_agents": [
                    {"name": one.name, "description": one.description, "instructions": one.instructions}
                    for one in DEFAULT_AGENT.sub_agents
                ],
            }
            new = self._resources.record(ResourceKind.AGENT, org=org, name=BUILT_IN_NAME, slug=BUILT_IN_SLUG, spec=spec)
            return await self._resources.make(new)
        except SlugTaken:  # another request made it in between
            return await self._resources.named(ResourceKind.AGENT, org, BUILT_IN_SLUG)

    async def _agent_of(self, session: Resource) -> Resource:
        try:
            instance = await self._resources.stored(ResourceKind.AGENT_INSTANCE, session.parent_id)
            return await self._resources.stored(ResourceKind.AGENT, instance.parent_id)
        except Problem as problem:
            if problem.kind is not Kind.NOT_FOUND:
                raise
            raise failed_precondition(
                f"session '{session.id}' cannot go on: {problem.detail}", next_step="Start a new session."
            ) from None

    async def _check_same_agent(self, draft: Draft, agent: Resource) -> None:
        if draft.agent and draft.agent not in (agent.id, agent.slug):
            raise invalid(
                f"spec.agent_id: the session belongs to agent '{agent.id}' ({agent.slug}), not to '{draft.agent}'",
                next_step="Leave the agent out, or name another session.",
            )

    def _new_session(self, draft: Draft, agent: Resource, instance: Resource) -> Resource:
        subject = subject_of(draft.execution.spec.message)
        org = agent.org or draft.execution.metadata.org or default_org()
        spec = {"agent_instance_id": instance.id, "subject": subject}
        graph = {GRAPH: draft.graph} if draft.graph else {}
        return self._resources.record(ResourceKind.SESSION, org=org, spec=spec, annotations=graph)


def is_thread(session: Resource) -> bool:
    return THREAD in session.body.get("metadata", {}).get("annotations", {})


def _graph(session: Resource, last: str | None) -> str | None:
    """The graph whose memory the session holds; '' for the agent's own memory; None before the first execution."""
    made_for = session.body.get("metadata", {}).get("annotations", {}).get(GRAPH)
    return str(made_for) if made_for else last


def _place(draft: Draft, agent: Resource, session: Resource, *, made: bool = False, known: str = "") -> Place:
    agents = agent.body.get("metadata", {}).get("annotations", {})
    return Place(
        org=session.org or draft.execution.metadata.org or default_org(),
        session_id=session.id,
        agent_id=agent.id,
        agent=agent.slug,
        graph=draft.graph or known or _annotated(agent),
        made=session if made else None,
        retry=retry_policy(agents, draft.execution.metadata.annotations),
        priority=priority(agents, draft.execution.metadata.annotations),
        fallback_models=fallback_models(agents, draft.execution.metadata.annotations),
    )


def _annotated(agent: Resource) -> str:
    return str(agent.body.get("metadata", {}).get("annotations", {}).get(GRAPH, ""))


def _nowhere() -> Problem:
    return invalid("spec: session_id or agent_id is required", next_step="Name a session or an agent.")


def mark_of(draft: Draft, place: Place) -> Mark | None:
    """The firing of a schedule that the execution is. It names the session if that is the schedule's from now on."""
    if draft.fired is None or not (place.made and draft.shares_session):
        return draft.fired
    return replace(draft.fired, session_id=place.session_id)
