"""The providers' chat models, with complete streams (`whole.py`) and with data that their clients would drop.

Each is imported only when it is used: `openai_model` and so on import the provider's package.
"""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from agent_runner.clients.models.errors import LONGEST_WAIT_S, ONLY_LOADED, BrokenStream, ProviderError
from agent_runner.clients.models.opened import watch
from agent_runner.clients.models.order.model_call import time_left_s
from agent_runner.clients.models.provider_words import retry_after_s
from agent_runner.clients.models.whole import whole

_RESPONSE_FAILED = re.compile(
    r"""ResponseError\(code='(?P<code>\w+)', message=(?P<q>['"])(?P<said>.*?)(?P=q)[,)]""", re.S
)
_ERROR_EVENT = re.compile(r"(?P<code>[a-z][a-z_]+_[a-z_]+): (?P<said>.+)", re.S)


def openai_model(**options: Any) -> BaseChatModel:
    from langchain_openai import ChatOpenAI
    from openai import BadRequestError

    class OpenAIModel(ChatOpenAI):  # type: ignore[misc, unused-ignore]
        """Also for the many servers that speak this protocol, each in its own way."""

        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            kwargs.pop("run_manager", None)
            opened = super()._astream

            async def opened_without_usage() -> AsyncIterator[ChatGenerationChunk]:
                try:
                    async for chunk in opened(*args, **kwargs):
                        yield chunk
                except ValueError as error:
                    if type(error) is not ValueError or (told := _told_by_responses(str(error))) is None:
                        raise
                    raise told from error
                except BadRequestError as error:
                    if "stream_options" not in str(error) or not self.stream_usage:
                        raise
                    self.stream_usage = False  # the gateway does not know this option: better no counts than no answer
                    async for chunk in opened(*args, **kwargs):
                        yield chunk

            async for chunk in whole(opened_without_usage, args[0] if args else kwargs["messages"]):
                yield chunk

        def _convert_chunk_to_generation_chunk(
            self, chunk: dict[str, Any], *args: Any, **kwargs: Any
        ) -> ChatGenerationChunk | None:
            delta = _delta_of(chunk)
            made = super()._convert_chunk_to_generation_chunk(chunk, *args, **kwargs)
            if made is not None and isinstance(made.message, AIMessageChunk):
                made.message.additional_kwargs |= _dropped(delta)
            return made

    OpenAIModel.__name__ = OpenAIModel.__qualname__ = "ChatOpenAI"
    model = OpenAIModel(**options)
    _wait_in_bounds(model.root_async_client)
    watch(model.root_async_client._client)
    return model


def anthropic_model(**options: Any) -> BaseChatModel:
    from langchain_anthropic import ChatAnthropic
    from langchain_anthropic.chat_models import _create_usage_metadata

    class AnthropicModel(ChatAnthropic):  # type: ignore[misc, unused-ignore]
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            kwargs.pop("run_manager", None)
            opened = super()._astream
            async for chunk in whole(lambda: opened(*args, **kwargs), args[0] if args else kwargs["messages"]):
                yield chunk

        def _make_message_chunk_from_anthropic_event(self, event: Any, **kwargs: Any) -> Any:
            made, start = super()._make_message_chunk_from_anthropic_event(event, **kwargs)
            # Anthropic sends the usage again at the end, but not every server that speaks its protocol does
            if made is not None and event.type == "message_start" and event.message.usage:
                made.usage_metadata = _create_usage_metadata(event.message.usage)
            return made, start

    AnthropicModel.__name__ = AnthropicModel.__qualname__ = "ChatAnthropic"
    model = AnthropicModel(**options)
    _wait_in_bounds(model._async_client)
    watch(model._async_client._client)
    return model


