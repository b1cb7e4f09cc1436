"""Reads what LangChain and LangGraph put into events: messages, tool outputs, node outputs, questions.

All functions here accept any value and never raise: an odd block of a provider must not end a run.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_messages
from langchain_core.tools import ToolException
from langgraph.types import Command
from pydantic import ValidationError

from agent_runner.clients.engine.user_graphs.grouped_errors import group_text
from agent_runner.clients.models.endings import reason_of
from agent_runner.clients.models.order.model_call import FELL_BACK
from agent_runner.clients.models.provider_words import fields_of
from agent_runner.status import endings
from agent_runner.status.attachments import reference_to
from agent_runner.status.log.plain import MAX_ENCODED, Room, plain
from agent_runner.status.questions import OPTION_KEYS

REASONING = "reasoning_content"
"""Where some providers' messages have their reasoning, among `additional_kwargs`."""
_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
"""What holds no message."""
_HOLDERS = (BaseMessage, Command, Mapping)
_QUESTION_KEYS = ("question", "message", "prompt", "query", "description", "text")


def text_of(message: BaseMessage) -> str:
    """The text of a message or chunk, whether its content is text or a list of blocks."""
    content = message.content
    return content if type(content) is str else str(message.text)


def shown_text(message: BaseMessage) -> str:
    """The text as readers see it, with a reference to each picture and file of the message."""
    content = message.content
    if type(content) is str:
        return content
    blocks = content if isinstance(content, list) else []
    told = [text_of(message), *map(reference_to, blocks)]
    return "\n".join(part for part in told if part)


def reasoning_of(message: AIMessage) -> str:
    """The model's reasoning, if its provider sends it: Anthropic's thinking blocks, OpenAI's reasoning summaries."""
    found = []
    for block in message.content if isinstance(message.content, list) else ():
        if not isinstance(block, Mapping):
            continue
        if block.get("type") == "thinking":
            found.append(block.get("thinking"))
        elif block.get("type") == "reasoning":
            summary = block.get("summary")
            parts = summary if isinstance(summary, list) else []
            found += [block.get("reasoning"), *(p.get("text") for p in parts if isinstance(p, Mapping))]
    found.append(message.additional_kwargs.get(REASONING))
    return "".join(part for part in found if isinstance(part, str))


def usage_of(message: AIMessage) -> dict[str, int]:
    """`cached_tokens` are those of `input_tokens` that the provider read from its cache; missing where it says none."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    told = {name: n for name, n in usage.items() if name in ("input_tokens", "output_tokens", "total_tokens")}
    cached = (usage.get("input_token_details") or {}).get("cache_read")
    return {**told, "cached_tokens": cached} if cached else told


def model_of(message: AIMessage) -> str:
    told = message.response_metadata
    return str(told.get("model_name") or told.get("model") or "")


def fell_back_from(message: AIMessage) -> tuple[Mapping[str, str], ...]:
    """The models that were asked before the one that gave this message, each with the cause why it gave none."""
    told = message.response_metadata.get(FELL_BACK)
    return tuple(one for one in told if isinstance(one, Mapping)) if isinstance(told, list) else ()


def finish_reason_of(message: AIMessage) -> str:
    return reason_of(message.response_metadata)


def refusal_of(message: AIMessage) -> str:
    """The text of a model's refusal, if its provider keeps it apart from the answer."""
    said = message.additional_kwargs.get("refusal")
    if isinstance(said, str):
        return said
    blocks = message.content if isinstance(message.content, list) else []
    parts = [b.get("refusal") for b in blocks if isinstance(b, Mapping) and b.get("type") == "refusal"]
    details = message.response_metadata.get("stop_details")
    if isinstance(details, Mapping) and details.get("type") == endings.REFUSAL:
        parts.append(details.get("explanation"))
    return "".join(part for part in parts if isinstance(part, str))


def incomplete_of(message: AIMessage) -> str:
    """Why the message is not a whole answer: the provider's word; empty if it is whole."""
    if refusal_of(message):
        return endings.REFUSAL
    reason = finish_reason_of(message)
    return "" if endings.is_whole(reason) else reason


def messages_in(value: Any) -> Iterator[BaseMessage]:
    """The messages that a node's input or output holds, in whatever channel; also within Commands."""
    found: list[BaseMessage] = []
    _find(value, found)
    return iter(found)


def _find(value: Any, found: list[BaseMessage]) -> None:
    """No generator: a state may have a million small parts, which are looked at twice for each node."""
    if isinstance(value, BaseMessage):
        found.append(value)
    elif isinstance(value, Command):
        _find(value.update, found)
    elif isinstance(value, Mapping):
        for held in value.values():
            _find_listed(held, found)
    elif isinstance(value, list | tuple):
        for held in value:
            if type(held) not in _PLAIN:
                _find_in_part(held, found)
    elif held := getattr(value, "messages", None):
        _find_listed(held, found)


def _find_in_part(held: Any, found: list[BaseMessage]) -> None:
    """In a part of a list: many are small dicts of texts and numbers, which cost no further call."""
    kind = type(held)
    if kind is dict:
        for inner in held.values():
            if type(inner) not in _PLAIN:
                _find_listed(inner, found)
    elif kind is not list and isinstance(held, _HOLDERS):
        _find(held, found)
    elif isinstance(held, tuple) and len(held) == 2:  # (channel, value)
        _find_listed(held[1], found)


