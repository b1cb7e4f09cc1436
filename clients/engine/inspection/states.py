"""States of a graph's memory in the form of the Agent Server API: one, several back in time, and a changed one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import EmptyInputError, InvalidUpdateError
from langgraph.types import Command, Interrupt, PregelTask, StateSnapshot, StateUpdate

from agent_runner.clients.engine.memory.untold_steps import NO_CHECKPOINT
from agent_runner.clients.engine.standing import standing_at
from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.clients.engine.user_graphs.user_graphs import Graph

Json = dict[str, Any]
HIDDEN = frozenset({"org", "caller", "attempt", "langgraph_auth_user", "langgraph_auth_user_id"})
"""Facts of a run in a checkpoint's metadata that are nobody's business outside."""
PLACE = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
MOST_STATES = 1000


class QueryRefused(Exception):
    """The question cannot be answered as it was asked. `kind`: invalid, missing or failed."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`thread_id`: in the memory. `head`: the checkpoint that counts as the latest. `shown_id`: the thread's id for
    clients."""

    thread_id: str
    head: str
    shown_id: str

    def config(self, checkpoint_id: str = "", namespace: str = "") -> RunnableConfig:
        given = {"thread_id": self.thread_id, "checkpoint_ns": namespace}
        return {"configurable": given | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


async def state_of(graph: Graph, place: Place, asked: Mapping[str, Any]) -> Json:
    """The state at `checkpoint_id` (and `checkpoint_ns`), else at the head; with `subgraphs` theirs too."""
    inner = bool(asked.get("subgraphs"))
    id, namespace = str(asked.get("checkpoint_id") or ""), str(asked.get("checkpoint_ns") or "")
    try:
        if id or namespace:
            snapshot = await standing_at(graph, place.config(id, namespace), subgraphs=inner)
        else:
            snapshot = await _at_head(graph, place, inner=inner)
    except ValueError as error:  # LangGraph's words for a namespace that the graph has not got
        raise QueryRefused("invalid", str(error)) from error
    shown = state_json(snapshot, place)
    if id and snapshot.metadata is None:
        shown["checkpoint"] = {"checkpoint_id": id, "thread_id": place.shown_id, "checkpoint_ns": namespace}
    return shown


async def _at_head(graph: Graph, place: Place, *, inner: bool) -> StateSnapshot:
    # Without a checkpoint id LangGraph gives the current state, with what finished branches of an open step have said.
    latest = await standing_at(graph, place.config(), subgraphs=inner)
    if not place.head or _id_of(latest.config) == place.head:
        return latest
    return await standing_at(graph, place.config(place.head), subgraphs=inner)


async def history_of(graph: Graph, place: Place, asked: Mapping[str, Any]) -> list[Json]:
    """Newest first: `limit` states, before the checkpoint `before`, with this `metadata`, of this `checkpoint_ns`."""
    before = str(asked.get("before") or "")
    found = graph.aget_state_history(
        place.config(str(asked.get("checkpoint_id") or ""), str(asked.get("checkpoint_ns") or "")),
        filter=dict(asked.get("metadata") or {}) or None,
        before={"configurable": {"checkpoint_id": before}} if before else None,
        limit=min(int(asked.get("limit") or 1), MOST_STATES),
    )
    try:
        return [state_json(snapshot, place) async for snapshot in found]
    except ValueError as error:
        raise QueryRefused("invalid", str(error)) from error


async def update_state(graph: Graph, place: Place, asked: Mapping[str, Any]) -> Json:
    """`{checkpoint, state}` after `values` were written as the node `as_node`, or `supersteps` one after the other."""
    start = str(asked.get("checkpoint_id") or "")
    if not start and place.head:
        latest = await graph.aget_state(place.config())
        start = "" if _id_of(latest.config) == place.head else place.head
    elif not start:
        start = NO_CHECKPOINT if _id_of((await graph.aget_state(place.config())).config) else ""
    config = place.config(start, str(asked.get("checkpoint_ns") or ""))
    config["metadata"] = {"graph_id": str(asked.get("graph_id") or "")}
    steps = asked.get("supersteps") or [[{"values": asked.get("values"), "as_node": asked.get("as_node")}]]
    updates = [[StateUpdate(_written(one), one.get("as_node")) for one in step] for step in steps]
    try:
        written = await graph.abulk_update_state(config, updates)
    except (InvalidUpdateError, EmptyInputError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise QueryRefused("invalid", f"{error}" or type(error).__name__) from error
    made = _id_of(written)
    snapshot = await graph.aget_state(place.config(made), subgraphs=False)
    if str(asked.get("checkpoint_ns") or ""):
        root = await graph.aget_state(place.config())
        made, snapshot = _id_of(root.config), root
    return {
        "checkpoint": _place_json(written, place),
        "head": made,
        "state": state_json(snapshot, place),
    }


def _written(update: Mapping[str, Any]) -> Any:
    command = update.get("command")
    if not isinstance(command, Mapping):
        return update.get("values")
    return Command(update=command.get("update"), resume=command.get("resume"), goto=command.get("goto") or ())


def state_json(snapshot: StateSnapshot, place: Place) -> Json:
    known = snapshot.metadata is not None
    checkpoint = _place_json(snapshot.config, place) if known else None
    parent = _place_json(snapshot.parent_config, place) if known else None
    return {
        "values": plain_part(snapshot.values) if known else {},
        "next": list(snapshot.next),
        "tasks": [_task(task, place) for task in snapshot.tasks],
        "metadata": _metadata(snapshot.metadata, place) if known else None,
        "created_at": snapshot.created_at if known else None,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [_interrupt(one) for one in snapshot.interrupts],
        "checkpoint_id": checkpoint["checkpoint_id"] if checkpoint else None,
        "parent_checkpoint_id": parent["checkpoint_id"] if parent else None,
    }


def _task(task: PregelTask, place: Place) -> Json:
    inner = task.state
    configured = None if inner is None or isinstance(inner, StateSnapshot) else inner.get("configurable", {})
    return {
        "id": task.id,
        "name": task.name,
        "path": plain_part(task.path),
        "error": _error(task.error),
        "interrupts": [_interrupt(one) for one in task.interrupts],
        "checkpoint": None
        if configured is None
        else {"thread_id": place.shown_id, "checkpoint_ns": configured.get("checkpoint_ns", "")},
        "state": state_json(inner, place) if isinstance(inner, StateSnapshot) else None,
        "result": plain_part(task.result),
    }


def _error(error: object) -> str | None:
    return None if error is None else error if isinstance(error, str) else repr(error)


def _interrupt(one: Interrupt) -> Json:
    return {"id": one.id, "value": plain_part(one.value)}


def _metadata(given: Any, place: Place) -> Json:
    shown = {name: value for name, value in plain_part(dict(given or {})).items() if name not in HIDDEN}
    return shown | {"thread_id": place.shown_id}


def _place_json(config: RunnableConfig | None, place: Place) -> Json | None:
    given = (config or {}).get("configurable") or {}
    if given.get("checkpoint_id") in (None, "", NO_CHECKPOINT):
        return None
    shown = {name: given[name] for name in PLACE if name in given}
    return {**shown, "thread_id": place.shown_id, "checkpoint_ns": given.get("checkpoint_ns", "")}


def _id_of(config: RunnableConfig | None) -> str:
    return str(((config or {}).get("configurable") or {}).get("checkpoint_id") or "")


async def copy_thread(saver: BaseCheckpointSaver[Any], place: Place, asked: Mapping[str, Any]) -> Json:
    """Copies every checkpoint with its writes into the memory of another thread, oldest first."""
    copied = 0
    found = [one async for one in saver.alist({"configurable": {"thread_id": place.thread_id}})]
    for one in reversed(found):
        at = one.config["configurable"]
        parent = ((one.parent_config or {}).get("configurable") or {}).get("checkpoint_id")
        config: RunnableConfig = {
            "configurable": {
                "thread_id": str(asked["to"]),
                "checkpoint_ns": at.get("checkpoint_ns", ""),
                **({"checkpoint_id": parent} if parent else {}),
            }
        }
        metadata: Any = {**one.metadata, **({"thread_id": str(asked["to"])} if "thread_id" in one.metadata else {})}
        written = await saver.aput(config, one.checkpoint, metadata, dict(one.checkpoint["channel_versions"]))
        by_task: dict[str, list[tuple[str, Any]]] = {}
        for task_id, channel, value in one.pending_writes or ():
            by_task.setdefault(task_id, []).append((channel, value))
        for task_id, writes in by_task.items():
            await saver.aput_writes(written, writes, task_id)
        copied += 1
    return {"copied": copied}
