"""The offline demo model: real tool calls and an honest answer with no key and no network.

It understands lines, nothing else, and says so in each answer. The lines of the last human message:

    $ COMMAND               run COMMAND in the sandbox (tool `execute`), one line after the other
    > write PATH: TEXT      write TEXT to PATH (tool `write_file`); `\\n` in TEXT is a line break
    > read PATH             read PATH (tool `read_file`)
    > call TOOL {JSON}      call any other tool by its name, with these arguments
    @NAME TEXT              delegate TEXT to the sub-agent NAME (tool `task`); @ lines that follow each other, also
                            with prose or empty lines between them, run in parallel. Unknown names go to
                            `general-purpose`. ` $ COMMAND` inside TEXT becomes a command line of the sub-agent

Everything else is prose. It first plans todos (at most 9; longer work is planned in groups of lines), keeps them up to
date, and at the end answers from what the tools returned. A message that asks what was said before ("what did I say",
"remember", ...) is answered with the earlier human messages of the conversation.

Promise: what it does next is a pure function of the conversation and of the tools bound to it. It holds no state, so
it goes on after a crash, in forks and in parallel sub-agents as a real model would; only tool call ids are random.
"""

import asyncio
import json
import math
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_ai_message_chunks
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from agent_runner.clients.models.demo_plan import bound_tools, name_and_description, next_action

MODEL_NAME = "offline-demo"
DELAY_VARIABLE = "AGENT_RUNNER_DEMO_TOKEN_DELAY_MS"
DEFAULT_DELAY_MS = 15.0
MAX_CHUNKS = 120
"""Tokens of one message: a long answer is streamed in larger pieces, so that it does not take minutes."""


class DemoModel(BaseChatModel):
    """See the module's docstring. `token_delay_s`: the pause before each streamed token."""

    model_name: str = MODEL_NAME
    token_delay_s: float = Field(default_factory=lambda: _delay_from_environment())

    @property
    def _llm_type(self) -> str:
        return "agent-runner-demo"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _resolve_model_profile(self) -> Any:
        # The model reads any length. Without a profile, it would be used to summarise its own long conversations.
        return {"max_input_tokens": 1 << 31, "tool_calling": True}

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        # It needs only names and sub-agents: building JSON schemas would cost milliseconds per call.
        bound = [name_and_description(tool) for tool in tools]
        return self.bind(tools=[{"name": n, "description": d if n == "task" else ""} for n, d in bound])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = [piece.message for piece in _chunks(messages, self.model_name, **kwargs)]
        first, *rest = [piece for piece in pieces if isinstance(piece, AIMessageChunk)]
        whole = add_ai_message_chunks(first, *rest)
        message = AIMessage(
            content=whole.content,
            id=whole.id,
            tool_calls=whole.tool_calls,
            usage_metadata=whole.usage_metadata,
            response_metadata=whole.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in _chunks(messages, self.model_name, **kwargs):
            time.sleep(self.token_delay_s)
            if run_manager:
                run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in _chunks(messages, self.model_name, **kwargs):
            await asyncio.sleep(self.token_delay_s)
            if run_manager:
                await run_manager.on_llm_new_token(piece.text, chunk=piece)
            yield piece


def _delay_from_environment() -> float:
    try:
        return max(float(os.environ.get(DELAY_VARIABLE, DEFAULT_DELAY_MS)), 0.0) / 1000
    except ValueError:
        return DEFAULT_DELAY_MS / 1000


def _chunks(
    messages: Sequence[BaseMessage], model_name: str, tools: Sequence[dict[str, Any]] = (), **_: Any
) -> Iterator[ChatGenerationChunk]:
    """The next AI message in pieces: text, then its tool calls, then an empty last one with usage and finish reason."""
    action = next_action(messages, bound_tools(tools))
    identity = f"demo-{uuid.uuid4().hex}"
    words = re.findall(r"\S+\s*|\s+", action.text)
    size = max(1, math.ceil(len(words) / MAX_CHUNKS))
    for start in range(0, len(words), size):
        piece = "".join(words[start : start + size])
        yield ChatGenerationChunk(message=AIMessageChunk(content=piece, id=identity))
    for index, (name, args) in enumerate(action.calls):
        call = tool_call_chunk(name=name, args=json.dumps(args), id=f"call_{uuid.uuid4().hex[:24]}", index=index)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", id=identity, tool_call_chunks=[call]))
    read = sum(len(str(message.text).split()) for message in messages)
    written = len(action.text.split()) + sum(len(json.dumps(args).split()) for _, args in action.calls)
    last = AIMessageChunk(
        content="",
        id=identity,
        usage_metadata=UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written),
        response_metadata={
            "model_name": model_name,
            "model_provider": "agent-runner",
            "finish_reason": "tool_calls" if action.calls else "stop",
        },
        chunk_position="last",
    )
    yield ChatGenerationChunk(message=last)