def conversation_of(state: Any) -> Sequence[Any] | None:
    """The messages of a graph's state, in whatever form its reducer keeps them; None if it has none."""
    held = state.get("messages") if isinstance(state, Mapping) else state
    if isinstance(held, BaseMessage | str | Mapping):
        return [held] if isinstance(state, Mapping) else None
    if not isinstance(held, list | tuple):
        return None
    if isinstance(state, Mapping) or (held and all(isinstance(item, BaseMessage) for item in held)):
        return list(held)
    return None


def as_message(held: Any) -> BaseMessage | None:
    """The message in a form that LangChain knows: a dict with a role, a tuple, a text. None if `held` is no message."""
    try:
        return convert_to_messages([held])[0]
    except Exception:  # whatever it is, it must not end a run
        return None


def _find_listed(held: Any, found: list[BaseMessage]) -> None:
    """A message, or a list that has some."""
    kind = type(held)
    if kind in _PLAIN:
        return
    if kind is not list:
        if kind.__name__ == "Overwrite":
            held = getattr(held, "value", held)
        if isinstance(held, BaseMessage):
            found.append(held)
            return
        if not isinstance(held, Sequence) or isinstance(held, str | bytes | range):
            return
    # the types in a list are much faster to ask than each of its items
    kinds = set(map(type, held)) - _PLAIN
    if kinds and any(issubclass(one, BaseMessage) for one in kinds):
        found += [item for item in held if isinstance(item, BaseMessage)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """The outcome of a tool run. `tool_call_id` is empty if the output does not have it."""

    tool_call_id: str
    result: Any
    failed: bool = False
    error: str = ""
    todos: tuple[Mapping[str, Any], ...] | None = None


def tool_outcome(output: Any) -> ToolOutcome:
    """The outcome, read from the output of a tool run: a ToolMessage, a Command that holds one, or any value."""
    message = next((m for m in messages_in(output) if isinstance(m, ToolMessage)), None)
    todos = _todos(output)
    if message is None:
        update = output.update if isinstance(output, Command) else output
        return ToolOutcome(tool_call_id="", result=update, todos=todos)
    return ToolOutcome(
        tool_call_id=message.tool_call_id or "",
        result=message.content,
        failed=tool_failed(message),
        todos=todos,
    )


def tool_failed(message: ToolMessage) -> bool:
    """Whether it is an error, or a command with an exit code other than 0 (deepagents calls that a success)."""
    if message.status == "error":
        return True
    artifact = message.artifact
    code = artifact.get("exit_code") if isinstance(artifact, Mapping) else getattr(artifact, "exit_code", None)
    return isinstance(code, int) and code != 0


def todo_items(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    if not isinstance(value, list | tuple):
        return None
    return tuple(item for item in value if isinstance(item, Mapping))


def _todos(output: Any) -> tuple[Mapping[str, Any], ...] | None:
    for part in output if isinstance(output, list) else [output]:
        update = part.update if isinstance(part, Command) else None
        if isinstance(update, Mapping) and "todos" in update:
            return todo_items(update["todos"])
    return None


def error_text(error: Any) -> str:
    if isinstance(error, str):
        return error
    if isinstance(error, ToolException):
        return str(error)
    if isinstance(error, ValidationError):  # its own text shows the tool's input, with all of the run's state
        return f"{type(error).__name__}: {fields_of(error)}"
    if isinstance(error, asyncio.CancelledError):
        return "The graph stopped this before it had ended"
    if isinstance(error, BaseExceptionGroup):
        return group_text(error, error_text)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def error_words(error: Any) -> str:
    """What an answer that passes the error on has in it. Empty where `error_text` hides the error's own words."""
    hidden = isinstance(error, ValidationError | asyncio.CancelledError)
    return "" if hidden else str(error) or type(error).__name__


def question_text(interrupts: Any) -> str:
    """The questions in the values of a graph's interrupts as one text, with their options."""
    values = interrupts if isinstance(interrupts, list | tuple) else [interrupts]
    return "\n\n".join(_with_options(getattr(value, "value", value)) for value in values)


def question_words(value: Any) -> str:
    """The text of one question, without its options."""
    if isinstance(value, str):
        return value
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(v, Mapping) and "action_request" in v for v in value)
    ):
        return "\n\n".join(question_words(one) for one in value)
    if isinstance(value, Mapping):
        if requests := value.get("action_requests"):
            return "\n\n".join(_approval(request) for request in requests)
        if asked := next((value[k] for k in _QUESTION_KEYS if isinstance(value.get(k), str)), None):
            return str(asked)
        if isinstance(request := value.get("action_request"), Mapping):
            return _approval({"name": request.get("action"), **request})
    return _json(value, 64 * 1024)


def _with_options(value: Any) -> str:
    words = question_words(value)
    options: list[Any] = (
        next((value[k] for k in OPTION_KEYS if isinstance(value.get(k), list)), [])
        if isinstance(value, Mapping)
        else []
    )
    shown = [one if isinstance(one, str) else _json(one, 4096) for one in options]
    return "\n".join([words, *(f"- {one}" for one in shown)])


def _json(value: Any, max_bytes: int) -> str:
    """The value as JSON text of limited size. The question itself holds the whole data."""
    shown = plain(value, max_bytes=max_bytes, room=Room(max_bytes, max_encoded=MAX_ENCODED))
    return json.dumps(shown, ensure_ascii=False)


def _approval(request: Any) -> str:
    if not isinstance(request, Mapping):
        return str(request)
    if isinstance(request.get("description"), str):
        return str(request["description"])
    args = _json(request.get("args"), 64 * 1024)
    return f"May I call {request.get('name')} with {args}?"
