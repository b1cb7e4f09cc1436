"""Repairs the state that a run left in memory when it ended in the middle, before the next message goes in.

The writes of finished tasks are kept (LangGraph holds them beside the checkpoint and drops them when a new input
comes). Every open tool call gets a result that says what happened: models refuse a history with a call that has no
result. No node and no edge runs for that: the results are written as if the open step had written them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import END
from langgraph.types import Overwrite, PregelTask, StateSnapshot

from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.memory.tool_results import recorded
from agent_runner.clients.engine.standing import shows_inner_states
from agent_runner.clients.engine.user_graphs.user_graphs import Graph

NULL_TASK = "00000000-0000-0000-0000-000000000000"
"""Writes of this task count as input of the step that comes next, whichever that is."""
UNFINISHED = "it was still open when the run ended"
EFFECTS = "It may have had effects: look before you make it again."
_SEND = "__pregel_push"


async def make_whole(graph: Graph, run: CurrentRun, config: RunnableConfig, given: Any = None) -> RunnableConfig:
    """Repair the state at `config`. Returns the config for the next input: `config` itself, or that of a checkpoint
    made after it. `given`: that input; tool results in it count. Only for a head that waits for nobody."""
    saver = graph.checkpointer
    if not isinstance(saver, BaseCheckpointSaver):
        return config
    config = {**config, "configurable": {"checkpoint_ns": "", **config["configurable"]}}
    found = await graph.aget_state(config, subgraphs=shows_inner_states(graph))
    if not found.config.get("configurable", {}).get("checkpoint_id") or not found.values:
        return config
    results = await _recorded(saver, found)
    at, state = config, found
    if any(_finished(task) for task in found.tasks):
        at = await graph.aupdate_state(config, None, as_node=END)
        state = await graph.aget_state(at)
    writes: list[tuple[str, Any]] = []
    answered = {m.tool_call_id for m in _messages(given) if isinstance(m, ToolMessage)}
    for name, value in _conversations(state.values):
        inner = [m for task in found.tasks if not _finished(task) for m in _inner(task, name, value)]
        whole = closed([*value, *inner], _Reasons(run, found.tasks, results), answered)
        if whole[: len(value)] == value:
            if added := whole[len(value) :]:
                writes.append((name, added))
        else:
            writes.append((name, Overwrite(whole)))
    if not writes:
        return at
    await saver.aput_writes({"configurable": state.config["configurable"]}, writes, NULL_TASK)
    return await graph.aupdate_state(at, None, as_node=END)


def closed(messages: Sequence[BaseMessage], reasons: "_Reasons", answered: Iterable[str] = ()) -> list[BaseMessage]:
    """The conversation with exactly one result for each tool call, right after the call's message. A missing result is
    not added for a call that is `answered` elsewhere.

    Existing results stay the same messages. A second result for the same call is removed."""
    answered = set(answered)
    results: dict[str, ToolMessage] = {}
    for message in messages:
        if isinstance(message, ToolMessage):
            results.setdefault(message.tool_call_id, message)
    whole: list[BaseMessage] = []
    told: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in told and not _is_call(message.tool_call_id, messages):
                whole.append(message)
            continue
        whole.append(message)
        if not isinstance(message, AIMessage):
            continue
        ids = [call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls) if call["id"]]
        mine = [id for id in ids if id not in told]
        # Results in the order in which they came in, then the missing ones.
        there = [m for m in results.values() if m.tool_call_id in mine]
        missing = [id for id in mine if id not in results and id not in answered]
        whole += [*there, *(reasons.result(message, id) for id in missing)]
        told.update(mine)
    return whole


class _Reasons:
    """Makes the result of a call that has none: the saved one, or an error that says why there is none."""

    def __init__(self, run: CurrentRun, tasks: Sequence[PregelTask], results: Mapping[str, ToolMessage]) -> None:
        self._run, self._results = run, results
        self._sent = [task for task in tasks if task.path and task.path[0] == _SEND]
        self._failed = [task for task in tasks if task.error is not None and "CancelledError" not in str(task.error)]

    def result(self, said: AIMessage, id: str) -> ToolMessage:
        if (kept := self._results.get(id)) is not None:
            return kept
        calls: list[Any] = [*said.tool_calls, *said.invalid_tool_calls]
        index = next(n for n, call in enumerate(calls) if call["id"] == id)
        text = self._run.mask(f"Error: this call has no result: {self._why(index, len(calls))}. {EFFECTS}")
        return ToolMessage(content=text, name=calls[index].get("name") or "unknown", tool_call_id=id, status="error")

    def _why(self, index: int, calls: int) -> str:
        why = self._run.broken_off or UNFINISHED
        # There is one task for each call, in the order of the calls, or one task for all of them.
        if len(self._sent) == calls:
            failed = self._sent[index] if self._sent[index] in self._failed else None
        else:
            failed = self._failed[0] if self._failed else None
        if failed is None:
            return why
        return f"it failed, or another one beside it, and that ended the run ({failed.error})"


def _finished(task: PregelTask) -> bool:
    return task.result is not None and task.error is None and not task.interrupts


def _conversations(values: Any) -> Iterator[tuple[str, list[BaseMessage]]]:
    """The fields of a state that hold messages, by name."""
    if not isinstance(values, Mapping):
        values = dict(vars(values)) if hasattr(values, "__dict__") else {}
    for name, value in values.items():
        if isinstance(value, list) and value and all(isinstance(one, BaseMessage) for one in value):
            yield name, value


def _inner(task: PregelTask, name: str, known: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages that a sub-graph had added to the conversation that it shares with its parent."""
    if not isinstance(task.state, StateSnapshot):
        return []
    said = [*_messages(task.state.values, name)]
    for inside in task.state.tasks:
        said += [*_messages(inside.result, name)] if _finished(inside) else _inner(inside, name, said)
    ids = {message.id for message in known}
    if not ids <= {message.id for message in said}:
        return []
    fresh: dict[str | None, BaseMessage] = {}
    for message in said:
        if message.id not in ids:
            fresh.setdefault(message.id, message)
    return list(fresh.values())


def _messages(value: Any, name: str = "messages") -> list[BaseMessage]:
    found = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, BaseMessage)]


def _is_call(id: str, messages: Sequence[BaseMessage]) -> bool:
    return any(
        call["id"] == id
        for message in messages
        if isinstance(message, AIMessage)
        for call in (*message.tool_calls, *message.invalid_tool_calls)
    )


async def _recorded(saver: BaseCheckpointSaver[Any], state: StateSnapshot) -> dict[str, ToolMessage]:
    found = await recorded(saver, state.config)
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot):
            found |= await _recorded(saver, task.state)
    return found
