"""Assistants: every graph and every agent has a default one, and clients make more with configurations of their own.

The id of a default assistant is made from the graph's name, as LangGraph's server does: clients know it without asking.
What a client changes of a default assistant is its org's; deleting it brings the default back.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_runner.app.server.access.principal import default_org
from agent_runner.app.server.agent_server.refusals import absent, taken, unprocessable
from agent_runner.app.server.agent_server.uuids import is_uuid, known_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.placement import BUILT_IN_SLUG
from agent_runner.clients.settings.server_of_graphs import read_graphs_file
from agent_runner.status.store.errors import SlugTaken
from agent_runner.status.store.lists.queries import ResourceQuery, View
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.registry.assistants import Assistant, AssistantQuery

NAMESPACE = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
BY_THE_SYSTEM = {"created_by": "system"}
MOST_AGENTS = 500
FOUND_AGAIN_S = 2.0
"""Names of agents are read from the store at most this often."""


def default_id(graph: str) -> str:
    return str(uuid.uuid5(NAMESPACE, graph))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a run of an assistant executes: a graph of langgraph.json, or an agent by its slug."""

    graph: str = ""
    agent: str = ""


class GraphFile:
    """The names in the server's `langgraph.json`; nothing of it is imported. Read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = -1
        self._names: tuple[str, ...] = ()
        self.since = time.time()

    def names(self) -> tuple[str, ...]:
        try:
            changed = self._path.stat().st_mtime_ns
            if changed != self._changed:
                graphs = read_graphs_file(self._path).get("graphs")
                self._names = tuple(sorted(map(str, graphs))) if isinstance(graphs, dict) else ()
                self._changed, self.since = changed, changed / 1e9
        except (OSError, ValueError):
            self._names, self._changed = (), -1
        return self._names


class AssistantService:
    """`ctx`: its store shows what the caller may see."""

    def __init__(self, ctx: ServerContext) -> None:
        self._ctx = ctx
        self._file = GraphFile(ctx.settings.graphs)
        self._agents: dict[str, tuple[float, dict[str, float]]] = {}

    async def graphs(self) -> dict[str, float]:
        """The names of graphs and agents that the caller may run, each with the time since it is there."""
        org, now = default_org(), time.monotonic()
        read_at, agents = self._agents.get(org, (0.0, {}))
        if not read_at or now - read_at > FOUND_AGAIN_S:
            query = ResourceQuery(kind=ResourceKind.AGENT, page_size=MOST_AGENTS, view=View.BRIEF)
            page = await self._ctx.store.list_resources(query)
            agents = {one.slug: one.created_at for one in page.resources}
            if len(self._agents) > 1000:
                self._agents.clear()
            self._agents[org] = now, agents
        made = dict.fromkeys(self._file.names(), self._file.since)
        return {BUILT_IN_SLUG: self._file.since, **agents, **made}

    async def target(self, assistant: Assistant) -> Target:
        """Raises NOT_FOUND if its graph is gone."""
        return await self.target_of_graph(assistant.graph)

    async def target_of_graph(self, name: str) -> Target:
        """Raises NOT_FOUND for a name that is not known."""
        if name in self._file.names():
            return Target(graph=name)
        if name in await self.graphs():
            return Target(agent=name)
        raise absent("Graph", name)

    async def resolve(self, given: str) -> Assistant:
        """The assistant of a run: by its id, or the default one of a graph by the graph's name. Raises NOT_FOUND for an
        id, UNPROCESSABLE for a name that is not known."""
        if is_uuid(given):
            return await self.get(given)
        if given not in await self.graphs():
            names = ", ".join(sorted(await self.graphs()))
            raise unprocessable(
                f"Invalid assistant: '{given[:80]}'. Must be a UUID, or the name of a graph: {names}",
                next_step="Name one of these, or an assistant's id.",
            )
        return await self.get(default_id(given))

    async def get(self, id: str) -> Assistant:
        """The latest version. Raises NOT_FOUND, or UNPROCESSABLE for what is no UUID."""
        id = known_uuid(id, "assistant_id")
        found = await self._ctx.store.find_assistant(id, default_org())
        if found is not None:
            return found
        for name, since in (await self.graphs()).items():
            if default_id(name) == id:
                return _default(name, since)
        raise absent("Assistant", id)

    async def create(self, new: Assistant, *, or_existing: bool) -> Assistant:
        await self._must_have(new.graph)
        try:
            if await self._is_default(new.id):
                raise SlugTaken(new.id)
            return await self._ctx.store.put_assistant(new, first=True)
        except SlugTaken:
            if not or_existing:
                raise taken("Assistant", new.id) from None
            return await self.get(new.id)

    async def change(self, id: str, change: Callable[[Assistant], Assistant]) -> Assistant:
        """A new version of it. `change` gives the fields of the next version from those of the present one."""
        now = await self.get(id)
        new = change(now)
        if new.graph != now.graph:
            await self._must_have(new.graph)
        if not await self._ctx.store.assistant_versions(now.org, now.id):
            now = await self._ctx.store.put_assistant(replace(now, version=0), first=True)
        return await self._ctx.store.put_assistant(new, first=False)

    async def delete(self, id: str) -> Assistant:
        found = await self.get(id)
        await self._ctx.store.delete_assistant(found)
        return found

    async def versions(self, id: str) -> list[Assistant]:
        """Newest first."""
        now = await self.get(id)
        return await self._ctx.store.assistant_versions(now.org, now.id) or [now]

    async def set_latest(self, id: str, version: int) -> Assistant:
        now = await self.get(id)
        if version == now.version:
            return now
        if not await self._ctx.store.latest_assistant(replace(now, version=version)):
            raise absent("Version", f"{version} of assistant {now.id}")
        return await self.get(id)

    async def search(self, *, graph: str, name: str, metadata: Mapping[str, Any]) -> list[Assistant]:
        """All that match, in no order. Raises NOT_FOUND for a graph that is not known."""
        if graph:
            await self._must_have(graph)
        kept = await self._ctx.store.search_assistants(AssistantQuery(graph=graph))
        known = {one.id for one in kept if one.org in (default_org(), "")}
        for named, since in (await self.graphs()).items():
            if (not graph or named == graph) and default_id(named) not in known:
                kept.append(_default(named, since))
        wanted = name.casefold()
        return [one for one in kept if wanted in one.name.casefold() and is_within(metadata, one.metadata)]

    async def _must_have(self, graph: str) -> None:
        if graph not in await self.graphs():
            raise absent("Graph", graph)

    async def _is_default(self, id: str) -> bool:
        return any(default_id(name) == id for name in await self.graphs())


def is_within(wanted: Any, held: Any) -> bool:
    """Whether `held` contains `wanted`: objects key by key, lists by their entries, everything else must be equal."""
    if isinstance(wanted, Mapping):
        return isinstance(held, Mapping) and all(k in held and is_within(v, held[k]) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(held, list) and all(any(is_within(one, each) for each in held) for one in wanted)
    return type(wanted) is type(held) and bool(wanted == held)


def _default(graph: str, since: float) -> Assistant:
    return Assistant(
        org=default_org(),
        id=default_id(graph),
        graph=graph,
        name=graph,
        metadata=BY_THE_SYSTEM,
        version=1,
        first_made_at=since,
        created_at=since,
    )
