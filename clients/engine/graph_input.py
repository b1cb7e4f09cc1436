"""Makes a graph's input from what the caller sent: fields, messages in the usual JSON forms, and a text beside them."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin

from langchain_core.messages import BaseMessage, HumanMessage, convert_to_messages, messages_from_dict
from typing_extensions import is_typeddict

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.entrypoint_input import is_functional, message_input
from agent_runner.clients.engine.user_graphs.user_graphs import Graph, GraphError

_REDUCERS = frozenset({"_add_messages", "add_messages", "_messages_delta_reducer"})
"""The message reducers of LangGraph and deepagents. For any other reducer the given messages are not converted."""
_LC_CLASSES = {
    "HumanMessage": "human",
    "AIMessage": "ai",
    "SystemMessage": "system",
    "ToolMessage": "tool",
}


class GraphInputError(GraphError):
    """What was sent cannot be the input of the graph; the text says why, and is the sender's to read."""


def graph_input(
    graph: Graph, bundle: Bundle, message: str, input_json: str = "", blocks: Sequence[Mapping[str, Any]] = ()
) -> Any:
    """The state to start with: `input_json` with the message added if the graph has messages. `blocks`: the whole
    message, if it is more than text.

    Raises GraphInputError if the graph has no place for the message, if `input_json` is not JSON, or if its messages
    cannot be read.
    """
    content: str | list[Any] = [dict(block) for block in blocks] or message
    if message and not input_json and is_functional(graph) and (made := message_input(graph, content)) is not None:
        return made
    given = read_input(input_json)
    # A server of an earlier version sends the input's text as the message too.
    if not message or (input_json and message == json.dumps(given, ensure_ascii=False)):
        return _with_messages(graph, given)
    lacks = _lacks_messages(graph)
    if lacks or not isinstance(given, dict):
        name = bundle.graph or "the agent"
        what = "a message" if lacks else "a message beside an input that is no object"
        where = lacks or "has no 'messages' channel"
        raise GraphInputError(f"graph '{name}' {where} for {what}: give it `input` (a JSON object) alone")
    before = _with_messages(graph, given)
    held = before.get("messages") or []
    return {**before, "messages": [*(held if isinstance(held, list) else [held]), _said(graph, content)]}


def read_input(input_json: str) -> Any:
    """The value of `input_json`; an empty dict if it is empty. Raises GraphInputError if it is not JSON."""
    try:
        return json.loads(input_json) if input_json else {}
    except ValueError as error:
        raise GraphInputError(f"the execution's input is not JSON: {error}") from error


def _said(graph: Graph, content: str | list[Any]) -> Any:
    """The user's message in the form that the graph's messages have: LangChain's, or what its author declared instead,
    `list[dict]` (OpenAI's form) or `list[str]`."""
    kind = None if _takes_langchains(graph) else _item_type(getattr(graph.channels["messages"], "ValueType", None))
    if kind is not None and (kind is dict or is_typeddict(kind) or get_origin(kind) in (dict, Mapping)):
        return {"role": "user", "content": content}
    return content if kind is str and isinstance(content, str) else HumanMessage(content=content)


def _item_type(declared: Any) -> Any:
    """The type in the brackets of a list's declaration; None if there is none."""
    while get_origin(declared) in (Annotated, Required, NotRequired):
        declared = get_args(declared)[0]
    inside = get_args(declared)
    return inside[0] if get_origin(declared) in (list, Sequence) and inside else None


def _lacks_messages(graph: Graph) -> str:
    """Why the graph cannot be given a message: LangGraph drops what is not in the input's schema. Empty if it can."""
    if "messages" not in graph.channels:
        return "has no 'messages' channel"
    builder = getattr(graph, "builder", None)
    taken = getattr(builder, "schemas", {}).get(getattr(builder, "input_schema", None))
    if taken is None or "messages" in taken:
        return ""
    return f"has no 'messages' in its input schema (it takes {', '.join(sorted(taken)) or 'nothing'})"


def _with_messages(graph: Graph, given: Any) -> Any:
    """`given` with its messages converted to LangChain's classes, if the graph's `messages` channel takes these."""
    if not isinstance(given, dict) or "messages" not in given or not _takes_langchains(graph):
        return given
    held = given["messages"]
    try:
        return {**given, "messages": [message_of(one) for one in (held if isinstance(held, list) else [held])]}
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise GraphInputError(f"input.messages: {error}") from error


def message_of(given: Any) -> BaseMessage:
    """A message from OpenAI's form, a pair (role, text), a text, or one of LangChain's two forms as JSON."""
    if isinstance(given, Mapping):
        if isinstance(given.get("data"), Mapping):
            return messages_from_dict([dict(given)])[0]
        if given.get("lc") and isinstance(given.get("kwargs"), Mapping):
            name = str((given.get("id") or [""])[-1])
            if name not in _LC_CLASSES:
                raise ValueError(f"a serialized {name or 'object'} is no message")
            given = {**given["kwargs"], "type": _LC_CLASSES[name]}
    if isinstance(given, list):
        given = tuple(given)
    return convert_to_messages([given])[0]


def _takes_langchains(graph: Graph) -> bool:
    channel = graph.channels.get("messages")
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    return getattr(reducer, "__name__", "") in _REDUCERS