def ollama_model(**options: Any) -> BaseChatModel:
    from langchain_ollama import ChatOllama

    class OllamaModel(ChatOllama):  # type: ignore[misc, unused-ignore]
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            kwargs.pop("run_manager", None)
            opened = super()._astream
            asked = args[0] if args else kwargs["messages"]
            async for chunk in whole(lambda: opened(*args, **kwargs), asked, client_tries=False):
                yield chunk

        async def _aiterate_over_stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            # keeps the reasoning of models that reason without being asked; the request stays as it was
            async for chunk in super()._aiterate_over_stream(*args, **{**kwargs, "reasoning": True}):
                yield chunk

        async def _acreate_chat_stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            said = False
            async for part in super()._acreate_chat_stream(*args, **{**kwargs, "reasoning": self.reasoning}):
                if isinstance(part, str):
                    continue
                said = said or _says_something(part)
                if not said and part.get("done_reason") in ("load", "unload"):
                    raise BrokenStream(began=False, text=ONLY_LOADED.text, advice=ONLY_LOADED.advice)
                yield part

    OllamaModel.__name__ = OllamaModel.__qualname__ = "ChatOllama"
    model = OllamaModel(**options)
    watch(model._async_client._client)
    return model


def other_model(provider: str, name: str, **options: Any) -> BaseChatModel:
    """A model of any other provider that LangChain's `init_chat_model` knows by this name. Its key comes from the
    worker's environment, as its package reads it. Raises ImportError if that package is not installed."""
    from langchain.chat_models import init_chat_model

    model: Any = init_chat_model(name, model_provider=provider, **options)
    model.__class__ = _completed(type(model))
    return cast(BaseChatModel, model)


def _completed(kind: type[BaseChatModel]) -> type[BaseChatModel]:
    """The class, with its stream completed as those of the other providers; a model that cannot stream is left."""
    if kind._astream is BaseChatModel._astream and kind._stream is BaseChatModel._stream:
        return kind

    class Completed(kind):  # type: ignore[misc, valid-type]
        async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
            kwargs.pop("run_manager", None)
            opened = super()._astream
            asked = args[0] if args else kwargs["messages"]
            async for chunk in whole(lambda: opened(*args, **kwargs), asked, always_ends=False):
                yield chunk

    Completed.__name__ = Completed.__qualname__ = kind.__name__
    return Completed


def _wait_in_bounds(client: Any) -> None:
    """Make a client give up if a Retry-After is longer than `LONGEST_WAIT_S`, or than the run has time. By itself
    Anthropic's waits that long, even weeks, and the run would end with a wrong reason."""
    judged = client._should_retry

    def should_retry(response: Any) -> bool:
        return retry_after_s(response) <= min(LONGEST_WAIT_S, time_left_s()) and bool(judged(response))

    client._should_retry = should_retry


def _told_by_responses(text: str) -> ProviderError | None:
    """The error that the Responses API told in its stream. The client raises it as a text: `code: message`, or the
    error's fields in the form of Python."""
    found = _RESPONSE_FAILED.match(text) or _ERROR_EVENT.match(text)
    if found is None:
        return None
    return ProviderError({"error": {"type": found["code"], "message": found["said"]}})


def _delta_of(chunk: dict[str, Any]) -> dict[str, Any]:
    """The delta of a chunk of the OpenAI protocol. Raises ProviderError for an error that looks like a chunk."""
    choices = chunk.get("choices") or ()
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    bare = not choices and not chunk.get("usage") and isinstance(chunk.get("message"), str)
    if bare or chunk.get("object") == "error" or chunk.get("error") or choice.get("finish_reason") == "error":
        raise ProviderError(chunk.get("error") or chunk)
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return {}
    for number, call in enumerate(delta.get("tool_calls") or ()):
        # the client drops all calls of a chunk in which one has no index
        if not isinstance(call, dict):
            continue
        if call.get("index") is None:
            call["index"] = -1 - number
        function = call.get("function")
        if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
            function["arguments"] = json.dumps(function["arguments"])  # some servers send an object, not a text
    return delta


def _says_something(part: Any) -> bool:
    message = part.get("message") or {}
    return bool(message.get("content") or message.get("thinking") or message.get("tool_calls"))


def _dropped(delta: dict[str, Any]) -> dict[str, str]:
    """The fields of a delta that the client drops: reasoning (`reasoning_content` of vLLM, SGLang and DeepSeek,
    `reasoning` of OpenRouter and Ollama, some send both) and the text of a refusal."""
    found = {
        "reasoning_content": delta.get("reasoning_content") or delta.get("reasoning"),
        "refusal": delta.get("refusal"),
    }
    return {name: text for name, text in found.items() if text and isinstance(text, str)}
