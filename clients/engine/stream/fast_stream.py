"""Translates a run of a graph into our own events, from LangGraph's `astream`: half the cost per token of
`astream_events`.

It gives the same status (a test compares both), from `messages` (tokens), `tasks` (nodes with their input and result)
and `updates` (interrupts). It cannot see which of several calls in *one* tool node a sub-agent belongs to (agents of
LangChain run each call in a node of its own), and when a model was asked before its first token.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.errors import GraphBubbleUp

from agent_runner.clients.engine.final_state import final_output, output_fields
from agent_runner.clients.engine.questions import question_of
from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.engine.stream.call_ids import Calls, Offer, offers_in
from agent_runner.clients.engine.stream.conversation import Conversation, place_of
from agent_runner.clients.engine.stream.custom_events import Dispatched, DispatchedEvent
from agent_runner.clients.engine.stream.event_stream import HIDDEN_TAGS
from agent_runner.clients.engine.stream.known_messages import KnownMessages, finished
from agent_runner.clients.engine.user_graphs.run_context import RECURSION_LIMIT
from agent_runner.status.log import events
from agent_runner.status.log.events import Event
from agent_runner.status.log.tool_names import TODO_TOOL


async def run_events(graph: Any, graph_input: Any, config: Mapping[str, Any], **options: Any) -> AsyncIterator[Event]:
    """Like `agent_runner.clients.engine.stream.event_stream.run_events`."""
    story = FastEvents(output_fields(graph), graph_input)
    callbacks = [*(config.get("callbacks") or ()), Dispatched()]
    config = {"recursion_limit": RECURSION_LIMIT, **config, "callbacks": callbacks}
    modes = ["messages", "tasks", "updates", "values", "custom"]
    stream = graph.astream(graph_input, config, stream_mode=modes, subgraphs=True, version="v2", **options)
    async with aclosing(stream) as parts:
        async for part in parts:
            for event in story.feed(part):
                yield event
    for event in story.end():
        yield event


@dataclass(slots=True, kw_only=True)
class _Task:
    """A running node. `calls`: the tool calls in its input by the model's id: (the offer, the id in the status)."""

    scope: str
    namespace: tuple[str, ...]
    name: str
    calls: dict[str, tuple[Offer, str]] = field(default_factory=dict)
    open: dict[str, "_Message"] = field(default_factory=dict)
    """The messages that the node is streaming, by the id of their chunks."""


@dataclass(slots=True, kw_only=True)
class _Message:
    id: str
    chunks: list[AIMessageChunk] = field(default_factory=list)


