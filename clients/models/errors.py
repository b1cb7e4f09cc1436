"""Explains an error of a model: a text that names the cause, and advice.

A provider reports an error in three ways: the status of its answer, an error in the middle of a stream whose status was
200, or a connection that ends. So the exception's type and the error's own type and code count as much as the status.
"""

import json
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agent_runner.clients.models.provider_words import (
    fields_of,
    is_page,
    kind_and_code,
    retry_after_s,
    said_in,
    sentence,
    status_of,
)
from agent_runner.status.requests.model_failures import ModelFailure

_PROVIDERS = frozenset(
    {
        *("anthropic", "openai", "ollama", "langchain_core", "langchain_openai", "langchain_anthropic"),
        *("langchain_ollama", "httpx", "httpx2", "httpcore", "httpcore2", "agent_runner"),
        *("langchain_google_genai", "google", "langchain_aws", "botocore"),
    }
)
LONGEST_WAIT_S = 120
"""The clients wait for a Retry-After up to this, and ask only once where it is longer."""
_TOO_LONG = re.compile(
    r"context[_ ]length|context[_ ]window|maximum context|prompt is too long|too many tokens|input is too long", re.I
)
_NO_MODEL = re.compile(r"model.{0,80}(not found|does not exist|not exist)|not_found_error|model_not_found", re.I | re.S)


