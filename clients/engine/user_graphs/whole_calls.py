"""Refuses tool calls and answers that were cut off, in graphs that we did not build, whose models are the user's own.

We cannot ask such a model again, so the model call fails. A retry in the graph (`with_retry`, a node's retry policy)
asks the model again; without one the run ends and says why. No tool call of a cut message runs.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, AIMessageChunk

from agent_runner.clients.engine.middleware import GateHandler
from agent_runner.clients.models.call_pieces import CallAssembly
from agent_runner.clients.models.endings import arguments_of, reason_of, refused_in
from agent_runner.clients.models.errors import BrokenStream, ModelError

_GIVE_A_REASON = ("langchain_openai", "langchain_anthropic", "langchain_ollama", "langchain_deepseek")
"""Packages whose providers always say why the model stopped."""
ADVICE = (
    "Send the message again, or raise the model's token limit. A retry in the graph (with_retry on the model, or a"
    " retry policy on its node) asks the model again by itself."
)


@dataclass(slots=True, kw_only=True)
class _Asked:
    gives_reason: bool
    streamed: bool = False
    calls: CallAssembly = field(default_factory=CallAssembly)


class WholeCallsHandler(GateHandler):
    """Runs inline, so that an error which it raises ends the model call before anything uses the message. It is the
    gate too: LangChain looks at each handler for every event."""

    ignore_llm = False

    def __init__(self) -> None:
        self._asked: dict[UUID, _Asked] = {}

    async def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any) -> None:
        await super().on_chat_model_start(serialized, messages)
        path = (serialized or {}).get("id") or ()
        module = str(path[0]) if isinstance(path, list) and path else ""
        metadata = kwargs.get("metadata") or {}
        provider = f"langchain_{metadata.get('ls_provider', '')}"
        self._asked[run_id] = _Asked(gives_reason=module in _GIVE_A_REASON or provider in _GIVE_A_REASON)

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        asked, message = self._asked.get(run_id), getattr(chunk, "message", None)
        if asked is None or not isinstance(message, AIMessageChunk):
            return
        asked.streamed = True
        for piece in message.tool_call_chunks:
            asked.calls.add(dict(piece))

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._asked.pop(run_id, None)

    async def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        asked = self._asked.pop(run_id, None)
        message = getattr(response.generations[0][0], "message", None) if response.generations else None
        if asked is None or not isinstance(message, AIMessage):
            return
        if asked.gives_reason and asked.streamed and not reason_of(message.response_metadata):
            raise BrokenStream(began=bool(message.text or message.tool_calls))
        if not message.tool_calls:
            return
        name_calls(message)
        whys = [one.why for one in refused_in(message) if one.id in {call["id"] for call in message.tool_calls}]
        whys += [why for call in asked.calls.calls if (why := arguments_of(call.raw)[1])]
        if whys:
            raise ModelError(f"a tool call of the model was not run: {whys[0]}", ADVICE)


def name_calls(message: AIMessage) -> None:
    """Give a tool call an id of its own if the model's server gave none, or gave one twice. Changes the message in
    place, before anything uses it. A result finds its call by this id. Anthropic's content holds the calls a second
    time."""
    content: Any = message.content if isinstance(message.content, list) else []
    blocks = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    known: set[str] = set()
    for number, call in enumerate(message.tool_calls):
        id_ = call["id"] or f"call_{uuid4().hex[:24]}"
        own = id_ if id_ not in known else f"{id_}-{number + 1}"
        call["id"] = own
        known.add(own)
        if len(blocks) == len(message.tool_calls):
            blocks[number]["id"] = own
