"""Translates a run of a graph into our own events, from LangGraph's events (schema v2 of `astream_events`).

Some facts are not plain in the stream. They are found like this:
- the id of a tool call when its tool starts: the node around it was given the call as its input;
- the sub-agent that an event belongs to: the innermost tool run among the event's parents;
- a tool that does not exist: it never starts, only its node has a ToolMessage in its output;
- a model call that failed: it never ends, only the node around it ends;
- messages of nodes that ask no model: they are in the node's output and in no input before;
- how the graph changed its messages: from `values`, its state after each step (`conversation.py`).
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, RemoveMessage, ToolMessage
from langgraph.constants import START
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.graph.message import REMOVE_ALL_MESSAGES

from agent_runner.clients.engine.final_state import final_output, output_fields
from agent_runner.clients.engine.questions import question_of
from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.engine.stream.call_ids import Calls, Offer, offers_in
from agent_runner.clients.engine.stream.conversation import Conversation, place_of
from agent_runner.clients.engine.stream.event_handler import WRONG_TURN, is_node
from agent_runner.clients.engine.stream.event_sources import Source, all_events, read_events
from agent_runner.clients.engine.stream.graph_parts import GraphParts
from agent_runner.clients.engine.stream.known_messages import KnownMessages, finished
from agent_runner.clients.engine.user_graphs.run_context import RECURSION_LIMIT
from agent_runner.status.log import events
from agent_runner.status.log.events import Event
from agent_runner.status.log.tool_names import TODO_TOOL

# Without a recursion limit in the call's config a graph stops at 25 steps, whatever is bound to it.
STREAM_MODES = ["updates", "values", "custom"]
"""From the graph and its sub-graphs: the interrupts, the state, and the data that nodes write about their progress."""
MOST_WRONG_TURNS = 20
"""Different ones of a run that are told."""
HIDDEN_TAGS = {"nostream", "langsmith:nostream", "langsmith:hidden"}


async def run_events(
    graph: Any,
    graph_input: Any,
    config: Mapping[str, Any],
    parts: GraphParts | None = None,
    *,
    source: Source | None = None,
    **options: Any,
) -> AsyncIterator[Event]:
    """Run `graph` and yield our events. Raises what the graph raises. `parts`: the parts of its own stream to report.
    `source`: of LangGraph's events; if none is named, the cheapest that has all that `parts` report. `options` go to
    the graph's `astream` (context, durability, control, ...). The iterator ends when the graph ends, also by an
    interrupt (`Interrupted`)."""
    story = V2Events(output_fields(graph), graph_input)
    given: Any = {"recursion_limit": RECURSION_LIMIT, **config}
    modes = list(dict.fromkeys([*STREAM_MODES, *(parts.modes if parts else ())]))
    options = {"stream_mode": modes, "subgraphs": True, **options}
    if source is None and parts is not None and parts.are_messages:
        options |= {"stream_mode": STREAM_MODES, "messages": True}
    source = source or (all_events if parts and parts.needs_all_events else read_events)
    async with aclosing(source(graph, graph_input, given, **options)) as raw_events:
        async for raw in raw_events:
            for event in story.feed(raw):
                yield event
            if parts is not None:
                for part in parts.of(raw):
                    yield part


@dataclass(slots=True, kw_only=True)
class _Model:
    scope: str
    parents: list[str]
    hidden: bool
    place: str = ""
    message_id: str = ""


@dataclass(slots=True, kw_only=True)
class _Tool:
    scope: str
    id: str
    name: str
    namespace: str
    args: Any
    nested: bool = False
    """A graph runs inside of this tool: a sub-agent."""

    @property
    def path(self) -> str:
        return f"{self.scope}/{self.id}" if self.scope else self.id


class V2Events:
    """Translates the events of one run, one at a time. Keeps what it needs to know whose an event is."""

    def __init__(self, fields: Sequence[str] | None = None, graph_input: Any = None) -> None:
        """`fields`: the names of the graph's output fields (`output_fields`)."""
        self._models: dict[str, _Model] = {}
        self._tools: dict[str, _Tool] = {}
        self._doubles: set[str] = set()
        self._offers: dict[str, tuple[Offer, ...]] = {}
        self._calls = Calls()
        self._known = KnownMessages()
        self._conversation = Conversation(self._calls, self._known, graph_input)
        self._fields = fields
        self._first: Any = None
        self._interrupted = False
        self._cleared = False
        """A node of the graph itself has removed all messages, and its state after this step has not come yet."""
        self._asked_in: dict[str, str] = {}
        """The scope in which each question was asked, by the interrupt's id."""
        self._nodes: dict[str, tuple[str, ...]] = {}
        """The running nodes by run id: the namespace of their graph, then their name."""
        self._wrong_turns: set[tuple[Any, ...]] = set()
        self._last_node: dict[tuple[str, ...], str] = {}
        """The node that ended last, by namespace. The data of a node that never waits arrives after the node's end."""

    def feed(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        """Our events for the event `raw`. For most there are none."""
        kind = raw["event"]
        if kind == "on_chat_model_stream":
            return self._model_stream(raw)
        handler = _HANDLERS.get(kind)
        return handler(self, raw) if handler else iter(())

    def _model_start(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        metadata = raw["metadata"]
        # middleware's own calls (a summary of the history, a choice of tools) are no part of the conversation
        hidden = bool(HIDDEN_TAGS & set(raw["tags"]) or metadata.get("lc_source") or metadata.get("lc_internal_call"))
        place = place_of(metadata.get("langgraph_checkpoint_ns", ""))
        model = _Model(scope=self._scope(raw), parents=list(raw["parent_ids"]), hidden=hidden, place=place)
        self._models[raw["run_id"]] = model
        yield events.ModelStarted(scope=model.scope, call_id=raw["run_id"])

    def _model_stream(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        model = self._models.get(raw["run_id"])
        chunk = raw["data"].get("chunk")
        if model is None or model.hidden or not isinstance(chunk, AIMessageChunk):
            return
        if not model.message_id:
            model.message_id = self._known.fresh_id(chunk.id or raw["run_id"])
            yield events.MessageStarted(scope=model.scope, message_id=model.message_id)
        if text := read.text_of(chunk):
            yield events.MessageText(scope=model.scope, message_id=model.message_id, text=text)

    def _model_end(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        model = self._models.pop(raw["run_id"], None)
        message = raw["data"].get("output")
        if model is None:
            return
        if isinstance(message, AIMessage) and not model.hidden:
            self._known.add(message)
            id_ = model.message_id or self._known.fresh_id(message.id or raw["run_id"])
            yield self._finished(message, model.scope, id_, model.place)
        yield events.ModelEnded(scope=model.scope, call_id=raw["run_id"])

    def _finished(self, message: AIMessage, scope: str, message_id: str, place: str) -> Event:
        event = finished(message, scope=scope, message_id=message_id, calls=self._calls)
        self._conversation.told(message, event, place=place)
        return event

    def _tool_start(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        namespace = raw["metadata"].get("langgraph_checkpoint_ns", "")
        offers: tuple[Offer, ...] = ()
        for parent in reversed(raw["parent_ids"]):
            if parent in self._offers:
                offers = self._offers[parent]
                break
            if parent in self._doubles or (parent in self._tools and self._tools[parent].namespace == namespace):
                self._doubles.add(raw["run_id"])  # a tool within a tool: an MCP wrapper reports each call twice
                return
        scope, args = self._scope(raw), raw["data"].get("input")
        id_ = self._calls.start(scope, raw["name"], args, offers, otherwise=raw["run_id"])
        self._tools[raw["run_id"]] = _Tool(scope=scope, id=id_, name=raw["name"], namespace=namespace, args=args)
        yield events.ToolStarted(scope=scope, tool_call_id=id_, name=raw["name"], args=args)

    def _tool_end(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        tool = self._tools.get(raw["run_id"])
        if tool is None:
            return
        outcome = read.tool_outcome(raw["data"].get("output"))
        id_ = self._ended(tool, outcome.tool_call_id)
        if tool.name == TODO_TOOL and not outcome.failed:
            given = tool.args.get("todos") if isinstance(tool.args, Mapping) else None
            todos = outcome.todos if outcome.todos is not None else read.todo_items(given)
            if todos is not None:
                yield events.TodosWritten(scope=tool.scope, todos=todos)
        if outcome.tool_call_id:
            self._conversation.result_told(id_, outcome.result, failed=outcome.failed)
        yield events.ToolFinished(
            scope=tool.scope,
            tool_call_id=id_,
            name=tool.name,
            result=outcome.result,
            failed=outcome.failed,
            error=outcome.error,
        )

    def _tool_error(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        tool = self._tools.get(raw["run_id"])
        error = raw["data"].get("error")
        if tool is None:
            return
        if isinstance(error, GraphInterrupt):
            within = tool.path if tool.nested else tool.scope
            for one in error.args[0] if error.args else ():
                self._asked_in.setdefault(one.id, within)  # the innermost tool comes first
        if isinstance(error, GraphBubbleUp):  # an interrupt asks a person; a drain stops between steps
            yield events.ToolSuspended(scope=tool.scope, tool_call_id=tool.id)
            return
        id_ = self._ended(tool, raw["data"].get("tool_call_id") or "")
        self._conversation.error_told(id_, read.error_words(error))
        yield events.ToolFinished(
            scope=tool.scope, tool_call_id=id_, name=tool.name, failed=True, error=read.error_text(error)
        )

    def _ended(self, tool: _Tool, raw_id: str) -> str:
        """The id of the call that ended. The id in the end event is true; the id at the start was a guess."""
        asked = self._calls.end(tool.scope, raw_id) if raw_id else None
        if asked and asked.id != tool.id:
            other = next((t for t in self._tools.values() if t.id == asked.id), None)
            if other:
                other.id = tool.id
            tool.id = asked.id
        return tool.id

    def _dispatched(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        node = str(raw["metadata"].get("langgraph_node") or "")
        yield events.CustomData(scope=self._scope(raw), name=raw["name"], data=raw["data"], node=node)

    def _written(self, namespace: tuple[str, ...], data: Any) -> Event:
        """Our event for data of a stream writer. `namespace`: of the graph whose node wrote it. The node is named if it
        is the only one running there, or if none is running: then it is the last one that ended."""
        running = {node for *place, node in self._nodes.values() if tuple(place) == namespace}
        node = running.pop() if len(running) == 1 else "" if running else self._last_node.get(namespace, "")
        return events.CustomData(scope=self._scope_of(namespace), data=data, node=node)

    def _scope_of(self, namespace: tuple[str, ...]) -> str:
        """The scope of a graph: inside of the tool whose node is around the graph. If several tools run in that node,
        the scope of these tools."""
        for end in range(len(namespace), 0, -1):
            place = "|".join(namespace[:end])
            if within := [tool for tool in self._tools.values() if tool.namespace == place]:
                return within[0].path if len(within) == 1 else within[0].scope
        return ""

    def _chain_start(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        if self._is_node(raw):
            *around, _ = raw["metadata"].get("langgraph_checkpoint_ns", "").split("|")
            self._nodes[raw["run_id"]] = (*around, raw["name"])
        if self._is_node(raw) or not raw["parent_ids"]:
            if spawned := next((p for p in reversed(raw["parent_ids"]) if p in self._tools), None):
                self._tools[spawned].nested = True
            given = raw["data"].get("input")
            last = None
            for message in read.messages_in(given):
                last = message if isinstance(message, AIMessage) else None
                if last:
                    self._known.add(last)
            if offers := offers_in(given, last):
                self._offers[raw["run_id"]] = offers
        return iter(())

    def _chain_stream(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        if raw["parent_ids"]:
            return
        chunk, mode = raw["data"].get("chunk"), "updates"
        namespace: tuple[str, ...] = ()
        if isinstance(chunk, tuple) and len(chunk) == 3:
            namespace, mode, chunk = chunk
        if mode == "custom":
            yield self._written(namespace, chunk)
        elif namespace:
            return
        elif mode == "values":
            self._first = chunk if self._first is None else self._first
            yield from self._state(chunk)
        elif mode == "updates" and isinstance(chunk, Mapping) and chunk.get("__interrupt__"):
            self._interrupted = True
            asked = chunk["__interrupt__"]
            told = tuple(question_of(one, scope=self._asked_in.get(one.id, "")) for one in asked)
            yield events.Interrupted(question=read.question_text(asked), questions=told)

    def _state(self, values: Any) -> Iterator[Event]:
        cleared, self._cleared = self._cleared, False
        for event in self._conversation.state(values):
            if cleared and isinstance(event, events.MessageRemoved) and _is_the_users(event):
                yield events.MessageForgotten(message_id=event.message_id)
            else:
                yield event

    def _chain_end(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        if not raw["parent_ids"]:
            yield from self._output(raw["data"].get("output"))
            return
        self._offers.pop(raw["run_id"], None)
        if ended := self._nodes.pop(raw["run_id"], None):
            self._last_node[ended[:-1]] = ended[-1]
        if not self._is_node(raw):
            return
        for run_id in [id_ for id_, model in self._models.items() if raw["run_id"] in model.parents]:
            model = self._models.pop(run_id)
            if model.message_id:
                yield events.MessageBroken(scope=model.scope, message_id=model.message_id)
            yield events.ModelEnded(scope=model.scope, call_id=run_id)
        scope, namespace = self._scope(raw), raw["metadata"].get("langgraph_checkpoint_ns", "")
        nested = "|" in namespace or bool(scope)
        if nested:
            yield from self._conversation.node(raw["data"].get("output"), scope, place_of(namespace))
        for message in read.messages_in(raw["data"].get("output")):
            if isinstance(message, RemoveMessage):
                self._cleared = self._cleared or (message.id == REMOVE_ALL_MESSAGES and not nested)
            elif isinstance(message, AIMessage) and self._known.add(message):
                id_ = self._known.fresh_id(message.id or raw["run_id"])
                yield self._finished(message, scope, id_, place_of(namespace))
            elif isinstance(message, ToolMessage) and (asked := self._calls.end(scope, message.tool_call_id)):
                failed = read.tool_failed(message)
                self._conversation.result_told(asked.id, message.content, failed=failed)
                yield events.ToolFinished(
                    scope=scope, tool_call_id=asked.id, name=asked.name, result=message.content, failed=failed
                )

    def _output(self, output: Any) -> Iterator[Event]:
        yield from self._conversation.end(interrupted=self._interrupted)
        if not self._interrupted and (told := final_output(output, self._first, self._fields)):
            yield told

    def _wrong_turn(self, raw: Mapping[str, Any]) -> Iterator[Event]:
        told = raw["data"]
        turn = (told["place"], told["node"], told["target"])
        if told["node"] == START and (told["place"], "", told["target"]) in self._wrong_turns:
            return  # on a new thread LangGraph lets this node repeat the command that began the graph
        if turn not in self._wrong_turns and len(self._wrong_turns) < MOST_WRONG_TURNS:
            self._wrong_turns.add(turn)
            yield events.WrongTurn(message_id=f"{events.WRONG_TURN}{raw['run_id']}-{len(self._wrong_turns)}", **told)

    def _scope(self, raw: Mapping[str, Any]) -> str:
        return next((self._tools[p].path for p in reversed(raw["parent_ids"]) if p in self._tools), "")

    @staticmethod
    def _is_node(raw: Mapping[str, Any]) -> bool:
        return is_node(raw["name"], raw["tags"], raw["metadata"])


def _is_the_users(event: events.MessageRemoved) -> bool:
    """Sent with this turn. A message of another agent's that the user sent with its calls goes with them."""
    ours = event.message_id == events.USER_MESSAGE or event.message_id.startswith(events.INPUT_MESSAGE)
    return ours and not event.tool_call_ids


_HANDLERS = {
    "on_chat_model_start": V2Events._model_start,
    "on_chat_model_end": V2Events._model_end,
    "on_tool_start": V2Events._tool_start,
    "on_tool_end": V2Events._tool_end,
    "on_tool_error": V2Events._tool_error,
    "on_custom_event": V2Events._dispatched,
    "on_chain_start": V2Events._chain_start,
    "on_chain_stream": V2Events._chain_stream,
    "on_chain_end": V2Events._chain_end,
    WRONG_TURN: V2Events._wrong_turn,
}
