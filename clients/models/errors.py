"""What went wrong with a model, in words that name the cause, and what to do about it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PROVIDERS = frozenset({"anthropic", "openai", "ollama", "httpx", "httpcore", "langchain_core", "langchain_ollama"})
_TOO_LONG = re.compile(
    r"context[_ ]length|context[_ ]window|maximum context|prompt is too long|too many tokens|input is too long", re.I
)
_NO_MODEL = re.compile(r"model.{0,80}(not found|does not exist|not exist)|not_found_error|model_not_found", re.I | re.S)


class ModelError(Exception):
    """No usable model: `advice` says what to set. Raised when the model is built."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    text: str
    advice: str


NO_KEY = _Cause(
    text="the model provider refused the API key",
    advice="Set a valid ANTHROPIC_API_KEY or OPENAI_API_KEY (or STIGMER_LLM_API_KEY) where the worker runs.",
)
RATE_LIMIT = _Cause(
    text="the model provider's rate limit or quota was reached",
    advice="Wait and send the message again, lower AGENT_RUNNER_CONCURRENCY, or raise the quota at the provider.",
)
TOO_LONG = _Cause(
    text="the conversation is too long for the model's context window",
    advice="Start a new session, ask for less in one message, or choose a model with a larger context window.",
)
UNREACHABLE = _Cause(
    text="the model provider could not be reached",
    advice="Check the network, a proxy and OPENAI_BASE_URL or OLLAMA_BASE_URL; agent-runner doctor tests the model.",
)
NO_MODEL = _Cause(
    text="the model provider does not know this model",
    advice="Correct the model's name (--model or STIGMER_LLM_MODEL).",
)
PROVIDER_DOWN = _Cause(
    text="the model provider failed on its side",
    advice="Send the message again; if it stays so, look at the provider's status page.",
)


def explain_model_error(error: BaseException) -> tuple[str, str] | None:
    """(text, advice) if a model provider's exception is the cause, however deep in the chain; else None.

    Works by class names and status codes, so that no provider's library is imported for it.
    """
    found: _Cause | None = None
    texts: list[str] = []
    for link in _chain(error):
        if isinstance(link, ModelError) and found is None:
            return str(link), link.advice
        cause = _cause_of(link)
        if cause is None or found not in (None, cause):
            continue
        found = cause
        text = " ".join(str(link).split())
        if text and not any(text in known for known in texts):
            texts.append(text)  # what wraps it may have said less than the provider
    return (": ".join([found.text, *texts]), found.advice) if found else None


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
        # Some clients check the key before they build anything of their own.
        return NO_KEY if "api_key" in str(error) and "environment variable" in str(error) else None
    text, status = str(error), getattr(error, "status_code", None)
    if "ContextOverflowError" in names or _TOO_LONG.search(text):
        return TOO_LONG
    if status in (401, 403) or "AuthenticationError" in names or "api_key" in text:
        return NO_KEY
    if status == 429 or "RateLimitError" in names:
        return RATE_LIMIT
    if names & {"APIConnectionError", "ConnectError", "TransportError", "TimeoutException", "APITimeoutError"}:
        return UNREACHABLE
    if status == 404 or _NO_MODEL.search(text):
        return NO_MODEL
    if isinstance(status, int) and status >= 500:
        return PROVIDER_DOWN
    return None
