"""Traces are off unless they are asked for, and then everything in them is masked."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool

from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.tracing.tracing import NO_SPAN, OFF, context_in, open_tracing
from agent_runner.status.event_logger import event_logger
from tests.support.otlp_receiver import Receiver, receiver

CANARY = "canary-55e1a"
VARIABLES = ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_ENDPOINT")


@pytest.fixture
def otlp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with receiver() as kept:
        yield kept


@tool
def look(name: str) -> str:
    """Look it up."""
    raise ValueError(f"no {name} there")


@pytest.mark.parametrize("content", [True, False])
def test_every_text_is_masked(otlp: Receiver, content: bool) -> None:
    """Names of tools and agents, arguments, results, messages and errors; what was said only when it is wanted."""
    tracing = open_tracing(Settings(otlp_endpoint=otlp.url, trace_content=content), "worker")
    run = CurrentRun(thread_id="t", mask=Mask([CANARY]))
    with tracing.span("outer"):
        handlers = list(tracing.calls_of(run))

        def work(text: str) -> str:
            with pytest.raises(ValueError, match="no canary"):
                look.invoke({"name": text}, {"callbacks": handlers})
            return text

        metadata = {"lc_agent_name": f"agent {CANARY}"}
        inner = RunnableLambda(work).with_config(metadata=metadata)
        RunnableLambda(inner.invoke).invoke(CANARY, {"callbacks": handlers})
    tracing.close(10)
    assert CANARY.encode() not in otlp.everything
    spans = {span.name: span for span in otlp.spans()}
    assert set(spans) == {"outer", "execute_tool look", "invoke_agent agent ********"}
    failed = spans["execute_tool look"]
    assert failed.failed
    assert failed.said == "no ******** there"
    assert ("gen_ai.tool.call.arguments" in failed.attributes) is content


def test_messages_have_their_parts(otlp: Receiver) -> None:
    """Roles and parts are those of OpenTelemetry's convention; each text is masked before it becomes JSON."""
    tracing = open_tracing(Settings(otlp_endpoint=otlp.url, trace_content=True), "worker")
    from agent_runner.clients.tracing.call_spans import CallSpans

    with tracing.span("outer"):
        (handler,) = tracing.calls_of(CurrentRun(thread_id="t", mask=Mask([CANARY])))
    assert isinstance(handler, CallSpans)
    said = handler._said(
        [
            HumanMessage(f"use {CANARY}"),
            AIMessage("yes", tool_calls=[{"id": "1", "name": "look", "args": {"name": [CANARY]}}]),
            ToolMessage(f"found {CANARY}", tool_call_id="1"),
        ]
    )
    tracing.close(10)
    assert CANARY not in said
    assert '{"role": "user", "parts": [{"type": "text", "content": "use ********"}]}' in said
    assert '{"type": "tool_call", "id": "1", "name": "look", "arguments": {"name": ["********"]}}' in said
    assert '{"type": "tool_call_response", "id": "1", "response": "found ********"}' in said


def test_off_costs_nothing() -> None:
    """Without a setting there is one empty span for all, no handler, no context."""
    assert open_tracing(Settings(otlp_endpoint=""), "worker") is OFF
    assert OFF.span("any", "server", parent={}, a__b="c") is NO_SPAN
    assert list(OFF.calls_of(CurrentRun(thread_id="t"))) == []
    assert OFF.carried() == {}


def test_off_imports_nothing() -> None:
    """Neither a server nor a worker brings the exporter, or what makes spans."""
    modules = "agent_runner.app.server.composition, agent_runner.tasks.worker.serve, agent_runner.tasks.run.execution"
    look_at = f"import sys, {modules}; print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-P", "-c", look_at], capture_output=True, text=True, check=True).stdout
    assert "agent_runner.clients.tracing.otel" not in said
    assert "opentelemetry.exporter" not in said


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OTEL_SDK_DISABLED", "true", "OTEL_SDK_DISABLED"),
        ("OTEL_TRACES_EXPORTER", "none", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "4318"),
    ],
)
def test_what_is_not_supported_is_said(
    otlp: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str, says: str
) -> None:
    """OpenTelemetry's own switches count, and a protocol that is not spoken is named in the log."""
    monkeypatch.setenv(name, value)
    assert event_logger(__name__)
    assert open_tracing(Settings(otlp_endpoint=otlp.url), "server") is OFF
    assert says in caplog.text


def test_a_receiver_that_is_away_holds_nothing_up(otlp: Receiver) -> None:
    """Spans are made, and the close gives up although the exporter is still at it."""
    tracing = open_tracing(Settings(otlp_endpoint="http://127.0.0.1:9"), "worker")
    with tracing.span("one"):
        pass
    tracing.close(0.1)
    (ending,) = (thread for thread in threading.enumerate() if thread.name == "traces")
    assert ending.is_alive()
    ending.join()


def test_without_the_extra(otlp: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks for traces without the packages reads what to install, and the process goes on."""
    monkeypatch.delitem(sys.modules, "agent_runner.clients.tracing.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert open_tracing(Settings(otlp_endpoint=otlp.url), "server") is OFF
    assert "pip install 'agent-runner[otel]'" in caplog.text


def test_a_context_is_taken_from_headers() -> None:
    """Only the two fields of W3C, and only texts."""
    given = {"traceparent": "00-a-b-01", "tracestate": b"x", "other": "y"}
    assert context_in(given) == {"traceparent": "00-a-b-01"}
    assert context_in(None) == {}