class FastEvents:
    """Translates the parts of one run's `astream(version="v2")`, one at a time."""

    def __init__(self, fields: Sequence[str] | None = None, graph_input: Any = None) -> None:
        self._tasks: dict[str, _Task] = {}
        self._paths: dict[str, str] = {}
        """The scope inside of a tool's task, by the task's id."""
        self._calls = Calls()
        self._known = KnownMessages()
        self._conversation = Conversation(self._calls, self._known, graph_input)
        self._fields = fields
        self._first: Any = None
        self._values: Any = None
        self._interrupted = False

    def feed(self, part: Mapping[str, Any]) -> Iterator[Event]:
        namespace, data = part["ns"], part["data"]
        match part["type"]:
            case "messages":
                yield from self._chunk(*data)
            case "tasks" if "input" in data:
                yield from self._task_start(namespace, data)
            case "tasks":
                yield from self._task_end(namespace, data)
            case "updates" if not namespace:
                yield from self._update(data)
            case "custom":
                yield self._custom(namespace, data)
            case "values" if not namespace:
                self._first, self._values = data if self._first is None else self._first, data
                yield from self._conversation.state(data)

    def _custom(self, namespace: tuple[str, ...], data: Any) -> Event:
        """Our event for data of a stream writer. The node is named if it is the only one running in its graph."""
        scope = self._scope(namespace)
        if isinstance(data, DispatchedEvent):
            return events.CustomData(scope=scope, name=data.name, data=data.data, node=data.node)
        running = {task.name for task in self._tasks.values() if task.namespace == tuple(namespace)}
        return events.CustomData(scope=scope, data=data, node=running.pop() if len(running) == 1 else "")

    def end(self) -> Iterator[Event]:
        """The events to report when the graph has ended."""
        if self._interrupted:
            for task in self._tasks.values():
                yield from self._calls_left(
                    task, {"interrupts": True}
                )  # ended before; the result comes with the answer
        yield from self._conversation.end(interrupted=self._interrupted)
        if not self._interrupted and (told := final_output(self._values, self._first, self._fields)):
            yield told

    def _chunk(self, chunk: Any, metadata: Mapping[str, Any]) -> Iterator[Event]:
        if not isinstance(chunk, AIMessageChunk):
            return  # whole messages are in the results of their nodes
        if metadata.get("lc_source") or HIDDEN_TAGS & set(metadata.get("tags") or ()):
            return
        segments = metadata.get("langgraph_checkpoint_ns", "").split("|")
        task = self._tasks.get(_task_id(segments[-1]))
        if task is None:
            return
        scope = self._scope(segments)
        raw_id = chunk.id or segments[-1]
        message = task.open.get(raw_id)
        if message is None:
            message = task.open[raw_id] = _Message(id=self._known.fresh_id(raw_id))
            yield events.ModelStarted(scope=scope, call_id=message.id)
            yield events.MessageStarted(scope=scope, message_id=message.id)
        message.chunks.append(chunk)
        if text := read.text_of(chunk):
            yield events.MessageText(scope=scope, message_id=message.id, text=text)

    def _task_start(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> Iterator[Event]:
        scope = self._scope(namespace)
        task = self._tasks[data["id"]] = _Task(scope=scope, namespace=tuple(namespace), name=str(data.get("name", "")))
        for message in read.messages_in(data["input"]):
            if isinstance(message, AIMessage):
                self._known.add(message)
            elif isinstance(message, ToolMessage):
                yield from self._ended_before(task, message)
        for offer in offers_in(data["input"], None):
            id_ = self._calls.start(scope, offer.name, offer.args, [offer], otherwise=data["id"])
            task.calls[offer.raw_id] = (offer, id_)
            self._paths[data["id"]] = f"{scope}/{id_}" if scope else id_
            yield events.ToolStarted(scope=scope, tool_call_id=id_, name=offer.name, args=offer.args)

    def _ended_before(self, now: _Task, message: ToolMessage) -> Iterator[Event]:
        """The result of a call whose node had ended before the run was resumed. In a nested graph such a node starts
        again and never ends: its result is in the input of the next one."""
        for id_, task in list(self._tasks.items()):
            if task is not now and task.namespace == now.namespace and message.tool_call_id in task.calls:
                del self._tasks[id_]
                yield from self._tool_result(task, message, None)

    def _task_end(self, namespace: tuple[str, ...], data: Mapping[str, Any]) -> Iterator[Event]:
        task = self._tasks.pop(data["id"], None)
        if task is None:
            return
        result = data.get("result")
        place = place_of([*namespace, str(data.get("name", ""))])
        if namespace:
            yield from self._conversation.node(result, task.scope, place)
        for message in read.messages_in(result):
            if isinstance(message, AIMessage):
                yield from self._answer(task, message, place)
            elif isinstance(message, ToolMessage):
                yield from self._tool_result(task, message, result)
        inner = self._paths.get(data["id"], task.scope)
        for left in task.open.values():
            yield from self._left_open(left, inner, place)
        yield from self._calls_left(task, data)

    def _answer(self, task: _Task, message: AIMessage, place: str) -> Iterator[Event]:
        streamed, new = task.open.pop(message.id or "", None), self._known.add(message)
        if streamed is None and new and len(task.open) == 1:
            only = next(iter(task.open))  # the provider gave the message another id at the end
            if _ended(task.open[only]) and _text(task.open[only]) == read.text_of(message):
                streamed = task.open.pop(only)
        if streamed is None and not new:
            return
        id_ = streamed.id if streamed else self._known.fresh_id(message.id or f"message-{id(message)}")
        yield self._finished(message, task.scope, id_, place)
        yield events.ModelEnded(scope=task.scope, call_id=id_)

    def _finished(self, message: AIMessage, scope: str, id_: str, place: str) -> Event:
        event = finished(message, scope=scope, message_id=id_, calls=self._calls)
        self._conversation.told(message, event, place=place)
        return event

    def _tool_result(self, task: _Task, message: ToolMessage, result: Any) -> Iterator[Event]:
        offer, _ = task.calls.pop(message.tool_call_id, (None, ""))
        asked = self._calls.end(task.scope, message.tool_call_id)
        if asked is None:
            return
        todos = read.todo_items(result.get("todos")) if isinstance(result, Mapping) else None
        failed = read.tool_failed(message)
        if offer and offer.name == TODO_TOOL and todos is not None and not failed:
            yield events.TodosWritten(scope=task.scope, todos=todos)
        self._conversation.result_told(asked.id, message.content, failed=failed)
        yield events.ToolFinished(
            scope=task.scope, tool_call_id=asked.id, name=asked.name, result=message.content, failed=failed
        )

    def _left_open(self, message: _Message, scope: str, place: str) -> Iterator[Event]:
        """A message that is not in its node's output: an answer that the node used itself, or half of an answer."""
        if _ended(message):
            whole = reduce(add, message.chunks)
            yield self._finished(whole, scope, message.id, place)
        else:
            yield events.MessageBroken(scope=scope, message_id=message.id)
        yield events.ModelEnded(scope=scope, call_id=message.id)

    def _calls_left(self, task: _Task, data: Mapping[str, Any]) -> Iterator[Event]:
        error = data.get("error")
        for offer, id_ in task.calls.values():
            if data.get("interrupts") or isinstance(error, GraphBubbleUp):
                yield events.ToolSuspended(scope=task.scope, tool_call_id=id_)
            elif error is not None:
                text = read.error_text(error)
                yield events.ToolFinished(scope=task.scope, tool_call_id=id_, name=offer.name, failed=True, error=text)

    def _update(self, data: Mapping[str, Any]) -> Iterator[Event]:
        if data.get("__interrupt__"):
            self._interrupted = True
            asked = data["__interrupt__"]
            told = tuple(question_of(one) for one in asked)
            yield events.Interrupted(question=read.question_text(asked), questions=told)

    def _scope(self, segments: tuple[str, ...] | list[str]) -> str:
        """The scope of the innermost tool task among the nodes of `segments`."""
        return next((self._paths[t] for t in map(_task_id, reversed(segments)) if t in self._paths), "")


def _task_id(segment: str) -> str:
    """The uuid in a segment `tools:<uuid>`, or `tools:<uuid>:2` for a loop within a node."""
    parts = segment.split(":")
    return parts[1] if len(parts) > 1 else ""


def _ended(message: _Message) -> bool:
    return message.chunks[-1].chunk_position == "last"


def _text(message: _Message) -> str:
    return "".join(map(read.text_of, message.chunks))
