"""States of a thread. The state at the head is kept in the thread's row once a worker has told it; everything else is
asked of a worker each time."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agent_runner.app.server.agent_server.assistants.assistant_service import AssistantService, default_id
from agent_runner.app.server.agent_server.queries.graph_questions import GraphQuestions
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.agent_server.threads.thread_service import ThreadService
from agent_runner.app.server.agent_server.uuids import is_uuid, run_uuid, thread_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.placement import BUILT_IN_SLUG
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.store.records import ResourceKind
from agent_runner.status.store.registry.threads import Thread, ThreadQuery, ThreadState, ThreadStatus

Json = dict[str, Any]
MOST_LEARNT = 200
"""States that one search by values asks for at most."""
AT_ONCE = 8
"""Workers that one search asks at the same time."""
EMPTY: Json = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}

NOTHING_STORED: Json = {
    "total_bytes": 0,
    "checkpoints": {"count": 0, "bytes": 0},
    "channel_values": {"count": 0, "bytes": 0, "by_channel": {}},
    "pending_writes": {"count": 0, "bytes": 0},
}


class ThreadStates:
    def __init__(self, ctx: ServerContext, questions: GraphQuestions, assistants: AssistantService) -> None:
        self._ctx = ctx
        self._questions = questions
        self._assistants = assistants

    async def current(self, thread: Thread, *, subgraphs: bool = False) -> Json:
        """The state at the head. Raises UNAVAILABLE if it is not kept here and no worker answers."""
        if not thread.head_checkpoint_id:
            return dict(EMPTY)
        if not subgraphs and (known := thread.known_state) is not None and thread.status is not ThreadStatus.BUSY:
            return known
        state = self._completed(await self._ask("state", thread, {"subgraphs": subgraphs}), thread)
        if not subgraphs and thread.status is not ThreadStatus.BUSY:
            await self._keep(thread, state)
        return state

    async def at(self, thread: Thread, checkpoint: Mapping[str, Any], *, subgraphs: bool) -> Json:
        """The state at a checkpoint; an empty one if it does not exist."""
        id, namespace = str(checkpoint.get("checkpoint_id") or ""), str(checkpoint.get("checkpoint_ns") or "")
        if not id and not namespace:
            return await self.current(thread, subgraphs=subgraphs)
        if not thread.memory_id:
            return {**EMPTY, "checkpoint": {"checkpoint_id": id, "thread_id": thread_uuid(thread.session_id)}}
        asked = {"checkpoint_id": id, "checkpoint_ns": namespace, "subgraphs": subgraphs}
        return self._completed(await self._ask("state", thread, asked), thread)

    async def history(self, thread: Thread, asked: Mapping[str, Any]) -> list[Json]:
        """Newest first."""
        if not thread.head_checkpoint_id:
            return []
        found = await self._ask("history", thread, asked)
        return [self._completed(state, thread) for state in found]

    async def storage(self, thread: Thread) -> Json:
        """How much its memory takes. Raises UNAVAILABLE, and INVALID_ARGUMENT for a graph with a memory of its own."""
        told = await self._ask("storage", thread, {}) if thread.memory_id else NOTHING_STORED
        return {"thread_id": thread_uuid(thread.session_id), **told}

    async def known(self, threads: Iterable[Thread]) -> dict[str, Json | None]:
        """The states of these threads at their heads, by session id. None for a thread without one, and for one that no
        worker has told: a list is shown all the same."""
        room = asyncio.Semaphore(AT_ONCE)
        given_up = False

        async def one(thread: Thread) -> Json | None:
            nonlocal given_up
            if not thread.head_checkpoint_id or thread.known_state is not None:
                return thread.known_state
            async with room:
                if given_up:
                    return thread.state
                try:
                    return await self.current(thread)
                except Problem as problem:
                    given_up = given_up or problem.kind is Kind.UNAVAILABLE
                    return thread.state

        listed = list(threads)
        states = await asyncio.gather(*map(one, listed))
        return {thread.session_id: state for thread, state in zip(listed, states, strict=True)}

    async def learn(self, threads: ThreadService, query: ThreadQuery) -> None:
        """Before a search by values: have the states told that are not known yet, of the threads that changed last."""
        untold = replace(
            query, values={}, untold=True, limit=MOST_LEARNT, offset=0, sort_by="updated_at", ascending=False
        )
        found = await threads.found(untold)
        await self.known(one for one in found if one.status is not ThreadStatus.BUSY)

    async def failure(self, thread: Thread) -> Json | None:
        """`{error, message}` of the run that left the thread in `error`."""
        if thread.status is not ThreadStatus.ERROR:
            return None
        execution = await self._ctx.store.get(thread.last_execution_id)
        told = (await run_end(self._ctx, execution)).error if execution else None
        return {name: told[name] for name in ("error", "message")} if told else None

    async def update(self, thread: Thread, asked: Mapping[str, Any]) -> Json:
        """Write a state. It becomes the thread's newest. Raises FAILED_PRECONDITION while a run is open, and
        INVALID_ARGUMENT for a thread without a graph, and for values and nodes that the graph refuses."""
        if thread.status is ThreadStatus.BUSY:
            raise _busy(thread)
        memory_id = thread.memory_id or f"thread-{thread.session_id}"
        written = await self._ask("update", thread, {**asked, "graph_id": graph_of(thread)}, memory_id=memory_id)
        state = self._completed(written["state"], thread)
        told = ThreadState(
            session_id=thread.session_id,
            checkpoint_id=written["head"],
            state=state,
            stopped=bool(state["next"]),
            memory_id=memory_id,
        )
        if not await self._ctx.store.keep_state(told, thread.org, moves_from=thread.head_checkpoint_id):
            raise _busy(thread)
        place: Json = written["checkpoint"] or state["checkpoint"]
        return place

    async def copy(self, thread: Thread, copied: Thread) -> None:
        """Give `copied`, a new thread, the memory of `thread`."""
        if not thread.head_checkpoint_id:
            return
        memory_id = f"thread-{copied.session_id}"
        await self._ask("copy", thread, {"to": memory_id})
        state = await self.current(thread)
        mine = thread_uuid(copied.session_id)
        told = ThreadState(
            session_id=copied.session_id,
            checkpoint_id=thread.head_checkpoint_id,
            state=_renamed(state, thread_uuid(thread.session_id), mine),
            stopped=bool(state["next"]),
            memory_id=memory_id,
        )
        await self._ctx.store.keep_state(told, copied.org, moves_from="")

    async def _keep(self, thread: Thread, state: Json) -> None:
        told = ThreadState(
            session_id=thread.session_id,
            checkpoint_id=thread.head_checkpoint_id,
            state=state,
            stopped=bool(state["next"]),
        )
        await self._ctx.store.keep_state(told, thread.org)

    async def _ask(self, kind: str, thread: Thread, asked: Mapping[str, Any], *, memory_id: str = "") -> Any:
        graph, agent_id = await self._target(thread)
        return await self._questions.ask(
            kind,
            {**asked, "thread_id": thread_uuid(thread.session_id)},
            org=thread.org,
            graph=graph,
            agent_id=agent_id,
            memory_id=memory_id or thread.memory_id,
            head=thread.head_checkpoint_id,
        )

    async def _target(self, thread: Thread) -> tuple[str, str]:
        """(graph of langgraph.json, id of the agent): of the newest execution, else of the metadata."""
        if thread.graph or thread.agent_id:
            return thread.graph, thread.agent_id
        name = graph_of(thread)
        if not name:
            raise Problem(
                Kind.INVALID_ARGUMENT,
                f"Thread '{thread_uuid(thread.session_id)}' has no graph yet: no run was made on it",
                next_step="Make a run, or set the thread's metadata `graph_id` first.",
            )
        target = await self._assistants.target_of_graph(name)
        if target.graph:
            return target.graph, ""
        found = await self._ctx.store.find_resource(ResourceKind.AGENT, thread.org, target.agent)
        return "", found.id if found else ""

    def _completed(self, state: Json, thread: Thread) -> Json:
        """With the ids that clients know, also in the states of sub-graphs."""
        metadata = state.get("metadata")
        if isinstance(metadata, dict):
            if (execution := metadata.get("execution_id")) and not metadata.get("run_id"):
                metadata["run_id"] = run_uuid(str(execution))
            graph = str(metadata.get("graph_id") or "") or graph_of(thread)
            metadata["graph_id"] = graph
            if not is_uuid(str(metadata.get("assistant_id") or "")) and state_of_a_run(metadata):
                metadata["assistant_id"] = default_id(graph)
        for task in state.get("tasks") or ():
            if isinstance(task.get("state"), dict):
                self._completed(task["state"], thread)
        return state


def state_of_a_run(metadata: Mapping[str, Any]) -> bool:
    return metadata.get("source") != "update"


def graph_of(thread: Thread) -> str:
    """What clients know as the graph of the thread."""
    named = str(thread.metadata.get("graph_id") or "")
    return named or thread.graph or (BUILT_IN_SLUG if thread.agent_id else "")


def _busy(thread: Thread) -> Problem:
    return Problem(
        Kind.FAILED_PRECONDITION,
        f"Thread '{thread_uuid(thread.session_id)}' is busy: a run of it is open, or another change came first",
        next_step="Wait until the thread is idle, or cancel its runs, and send it again.",
    )


def _renamed(state: Any, old: str, new: str) -> Any:
    if isinstance(state, dict):
        return {k: new if k == "thread_id" and v == old else _renamed(v, old, new) for k, v in state.items()}
    return [_renamed(one, old, new) for one in state] if isinstance(state, list) else state
