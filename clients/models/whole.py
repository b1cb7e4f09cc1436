"""Completes a model's stream: turns a provider's chunks into a stream that the rest of the product can rely on.

    async for chunk in whole(lambda: provider_stream(), messages): ...

Text passes as it comes. Tool calls are held back until the message has ended. Complete calls come in one last chunk.
Incomplete calls are listed in its metadata (`endings.REFUSED_CALLS`), where nothing takes them for calls. Token counts
and the reason for the end come once, even if several chunks repeated them.

A stream that breaks before its first text is requested again. A stream that breaks later raises its error, unless tool
calls had begun: none of them has run yet, so the agent can ask the model again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from agent_runner.clients.models.call_pieces import CallAssembly
from agent_runner.clients.models.endings import (
    NO_NAME,
    NOT_MADE,
    REFUSED_CALLS,
    Refused,
    arguments_of,
    ends_calls,
    reason_of,
    why_cut,
)
from agent_runner.clients.models.errors import BrokenStream, broken_stream
from agent_runner.clients.models.opened import asking
from agent_runner.clients.models.order.model_call import FELL_BACK, current_call
from agent_runner.status.endings import CUT_OFF

TRIES = 3
PAUSE_S = 0.5
"""Before the second try; doubles. The run's own limit ends all of it."""

Stream = AsyncIterator[ChatGenerationChunk]


async def whole(
    open_stream: Callable[[], Stream],
    messages: Sequence[BaseMessage],
    *,
    client_tries: bool = True,
    always_ends: bool = True,
) -> Stream:
    """`messages`: the messages that the model gets. `client_tries`: the client asks again by itself until an answer
    opens. `always_ends`: the provider gives a reason for every end, so a stream without one broke off. Raises the
    provider's error, or BrokenStream."""
    for tried in range(1, TRIES + 1):
        answer, asked = _Answer(messages), asking()
        broke: Exception | None = None
        try:
            async with aclosing(cast(Any, open_stream())) as stream:
                async for chunk in stream:
                    for ready in answer.take(chunk):
                        _passed_on()
                        yield ready
            if asked.error is not None:
                raise asked.error
            if not answer.reason and (always_ends or not answer.began):
                raise BrokenStream(began=answer.began)
        except Exception as error:
            told = asked.error or error
            broke = broken_stream(told, opened=asked.answered, began=answer.began, client_tries=client_tries)
            if broke is None:  # another try cannot help, or the client has made it
                if told is error:
                    raise
                raise told from error
        if broke is None or answer.assembly.calls:
            for ready in answer.rest(broke):
                _passed_on()
                yield ready
            return
        if answer.spoke or tried == TRIES:
            raise broke
        await asyncio.sleep(PAUSE_S * 2 ** (tried - 1))


class _Answer:
    """One message while it is streamed."""

    def __init__(self, messages: Iterable[BaseMessage]) -> None:
        ids = (
            call["id"] or "" for message in messages if isinstance(message, AIMessage) for call in message.tool_calls
        )
        self.assembly = CallAssembly(ids)
        self.began = False
        self.spoke = False
        self._held: list[ChatGenerationChunk] = []
        self._told: dict[str, Any] = {}
        self._usage: UsageMetadata | None = None

    @property
    def reason(self) -> str:
        return reason_of(self._told)

    def take(self, chunk: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """The chunks that can be passed on now."""
        self.began = True
        message = chunk.message
        if not isinstance(message, AIMessageChunk):
            yield chunk
            return
        self._usage = _larger(self._usage, message.usage_metadata)
        info = dict(chunk.generation_info or {})
        logprobs = info.pop("logprobs", None)
        self._told |= {k: v for k, v in {**message.response_metadata, **info}.items() if v is not None}
        kwargs = dict(message.additional_kwargs)
        # the older form of calls, before `tool_calls`: one per message
        if old := kwargs.pop("function_call", None):
            self.assembly.add({"index": "function", "name": old.get("name"), "args": old.get("arguments")})
        for piece in message.tool_call_chunks:
            self.assembly.add(cast("dict[str, Any]", piece))
        calls = {piece.get("index") for piece in message.tool_call_chunks}
        content: Any = message.content
        if isinstance(content, list):
            content = [block for block in content if not _is_call(block, calls)]
        bare = ChatGenerationChunk(
            message=AIMessageChunk(content=content, additional_kwargs=kwargs, id=message.id),
            generation_info={"logprobs": logprobs} if logprobs else None,
        )
        self.spoke = self.spoke or bool(str(bare.message.text))
        self._held.append(bare)
        if self.spoke:
            yield from self._held
            self._held = []

    def rest(self, broke: Exception | None) -> Iterator[ChatGenerationChunk]:
        """The chunks that were held back, and the last one."""
        yield from self._held
        self.assembly.name_all()
        reason = self.reason
        pieces, refused = [], []
        for index, call in enumerate(self.assembly.calls):
            _, why = arguments_of(call.raw)
            if broke is not None:
                why = f"it was cut off: {str(broke).rstrip('. ')}. {NOT_MADE} Make it again."
            elif reason and not ends_calls(reason):
                why = why_cut(reason)
            why = why or ("" if call.name else NO_NAME)
            if why:
                refused.append(Refused(id=call.id, name=call.name or "unknown", args=call.raw, why=why))
            else:
                raw = "{}" if call.raw.strip() in ("", "null") else call.raw
                pieces.append(tool_call_chunk(name=call.name, args=raw, id=call.id, index=index))
        told = dict(self._told)
        if broke is not None:
            told["finish_reason"] = CUT_OFF
        if refused:
            told[REFUSED_CALLS] = [asdict(one) for one in refused]
        if (asked := current_call()) and asked.failed:
            told[FELL_BACK] = asked.shown()
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                tool_call_chunks=pieces,
                usage_metadata=self._usage,
                response_metadata=told,
                chunk_position="last",
            )
        )


def _passed_on() -> None:
    if call := current_call():
        call.told = True


def _is_call(block: Any, indexes: set[Any]) -> bool:
    """Whether a block is a call. The content of Anthropic's and OpenAI's answers repeats the calls; only the message's
    own calls are sent back."""
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return kind in ("tool_use", "function_call") or (kind == "input_json_delta" and block.get("index") in indexes)


def _larger(known: UsageMetadata | None, new: UsageMetadata | None) -> UsageMetadata | None:
    """The larger of each count. Counts only grow: a server that sends them with each chunk counts from the beginning
    each time."""
    if known is None or new is None:
        return new or known
    merged = {**known, **new}
    for name in ("input_tokens", "output_tokens"):
        merged[name] = max(int(cast(Any, known).get(name) or 0), int(cast(Any, new).get(name) or 0))
    merged["total_tokens"] = int(cast(Any, merged["input_tokens"])) + int(cast(Any, merged["output_tokens"]))
    return cast(UsageMetadata, merged)