class ModelError(Exception):
    """There is no usable model; `advice` says what to set. Raised when the model is built. `passes`: what `passing`
    says of it."""

    def __init__(self, text: str, advice: str, *, passes: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.advice = advice
        self.passes = passes or {}


class ProviderError(Exception):
    """A provider's error inside a stream, which its client did not recognise as one."""

    def __init__(self, body: Any) -> None:
        super().__init__(said_in(body) or "the provider failed")
        self.body = body


class BrokenStream(ModelError):
    """A model's answer broke off, or did not begin."""

    def __init__(self, *, began: bool, text: str = "", advice: str = "") -> None:
        ended = "the model's answer broke off: the stream ended without the reason that this provider always gives"
        super().__init__(
            text or (ended if began else "the model's answer is empty: the stream ended before it began"),
            advice or BROKE_OFF.advice,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    text: str
    advice: str
    failure: ModelFailure


NO_KEY = _Cause(
    failure=ModelFailure.KEY_REFUSED,
    text="the model provider refused the API key",
    advice="Set a valid ANTHROPIC_API_KEY or OPENAI_API_KEY (or STIGMER_LLM_API_KEY) where the worker runs.",
)
RATE_LIMIT = _Cause(
    failure=ModelFailure.RATE_LIMITED,
    text="the model provider's rate limit or quota was reached",
    advice="Wait and send the message again, lower AGENT_RUNNER_CONCURRENCY, or raise the quota at the provider.",
)
TOO_LONG = _Cause(
    failure=ModelFailure.TOO_LONG,
    text="the conversation is too long for the model's context window",
    advice="Start a new session, ask for less in one message, or choose a model with a larger context window.",
)
UNREACHABLE = _Cause(
    failure=ModelFailure.UNREACHABLE,
    text="the model provider could not be reached",
    advice="Check the network, a proxy and OPENAI_BASE_URL or OLLAMA_BASE_URL; agent-runner doctor tests the model.",
)
NO_MODEL = _Cause(
    failure=ModelFailure.UNKNOWN_MODEL,
    text="the model provider does not know this model",
    advice="Correct the model's name (--model or STIGMER_LLM_MODEL).",
)
PROVIDER_DOWN = _Cause(
    failure=ModelFailure.PROVIDER_DOWN,
    text="the model provider failed on its side",
    advice="Send the message again; if it stays so, look at the provider's status page.",
)


BROKE_OFF = _Cause(
    failure=ModelFailure.BROKE_OFF,
    text="the model's answer broke off",
    advice="Send the message again; if it stays so, look at time limits of proxies and gateways on the way to the"
    " provider, and at the provider's own log.",
)
ON_THE_WAY = _Cause(
    failure=ModelFailure.ANSWERED_BY_ANOTHER,
    text="something on the way to the model provider answered in its place",
    advice="Check OPENAI_BASE_URL, ANTHROPIC_BASE_URL or OLLAMA_BASE_URL and the proxies on the way; if they are right,"
    " send the message again.",
)
REFUSED_REQUEST = _Cause(
    failure=ModelFailure.REQUEST_REFUSED,
    text="the model provider refused the request",
    advice="Read the provider's words: something in the request is not for this model. Choose another model, or"
    " correct what it names.",
)
_NOTHING_CAME = ("No generations found in stream.", "No data received from Ollama stream.")
_NO_KEY_KINDS = ("authentication_error", "permission_error")
_OVERLOADED = re.compile(r"overload|unavailable|timeout|server_?error|api_error|internal|engine|bad_?gateway", re.I)
OLLAMA_DOWN = _Cause(
    failure=ModelFailure.PROVIDER_DOWN,
    text="Ollama failed in the middle of the answer",
    advice="Send the message again; if it stays so, look at Ollama's own log: it often has too little memory for the"
    " model.",
)
ONLY_LOADED = _Cause(
    failure=ModelFailure.BROKE_OFF,
    text="Ollama has loaded or unloaded the model and gave no answer",
    advice="Send the message again when the model is loaded (ollama ps); if it stays so, look at Ollama's own log.",
)
_AGAIN = (BROKE_OFF, ON_THE_WAY, OLLAMA_DOWN, UNREACHABLE, PROVIDER_DOWN, RATE_LIMIT)
"""What may be over a moment later."""


def environment_error(error: BaseException) -> ModelError | None:
    """The error for something in the environment that no client can use: a proxy (no package for SOCKS, no usable URL),
    certificates that are not there. Else None."""
    text = str(error)
    if named := _certificates(error):
        return ModelError(
            f"{named} cannot be read as certificates: {text}",
            f"Correct or unset {named.partition('=')[0]} where the worker runs.",
        )
    if isinstance(error, ImportError) and "socks" in text.lower():
        return ModelError(
            "the environment names a SOCKS proxy, and the package for it is not installed",
            "Install socksio where the worker runs, or set ALL_PROXY, HTTPS_PROXY and HTTP_PROXY to an HTTP proxy.",
        )
    if isinstance(error, ValueError) and "proxy" in text.lower() and "scheme" in text.lower():
        return ModelError(
            f"the proxy that the environment names cannot be used: {text}",
            "Correct ALL_PROXY, HTTPS_PROXY or HTTP_PROXY: http://host:port.",
        )
    return None


def _certificates(error: BaseException) -> str:
    """The variable that names the certificates, if Python failed to load them: its error names no file."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    code = frame.tb_frame.f_code if frame is not None else None
    if not isinstance(error, OSError) or code is None or code is not ssl.create_default_context.__code__:
        return ""
    return next((f"{name}={os.environ[name]}" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ), "")


def explain_model_error(error: BaseException) -> tuple[str, str] | None:
    """(text, advice) if an exception of a model provider is the cause, at any depth of the chain; else None.

    Works by class names, status codes and the error's body, so that no provider's library is imported for it.
    """
    found: _Cause | None = None
    texts: list[str] = []
    wait_s = 0.0
    for link in _chain(error):
        named = link if isinstance(link, ModelError) else environment_error(link) or _no_answer(link)
        if named is not None and found is None:
            return str(named), named.advice
        cause = _cause_of(link)
        if cause is None or not (found in (None, cause) or {found, cause} == {UNREACHABLE, BROKE_OFF}):
            continue
        found = BROKE_OFF if BROKE_OFF in (found, cause) else cause
        wait_s = wait_s or retry_after_s(getattr(link, "response", None))
        text = sentence(link)
        if text and not any(text in known for known in texts):
            texts.append(text)  # the exception around it may say less than the provider
    if found is None:
        return None
    if len(texts) > 1:
        texts = [text for text in texts if text != "Connection error."]  # another text says which error it was
    told, advice = ": ".join([found.text, *texts]), found.advice
    if wait_s:
        told += f" (it asks to wait {wait_s:g} s)"
        if wait_s > LONGEST_WAIT_S:
            told += f"; it was asked once only, because a run waits {LONGEST_WAIT_S} s at most"
        advice = f"The provider takes requests again in {wait_s:g} s. {advice}"
    return told, advice


def passing(error: BaseException) -> dict[str, Any]:
    """`transient`, and `retry_after_s` if the provider names a time, for a model's error that may be over a moment
    later; else empty."""
    wait_s, cause = 0.0, None
    for link in _chain(error):
        wait_s = wait_s or retry_after_s(getattr(link, "response", None))
        if cause is None and (isinstance(link, BrokenStream) or _no_answer(link) is not None):
            cause = BROKE_OFF
        elif cause is None and isinstance(link, ModelError):
            return dict(link.passes)
        cause = cause or _cause_of(link)
    if cause not in _AGAIN:
        return {}
    return {"transient": True} | ({"retry_after_s": wait_s} if wait_s else {})


def failure_of(error: BaseException) -> ModelFailure | None:
    """Why the model gave no answer; None if the error is not a model's."""
    broke_off = False
    for link in _chain(error):
        if cause := _cause_of(link):
            return cause.failure
        if isinstance(link, BrokenStream) or _no_answer(link) is not None:
            broke_off = True
        elif environment_error(link) is not None or isinstance(link, ModelError):
            return ModelFailure.NOT_CONFIGURED
    return ModelFailure.BROKE_OFF if broke_off else None


def broken_stream(error: Exception, *, opened: bool, began: bool, client_tries: bool) -> Exception | None:
    """The error to raise for an error in a stream, if another try may help; else None. Also None if the client has
    tried again already: a client that tries by itself does so until the provider's answer opens."""
    if isinstance(error, BrokenStream):
        return error
    if isinstance(error, json.JSONDecodeError):  # the clients parse each event, and the last one may be incomplete
        return BrokenStream(began=began, text=f"{BROKE_OFF.text}: the provider sent something that is no JSON")
    if isinstance(error, ValidationError):
        return BrokenStream(
            began=began, text=f"{BROKE_OFF.text}: the provider sent what is not in its protocol: {fields_of(error)}"
        )
    cause = next((cause for cause in map(_cause_of, _chain(error)) if cause), None)
    if cause not in _AGAIN or (client_tries and not opened):
        return None
    explained = explain_model_error(error)
    assert explained is not None
    text, advice = explained
    seen = BROKE_OFF if opened else UNREACHABLE
    if cause in (UNREACHABLE, BROKE_OFF):
        text, advice = text.replace(cause.text, seen.text, 1), seen.advice
    broken = BrokenStream(began=began, text=text, advice=advice)
    broken.__cause__ = error
    return broken


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _cause_of(error: BaseException) -> _Cause | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if not modules & _PROVIDERS:
        # Some clients check the key first and raise an error that is not of their own type.
        return NO_KEY if "api_key" in str(error) and "environment variable" in str(error) else None
    if "agent_runner" in modules and not isinstance(error, ProviderError):
        return None
    return _broken_connection(names, str(error)) or _told(error, names)


def _told(error: BaseException, names: set[str]) -> _Cause | None:
    text, status = str(error), status_of(error)
    named, code = kind_and_code(getattr(error, "body", None))
    kind = named.lower()
    status = code if status in (None, 200) and isinstance(code, int) else status
    if "ContextOverflowError" in names or _TOO_LONG.search(f"{text} {code}"):
        return TOO_LONG
    if is_page(text) or is_page(said_in(getattr(error, "body", None))):
        return ON_THE_WAY
    if status in (401, 403) or kind in _NO_KEY_KINDS or "AuthenticationError" in names or "api_key" in text:
        return NO_KEY
    if status == 429 or "RateLimitError" in names or kind.startswith(("rate_limit", "insufficient_quota")):
        return RATE_LIMIT
    if status == 404 or _NO_MODEL.search(text) or kind == "not_found_error":
        return NO_MODEL
    if (isinstance(status, int) and status >= 500) or _OVERLOADED.search(kind):
        return PROVIDER_DOWN
    if status in (400, 413, 422) or kind == "invalid_request_error":
        return REFUSED_REQUEST
    # An error in the middle of a stream has no status of its own; Ollama's has -1.
    if "ResponseError" in names and status == -1:
        return OLLAMA_DOWN
    if isinstance(error, ProviderError) or "APIError" in names:
        return PROVIDER_DOWN
    return None


def _no_answer(error: BaseException) -> BrokenStream | None:
    """The error for LangChain's message about an empty stream; None for other errors."""
    said = isinstance(error, ValueError) and str(error) in _NOTHING_CAME
    return BrokenStream(began=False) if said else None


def _broken_connection(names: set[str], text: str) -> _Cause | None:
    if "RemoteProtocolError" in names and "without sending a response" in text:
        return UNREACHABLE
    if names & {"RemoteProtocolError", "LocalProtocolError", "ReadError", "StreamChunkTimeoutError"}:
        return BROKE_OFF
    if names & {"APIConnectionError", "ConnectError", "TransportError", "TimeoutException", "APITimeoutError"}:
        return UNREACHABLE
    return None
