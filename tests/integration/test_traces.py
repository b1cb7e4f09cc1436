"""One trace from the caller's request over the broker to the last tool call of a sub-agent, and no secret in it."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.shared import SharedStacks
from tests.integration.stack import KEY, Stack
from tests.integration.test_canary import Canaries, door, message, session_with_secrets
from tests.support.otlp_receiver import Receiver, Seen, receiver
from tests.support.ports import free_port
from tests.support.waiting import eventually

CALLER, CALLERS_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{CALLER}-{CALLERS_SPAN}-01"
CHAT, TOOL = "chat offline-demo", "execute_tool"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
Tree = dict[str, Any]


@contextmanager
def traced(folder: Path, **settings: str) -> Iterator[tuple[Stack, Receiver]]:
    with (
        receiver() as otlp,
        Stack.open(folder, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, **QUICK, **settings) as stack,
    ):
        stack.start_worker()
        yield stack, otlp
        stack.stop_all()  # what was not sent yet is sent now


def whole(otlp: Receiver, trace_id: str = CALLER) -> list[Seen]:
    """The spans of a trace once the run's last one and that of the request are there."""

    def ended() -> list[Seen] | None:
        spans = otlp.spans(trace_id)
        names = {span.kind for span in spans if not span.name.startswith("process EnsureThread")}
        return spans if {"server", "consumer"} <= names else None

    return eventually(ended, what=lambda: f"a whole trace; there is {[span.name for span in otlp.spans()]}")


def tree(spans: list[Seen], below: str = CALLERS_SPAN) -> list[Any]:
    """Names in order of their beginning, those of one time by name; a span with children is (name, children).

    Calls that no answer of the model stands between are those of one message: they run side by side, and on a full
    machine the first may have ended before the second begins.
    """
    groups: list[list[Seen]] = []
    for span in (span for span in spans if span.parent_id == below):
        calls = bool(groups) and all(each.name.startswith(TOOL) for each in (*groups[-1], span))
        together = calls or (bool(groups) and span.began < max(each.ended for each in groups[-1]))
        groups[-1].append(span) if together else groups.append([span])
    found: list[Any] = []
    for span in (span for group in groups for span in sorted(group, key=lambda span: span.name)):
        inner = tree(spans, span.span_id)
        found.append((span.name, inner) if inner else span.name)
    return found


@pytest.fixture(scope="module")
def otlp() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


@pytest.fixture
def stack(servers: SharedStacks, broker: str, otlp: Receiver) -> Iterator[Stack]:
    """Each test has a worker and a trace of its own."""
    with servers.lent(broker, OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url, **QUICK) as lent:
        yield lent


@pytest.fixture
def caller() -> str:
    """The id of a trace that somebody has begun."""
    return uuid.uuid4().hex


def traceparent(caller: str) -> str:
    return f"00-{caller}-{CALLERS_SPAN}-01"


@EVERY_BROKER
@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_one_trace_span_by_span(stack: Stack, otlp: Receiver, caller: str, pool: str) -> None:
    """The caller's trace goes on through request, message, task, agent, model, tools and sub-agent, in this order."""
    worker = stack.start_worker(AGENT_RUNNER_POOL=pool)
    created = stack.http.post(
        "/v1/executions",
        json={"message": "hello\n$ echo one\n@researcher look at $ echo two"},
        headers={"traceparent": traceparent(caller)},
    )
    id = created.raise_for_status().json()["metadata"]["id"]
    ended = stack.wait_for(id, "EXECUTION_COMPLETED")
    spans = whole(otlp, caller)
    worker.stop()  # what was not sent yet is sent now
    sub_agent = ("invoke_agent researcher", [CHAT, f"{TOOL} execute", CHAT])
    agent = [
        *(CHAT, f"{TOOL} write_todos", CHAT, f"{TOOL} execute", CHAT),
        *((f"{TOOL} task", [sub_agent]), f"{TOOL} write_todos", CHAT, f"{TOOL} write_todos", CHAT),
    ]
    run = ("process ExecuteGraphton", ["claim", "prepare", ("invoke_agent AgentRunner", agent), "settle"])
    sent = ("send ensure_thread", ["process EnsureThread", run])
    told = tree(spans)
    assert json.dumps(told) == json.dumps([("POST /v1/executions", [sent])])
    by_name = {span.name: span for span in spans}
    assert {span.service for span in spans} == {"agent-runner-server", "agent-runner-worker"}
    assert [
        by_name[n].kind for n in ("POST /v1/executions", "send ensure_thread", "process ExecuteGraphton", CHAT)
    ] == [*("server", "producer", "consumer", "client")]
    assert not [span.name for span in spans if span.failed]
    assert by_name["process ExecuteGraphton"].attributes["agent_runner.phase"] == "EXECUTION_COMPLETED"
    assert by_name["process ExecuteGraphton"].attributes["agent_runner.execution.id"] == id
    assert by_name["invoke_agent AgentRunner"].attributes["gen_ai.conversation.id"] == ended["spec"]["session_id"]
    chat = by_name[CHAT].attributes
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.request.model"] == "offline-demo"
    assert chat["gen_ai.usage.input_tokens"] > 0
    assert chat["gen_ai.usage.output_tokens"] > 0
    assert by_name[f"{TOOL} task"].attributes["gen_ai.tool.name"] == "task"
    assert b"echo two" not in otlp.everything, "what was said is left out by default"
    assert all(span.began <= span.ended for span in spans)


