"""A chat model whose answer is a pure function of the history: it survives resume, forks and parallel sub-agents."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field

Reply = Callable[[list[BaseMessage]], AIMessage]


def said(text: str, *calls: tuple[str, str, dict[str, Any]]) -> AIMessage:
    """An answer: text and tool calls as (id, name, args)."""
    return AIMessage(content=text, tool_calls=[{"id": id_, "name": name, "args": args} for id_, name, args in calls])


def in_turn(*answers: AIMessage, **by_word: Sequence[AIMessage]) -> Reply:
    """The n-th answer since the last human message; another row of answers where that message has the given word."""

    def reply(history: list[BaseMessage]) -> AIMessage:
        asked = max(i for i, m in enumerate(history) if isinstance(m, HumanMessage))
        rows = [row for word, row in by_word.items() if word in str(history[asked].text)]
        row = rows[0] if rows else answers
        done = sum(isinstance(m, AIMessage) for m in history[asked:])
        return row[min(done, len(row) - 1)]

    return reply


class ScriptedModel(BaseChatModel):
    """Streams `reply(history)` word by word. `blocks`: content as a list of blocks, as Anthropic sends it.

    `dies_after` words of an answer that has the word "die" it raises, as a lost connection does.
    """

    reply: Reply = Field(repr=False, exclude=True)
    blocks: bool = False
    dies_after: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, Any]:
        return self.bind()

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[AIMessageChunk]:
        answer = self.reply(messages)
        words = re.findall(r"\S+\s*", str(answer.text))
        for number, word in enumerate(words):
            if self.dies_after and "die" in str(answer.text) and number == self.dies_after:
                raise ConnectionError("the model went away")
            yield AIMessageChunk(content=[{"type": "text", "text": word, "index": 0}] if self.blocks else word)
        for index, call in enumerate(answer.tool_calls):
            args = json.dumps(call["args"])
            yield AIMessageChunk(
                content=[] if self.blocks else "",
                tool_call_chunks=[tool_call_chunk(name=call["name"], id=call["id"], args="", index=index)],
            )
            for part in (args[: len(args) // 2], args[len(args) // 2 :]):
                yield AIMessageChunk(
                    content=[] if self.blocks else "", tool_call_chunks=[tool_call_chunk(args=part, index=index)]
                )
        yield AIMessageChunk(
            content=[] if self.blocks else "",
            usage_metadata={"input_tokens": 10, "output_tokens": len(words), "total_tokens": 10 + len(words)},
            response_metadata={
                "finish_reason": "tool_calls" if answer.tool_calls else "stop",
                "model_name": "scripted-1",
            },
            chunk_position="last",
        )

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            await asyncio.sleep(0)
            generation = ChatGenerationChunk(message=chunk)
            if run_manager:
                await run_manager.on_llm_new_token(str(chunk.text), chunk=generation)
            yield generation

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.reply(messages).model_copy())])
