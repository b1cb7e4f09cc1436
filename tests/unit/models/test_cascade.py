"""Which model is chosen, and what is said when none can be."""

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from subprocess import run
from typing import Any

import httpx2
import pytest
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from agent_runner.clients.models.cascade import build_model, choose
from agent_runner.clients.models.demo import DemoModel
from agent_runner.clients.models.errors import ModelError, explain_model_error, failure_of
from agent_runner.clients.models.order.model_call import bounded_by
from agent_runner.status.requests.model_failures import ModelFailure
from tests.unit.models.settings import SomeSettings

KEY = SecretStr("sk-test-key-1234")


@contextmanager
def server(status: int, answer: dict[str, object]) -> Iterator[str]:
    """A real HTTP server that answers everything with `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


@pytest.mark.parametrize("asked", ["", "demo", "demo:offline-demo", "offline-demo"])
def test_the_demo_model_is_for_one_machine(asked: str) -> None:
    """Elsewhere nobody gets it, by default or by name, unless the operator has set it."""
    with pytest.raises(ModelError, match="MODE=local") as refused:
        choose(SomeSettings(is_local=False), asked)
    assert "STIGMER_LLM_PROVIDER=demo" in refused.value.advice
    assert choose(SomeSettings(is_local=False, llm_provider="demo"), asked)[:2] == ("demo", "offline-demo")
    assert choose(SomeSettings(is_local=False, llm_provider="demo", anthropic_api_key=KEY))[0] == "demo"
    with pytest.raises(ModelError, match="MODE=local"):
        choose(SomeSettings(is_local=False, anthropic_api_key=KEY), "demo")


@pytest.mark.parametrize(
    ("settings", "asked", "expected"),
    [
        (SomeSettings(), "", ("demo", "offline-demo")),
        (SomeSettings(anthropic_api_key=KEY, openai_api_key=KEY), "", ("anthropic", "claude-sonnet-4-5")),
        (SomeSettings(openai_api_key=KEY), "", ("openai", "gpt-5.5")),
        (SomeSettings(openai_base_url="http://localhost:1"), "", ("openai", "gpt-5.5")),
        (SomeSettings(openai_base_url="http://localhost:1", llm_model="local"), "", ("openai", "local")),
        (SomeSettings(llm_provider="openai", llm_model="m", anthropic_api_key=KEY), "", ("openai", "m")),
        (SomeSettings(openai_api_key=KEY), "claude-x", ("anthropic", "claude-x")),
        (SomeSettings(openai_api_key=KEY), "ollama:tiny", ("ollama", "tiny")),
        (SomeSettings(openai_api_key=KEY), "demo", ("demo", "offline-demo")),
        (SomeSettings(openai_api_key=KEY), "own-name", ("openai", "own-name")),
        (SomeSettings(llm_provider="demo", anthropic_api_key=KEY), "", ("demo", "offline-demo")),
    ],
)
def test_the_cascade(settings: SomeSettings, asked: str, expected: tuple[str, str]) -> None:
    """The named provider, else the first that is configured, else the demo model; a name that is asked for wins."""
    assert choose(settings, asked)[:2] == expected


def test_a_reachable_ollama_is_found() -> None:
    """An Ollama that answers with a model is used before the demo model."""
    with server(200, {"models": [{"name": "tiny:1b"}]}) as url:
        assert choose(SomeSettings(ollama_base_url=url))[:2] == ("ollama", "tiny:1b")


def test_the_demo_model_is_said_in_one_line() -> None:
    """With nothing configured the description says that it is the demo model and why."""
    model, line = build_model(SomeSettings())
    assert isinstance(model, DemoModel)
    assert "offline demo model" in line
    assert "no model is configured" in line
    assert "\n" not in line


@pytest.mark.parametrize("asked", ["claude-sonnet-4.5", "gpt-5.5", "anthropic:claude-x", "some-model"])
def test_a_named_model_without_a_key_is_an_error_with_advice(asked: str) -> None:
    """Nobody who names a model gets the demo model silently; the advice names a variable."""
    with pytest.raises(ModelError) as caught:
        build_model(SomeSettings(), asked)
    assert "API_KEY" in caught.value.advice


def test_an_unknown_provider_is_named() -> None:
    """A wrong STIGMER_LLM_PROVIDER names the right ones."""
    with pytest.raises(ModelError) as caught:
        build_model(SomeSettings(llm_provider="gemini"))
    assert "anthropic, openai, ollama, demo" in caught.value.advice


def test_openai_asks_for_usage_also_at_another_base_url() -> None:
    """Without stream_usage a custom base URL gives no token counts."""
    settings = SomeSettings(openai_base_url="http://localhost:1/v1", llm_max_tokens=5, llm_temperature=0.5)
    chosen: Any = build_model(settings, "openai:local")[0]
    assert chosen.stream_usage is True
    assert chosen.max_tokens == 5


def test_a_dotted_claude_name_is_what_the_api_knows() -> None:
    """claude-sonnet-4.5 is asked for as claude-sonnet-4-5."""
    chosen: Any = build_model(SomeSettings(anthropic_api_key=KEY), "claude-sonnet-4.5")[0]
    assert chosen.model == "claude-sonnet-4-5"


def test_no_provider_is_imported_for_the_demo_model() -> None:
    """Choosing the demo model does not pay for the providers' libraries."""
    code = (
        "import sys; from agent_runner.clients.models.cascade import build_model;"
        "from tests.unit.models.settings import SomeSettings; build_model(SomeSettings());"
        "print([m for m in ('anthropic', 'openai', 'ollama') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (401, "bad key", "refused the API key"),
        (429, "slow down", "rate limit"),
        (400, "This model's maximum context length is 8192 tokens", "context window"),
        (404, "The model `x` does not exist", "does not know this model"),
        (500, "oops", "failed on its side"),
    ],
)
async def test_errors_of_a_provider_name_their_cause(status: int, body: str, cause: str) -> None:
    """A real client against a real server: the text names the cause and keeps the original, the advice is there."""
    with server(status, {"error": {"message": body}}) as url:
        model, _ = build_model(SomeSettings(openai_base_url=url), "openai:x")
        with pytest.raises(Exception) as caught:
            await model.ainvoke([HumanMessage("hi")])
    explained = explain_model_error(caught.value)
    assert explained is not None
    assert cause in explained[0]
    assert body in explained[0]
    assert explained[1]