def test_a_call_over_grpc_and_its_turn(stack: Stack, otlp: Receiver, caller: str) -> None:
    """A caller over gRPC is honoured too; an execution that waits for its session stays in its own caller's trace."""
    stack.start_worker()
    first = stack.create("first\n$ sleep 1")
    session = first["spec"]["session_id"]
    asked = AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
    asked.metadata.name = "second"
    asked.spec.session_id, asked.spec.message = session, "second"
    metadata = (("authorization", f"Bearer {KEY}"), ("traceparent", traceparent(caller)))
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as channel:
        second = AgentExecutionCommandControllerStub(channel).create(asked, metadata=metadata, timeout=10)
    stack.wait_for(second.metadata.id, "EXECUTION_COMPLETED")
    spans = whole(otlp, caller)
    ((request, ((_, below),)),) = tree(spans)
    assert request == "ai.stigmer.agentic.agentexecution.v1.AgentExecutionCommandController/create"
    assert [name if isinstance(name, str) else name[0] for name in below] == [
        *("process EnsureThread", "process ExecuteGraphton")
    ]
    assert {span.attributes.get("agent_runner.execution.id") for span in spans if span.kind == "consumer"} == {
        second.metadata.id
    }


@pytest.mark.timeout(300)
def test_no_secret_is_in_a_span(tmp_path: Path) -> None:
    """Law L9, with the content of messages and calls switched on: there are the calls, and asterisks."""
    canaries = Canaries()
    settings = {"AGENT_RUNNER_SANDBOX_NETWORK": "on", "AGENT_RUNNER_TRACE_CONTENT": "true"}
    settings["OTEL_EXPORTER_OTLP_HEADERS"] = "x-tenant=tenant-secret-77"
    with door(canaries.values) as (port, calls), traced(tmp_path, **settings) as (stack, otlp):
        session = session_with_secrets(stack, canaries)
        env = {"FROM_RUNTIME": canaries.values["FROM_RUNTIME"]}
        body = {"message": message(port), "session_id": session, "env": env}
        created = stack.http.post("/v1/executions", json=body, headers={"traceparent": TRACEPARENT})
        stack.wait_for(created.json()["metadata"]["id"], "EXECUTION_COMPLETED", within_s=90)
        whole(otlp)
    assert calls == [True], "the tool did not use the three values"
    assert b"printenv FROM_AGENT" in otlp.everything
    assert otlp.everything.count(b"********") > 10
    assert canaries.found_in([("OTLP", otlp.everything)]) == []
    assert {headers.get("x-tenant") for headers in otlp.headers} == {"tenant-secret-77"}


def test_a_failure_is_seen_where_it_happened(stack: Stack, otlp: Receiver, caller: str) -> None:
    """The run, its agent and the call that failed are errors, with the class and the code; nothing else is."""
    away = f"http://127.0.0.1:{free_port()}/v1"
    model = {"STIGMER_LLM_PROVIDER": "openai", "STIGMER_LLM_MODEL": "m", "OPENAI_BASE_URL": away}
    stack.start_worker(OPENAI_API_KEY="sk-oai-123456", **model)
    body = {"message": "hello"}
    created = stack.http.post("/v1/executions", json=body, headers={"traceparent": traceparent(caller)})
    stack.wait_for(created.json()["metadata"]["id"], "EXECUTION_FAILED")
    spans = whole(otlp, caller)
    failed = {span.name: span for span in spans if span.failed}
    assert set(failed) == {"process ExecuteGraphton", "invoke_agent AgentRunner", "chat m"}
    assert failed["process ExecuteGraphton"].attributes["error.type"] == "E301"
    assert failed["chat m"].attributes["error.type"] == "OpenAIConnectionError"
    assert failed["chat m"].said


def test_off_there_is_nothing(tmp_path: Path) -> None:
    """Without the setting no message has a trace context, although the caller sent one."""
    with Stack.open(tmp_path) as stack:
        body = {"message": "hello"}
        created = stack.http.post("/v1/executions", json=body, headers={"traceparent": TRACEPARENT}).json()
        (queued,) = redis.Redis(port=stack.redis_port).lrange(stack.runner_queue, 0, -1)
        assert created["metadata"]["id"].encode() in queued
        assert b"traceparent" not in queued