async def test_an_unreachable_provider_is_named() -> None:
    """A refused connection is told as one, also deep in a chain of exceptions."""
    model, _ = build_model(SomeSettings(openai_base_url="http://127.0.0.1:9"), "openai:x")
    with pytest.raises(Exception) as caught:
        await model.ainvoke([HumanMessage("hi")])
    outer = RuntimeError("node failed")
    outer.__cause__ = caught.value
    explained = explain_model_error(outer)
    assert explained is not None
    assert "could not be reached" in explained[0]


def test_other_errors_are_not_blamed_on_the_model() -> None:
    """An exception of a tool is none of the model's."""
    assert explain_model_error(ValueError("401 rate limit")) is None
    assert explain_model_error(TimeoutError()) is None


def test_a_provider_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name of `init_chat_model` whose package is installed, with the key that the package reads; its stream is
    completed like the others'."""
    monkeypatch.setenv("GOOGLE_API_KEY", "g-test-key-1234")
    model, line = build_model(SomeSettings(llm_temperature=0.5), "google_genai:gemini-2.5-flash")
    assert type(model).__name__ == "ChatGoogleGenerativeAI"
    assert (type(model).__module__, model.temperature) == ("agent_runner.clients.models.providers", 0.5)  # type: ignore[attr-defined]
    assert line == "gemini-2.5-flash at google_genai (model 'google_genai:gemini-2.5-flash' was asked for)"
    configured = SomeSettings(llm_provider="google_genai", llm_model="gemini-2.5-flash")
    assert choose(configured)[:2] == ("google_genai", "gemini-2.5-flash")
    with pytest.raises(ModelError, match="no model of provider 'google_genai' is named"):
        choose(SomeSettings(llm_provider="google_genai"))


def test_another_providers_key_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own words, as an error of the set-up; a fallback may stand in."""
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="provider 'google_genai' cannot be set up") as told:
        build_model(SomeSettings(), "google_genai:gemini-2.5-flash")
    assert failure_of(told.value) in (ModelFailure.NOT_CONFIGURED, ModelFailure.KEY_REFUSED)


@pytest.mark.parametrize("provider", ["bedrock", "bedrock_converse"])
def test_another_providers_package_is_missing(provider: str) -> None:
    """The package to install is named."""
    with pytest.raises(ModelError, match=f"the package for provider '{provider}' is not installed") as told:
        build_model(SomeSettings(), f"{provider}:anthropic.claude-sonnet-4-5-v1:0")
    assert told.value.advice == "Install langchain-aws where the worker runs."


def test_errors_of_other_providers() -> None:
    """Google's and AWS's errors tell their status in ways of their own."""
    errors = pytest.importorskip("google.genai.errors")
    limit = errors.ClientError(
        429, {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
    )
    assert failure_of(limit) is ModelFailure.RATE_LIMITED
    down = errors.ServerError(503, {"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}})
    assert failure_of(down) is ModelFailure.PROVIDER_DOWN


async def test_a_wait_is_no_longer_than_the_run() -> None:
    """A Retry-After that the run has no time for is not waited for, by either client that waits by itself."""
    settings = SomeSettings(openai_api_key=KEY, anthropic_api_key=KEY)
    openai, _ = build_model(settings, "openai:gpt-5")
    anthropic, _ = build_model(settings, "anthropic:claude-x")
    clients: list[Any] = [openai.root_async_client, anthropic._async_client]  # type: ignore[attr-defined]
    for client in clients:
        asked = httpx2.Response(429, headers={"retry-after": "60"}, request=httpx2.Request("POST", "http://x"))
        assert client._should_retry(asked)
        with bounded_by(lambda: 30.0):
            assert not client._should_retry(asked)
        with bounded_by(lambda: 90.0):
            assert client._should_retry(asked)
