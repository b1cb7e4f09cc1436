"""Whole statuses by updateStatus: how many, how late, what becomes of those that fail, and the last one."""

import asyncio
import logging
import time
from collections.abc import Callable

import grpc
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecutionStatus
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import ExecutionPhase, MessageType, ToolCallStatus
from agent_runner.clients.reporting import compatible
from agent_runner.clients.reporting.compatible import CompatibleBackend
from agent_runner.clients.reporting.native import BackendError, BackendUnavailable
from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.compatible.claims import Saying, numbers
from tests.unit.compatible.contract_server import EXECUTION, TERMINAL, ContractServer, until

UPDATE = "AgentExecution.updateStatus"


def refusing(code: grpc.StatusCode, which: Callable[[int], bool]) -> Callable[[str, int], grpc.StatusCode | None]:
    """Refuses the updates with these numbers; 0 is the one that tells the start."""
    return lambda method, number: code if method == UPDATE and which(number) else None


def said(status: AgentExecutionStatus) -> str:
    return next((m.content for m in status.messages if m.type == MessageType.MESSAGE_AI), "")


@pytest.mark.promise("0.16")
@pytest.mark.promise("0.17")
async def test_an_update_every_ten_events(server: ContractServer, backend: CompatibleBackend) -> None:
    """25 events: the start, then updates that hold 10 and 20 events, then the last one with all and COMPLETED."""
    run = await Saying.begun(server, backend)
    await run.text(25)
    assert (await run.settle()).accepted
    assert [said(update) for update in server.updates] == ["", numbers(10), numbers(20), numbers(25)]
    phases = [update.phase for update in server.updates]
    assert phases == [ExecutionPhase.EXECUTION_IN_PROGRESS] * 3 + [ExecutionPhase.EXECUTION_COMPLETED]


@pytest.mark.promise("1.86")
@pytest.mark.promise("1.97")
@pytest.mark.parametrize(("interval", "updates"), [(5, 20), (10, 10), (20, 5)])
async def test_the_interval_is_a_setting(
    server: ContractServer, adapter: Callable[..., CompatibleBackend], interval: int, updates: int
) -> None:
    """100 events: 20, 10 or 5 updates between the start and the end."""
    run = await Saying.begun(server, adapter(status_update_interval=interval))
    await run.text(100)
    await run.settle()
    assert len(server.updates) == 1 + updates + 1


@pytest.mark.promise("1.87")
async def test_the_last_update_has_the_rest(server: ContractServer, backend: CompatibleBackend) -> None:
    """103 events, the last of them with the end: none is missing."""
    run = await Saying.begun(server, backend)
    await run.text(102)
    await run.settle(Phase.COMPLETED, ("text", {"id": "m-1", "text": "102 "}))
    assert said(server.execution.status) == numbers(103)


@pytest.mark.promise("1.94")
async def test_an_update_is_an_id_and_a_status(server: ContractServer, backend: CompatibleBackend) -> None:
    """Nothing else is in the request, and no other call writes a status."""
    run = await Saying.begun(server, backend)
    await run.text(10)
    await run.settle()
    requests = [request for method, request in server.calls if method == UPDATE]
    assert all([f.name for f, _ in request.ListFields()] == ["execution_id", "status"] for request in requests)
    assert "AgentExecution.update" not in server.methods
    assert server.foreign == []


@pytest.mark.promise("0.20")
@pytest.mark.promise("1.101")
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN])
async def test_every_second_update_is_refused(
    server: ContractServer,
    backend: CompatibleBackend,
    code: grpc.StatusCode,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends COMPLETED with everything; what a refused update said is in the next one; the log has its event."""
    monkeypatch.setattr(compatible, "FINAL_PAUSE_S", 0.01)
    server.refuse = refusing(code, lambda number: number % 2 == 1)
    run = await Saying.begun(server, backend)
    with caplog.at_level(logging.WARNING):
        await run.text(40)
        reply = await run.settle()
    assert (reply.accepted, reply.phase) == (True, Phase.COMPLETED)
    assert [said(status) for status in server.shown] == ["", numbers(20), numbers(40), numbers(40)]
    warned = [r.getMessage() for r in caplog.records if "failed, the next one has it too" in r.getMessage()]
    assert [text.split(" at ")[1].split(",")[0] for text in warned] == ["event 10 failed", "event 30 failed"]
    assert code.name in warned[0]


@pytest.mark.promise("1.98")
async def test_the_server_goes_away_and_comes_back(server: ContractServer, backend: CompatibleBackend) -> None:
    """The run goes on without it; its end is tried until it is stored."""
    run = await Saying.begun(server, backend)
    await run.text(10)
    await until(lambda: len(server.shown) == 2)
    await server.stop()
    await run.text(25)
    end = asyncio.create_task(run.settle())
    await asyncio.wait({end}, timeout=0.5)
    assert not end.done()
    await server.start()
    async with asyncio.timeout(20):
        assert (await end).accepted
    assert said(server.execution.status) == numbers(35)


async def test_a_process_that_leaves_gives_the_end_up(server: ContractServer, backend: CompatibleBackend) -> None:
    """Nobody waits any longer for a server that does not answer."""
    run = await Saying.begun(server, backend)
    await server.stop()
    with pytest.raises(BackendUnavailable):
        await asyncio.wait_for(run.settle(stop=True), 40)


async def test_a_slow_server_holds_nothing_up(server: ContractServer, backend: CompatibleBackend) -> None:
    """Saying waits for no update, which take 300 ms each; those that come meanwhile become one, and the last is
    whole."""
    run = await Saying.begun(server, backend)
    server.delay_s[UPDATE] = 0.3
    for _ in range(10):
        await run.text(20)
        await asyncio.sleep(0.1)
    await run.settle()
    assert 2 < len(server.updates) < 20  # there are 20 of them when each is waited for
    shown = [len(said(status)) for status in server.shown]
    assert shown == sorted(shown)
    assert said(server.execution.status) == numbers(200)


@pytest.mark.promise("1.96")
async def test_updates_cost_little(server: ContractServer, backend: CompatibleBackend) -> None:
    """15 updates of a conversation of 100 kB cost little more than the bare calls that carry the same statuses."""
    run = await Saying.begun(server, backend)
    await run.append(("message", {"id": "m-1", "type": "MESSAGE_AI", "content": "x" * 100_000}))
    for number in range(1, 16):
        await run.text(number * 10 - run.said)
        await until(lambda number=number: len(server.shown) == 1 + number)  # type: ignore[misc]
    whole = backend._runs[run.told.handle].whole
    await until(lambda: whole.sent == 15, what="the answer to the last one")
    began = time.monotonic()
    for status in server.shown[1:16]:
        await backend._clients.executions.update_status(EXECUTION, status)
    assert whole.spent_s < 10 * (time.monotonic() - began)


@pytest.mark.promise("1.89")
async def test_messages_and_tool_calls_come_together(server: ContractServer, backend: CompatibleBackend) -> None:
    """A call is in its message and in the list, in the same state, in every update."""
    run = await Saying.begun(server, backend)
    await run.append(("message", {"id": "m-1", "type": "MESSAGE_AI", "content": ""}))
    for number in range(8):
        call = {"id": f"c-{number}", "message": "m-1", "name": "execute", "args": {"n": number}}
        await run.append(("tool_call", {**call, "status": "TOOL_CALL_RUNNING"}))
        await run.append(("tool_end", {"id": f"c-{number}", "status": "TOOL_CALL_COMPLETED", "result": "ok"}))
        await run.text(3)
    await run.settle()
    assert len(server.shown) == 1 + 4 + 1
    for status in server.shown:
        inside = [call for message in status.messages for call in message.tool_calls]
        assert inside == list(status.tool_calls)
    assert {c.status for c in server.execution.status.tool_calls} == {ToolCallStatus.TOOL_CALL_COMPLETED}


async def test_a_failure_is_told_as_everywhere(server: ContractServer, backend: CompatibleBackend) -> None:
    """The conversation stays; then a SYSTEM message with its facts, the error, the phase, the time."""
    run = await Saying.begun(server, backend)
    await run.text(3)
    reply = await run.settle(Phase.FAILED, code="E301", original_error="test error", worker="worker@here")
    assert (reply.accepted, reply.phase, reply.code) == (True, Phase.FAILED, "E301")
    stored = server.execution.status
    assert stored.phase == ExecutionPhase.EXECUTION_FAILED
    assert stored.error == "❌ Error: Execution failed: test error [E301 APPLICATION]"
    assert stored.completed_at
    kinds = [MessageType.MESSAGE_HUMAN, MessageType.MESSAGE_AI, MessageType.MESSAGE_SYSTEM]
    assert [m.type for m in stored.messages] == kinds
    told = dict(stored.messages[-1].metadata)
    assert (told["error_code"], told["worker"], told["attempt"]) == ("E301", "worker@here", 1)


async def test_an_answer_that_got_lost(server: ContractServer, backend: CompatibleBackend) -> None:
    """The end is stored and its answer lost; the same again is refused, and the run knows that it is its own."""
    run = await Saying.begun(server, backend)
    server.lose_answers.add(UPDATE)
    reply = await run.settle()
    assert (reply.accepted, reply.phase) == (True, Phase.COMPLETED)
    assert server.methods.count(UPDATE) == 3


async def test_an_end_by_somebody_else_stops_the_run(server: ContractServer, backend: CompatibleBackend) -> None:
    """An update that is refused because the execution has ended: the next append hears it, and nothing is written."""
    run = await Saying.begun(server, backend)
    server.execution.status.phase = ExecutionPhase.EXECUTION_CANCELLED
    await run.text(10)
    await until(lambda: server.methods[-1] == "AgentExecution.get")
    await until(lambda: backend._runs[run.told.handle].whole.over)
    await run.text(1)
    assert run.verdict == pb.FENCED_OUT
    assert not (await run.settle()).accepted
    assert server.execution.status.phase == ExecutionPhase.EXECUTION_CANCELLED


async def test_a_refusal_that_means_nothing_stops_nothing(server: ContractServer, backend: CompatibleBackend) -> None:
    """FAILED_PRECONDITION while the execution is open is an update that failed, no more."""
    run = await Saying.begun(server, backend)
    server.refuse = refusing(grpc.StatusCode.FAILED_PRECONDITION, lambda number: number == 1)
    await run.text(10)
    await until(lambda: server.methods[-1] == "AgentExecution.get")
    await run.text(1)
    assert run.verdict == pb.GO_ON
    assert (await run.settle()).accepted


async def test_the_end_of_somebody_else_is_not_overwritten(server: ContractServer, backend: CompatibleBackend) -> None:
    """The reply holds the stored phase."""
    run = await Saying.begun(server, backend)
    server.execution.status.phase = ExecutionPhase.EXECUTION_CANCELLED
    reply = await run.settle()
    assert (reply.accepted, reply.phase) == (False, Phase.CANCELLED)


async def test_a_status_that_is_too_large(
    server: ContractServer, backend: CompatibleBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that takes no more still learns the end, and keeps the content that it has."""
    monkeypatch.setattr(compatible, "FINAL_PAUSE_S", 0.01)
    run = await Saying.begun(server, backend)
    await run.text(10)
    await until(lambda: len(server.shown) == 2)
    server.max_status_bytes = 1000
    await run.append(("text", {"id": "m-1", "text": "x" * 2000}))
    assert (await run.settle()).accepted
    assert server.execution.status.phase == ExecutionPhase.EXECUTION_COMPLETED
    assert said(server.execution.status) == numbers(10)


async def test_an_end_that_is_refused_for_good(server: ContractServer, backend: CompatibleBackend) -> None:
    """A wrong key does not become right: the error is told at once, for the error callback."""
    run = await Saying.begun(server, backend)
    server.refuse = refusing(grpc.StatusCode.UNAUTHENTICATED, lambda number: True)
    with pytest.raises(BackendError, match="UNAUTHENTICATED"):
        await run.settle()
    assert server.methods.count(UPDATE) == 2


async def test_deltas_that_come_again_count_once(server: ContractServer, backend: CompatibleBackend) -> None:
    """An append that is repeated changes nothing; one with a gap is told what is missing."""
    run = await Saying.begun(server, backend)
    await run.text(5)
    run.said = 3
    assert (await run.append(("text", {"id": "m-1", "text": "3 "}), ("text", {"id": "m-1", "text": "4 "}))).next == 5
    run.said = 9
    assert (await run.append(("text", {"id": "m-1", "text": "9 "}))).next == 5
    run.said = 5
    await run.settle()
    assert said(server.execution.status) == numbers(5)


def failure(step: str = "execute", code: Code = Code.SYSTEM) -> pb.FailRequest:
    facts = '{"activity": "ExecuteGraphton", "original_error": "test error"}'
    return pb.FailRequest(execution_id=EXECUTION, code=code.value, facts_json=facts, step=step, after_grace=True)


async def test_a_failure_that_the_task_could_not_tell(
    server: ContractServer, adapter: Callable[..., CompatibleBackend]
) -> None:
    """The error callback ends it; what was said before stays."""
    server.execution.status.messages.add(type=MessageType.MESSAGE_AI, content="before")
    reply = await adapter(worker_lost_grace_s=0.05).fail(failure())
    assert (reply.applied, reply.phase, reply.code) == (True, Phase.FAILED, "E302")
    assert server.execution.status.error.endswith("[E302 SYSTEM]")
    assert server.execution.status.messages[0].content == "before"
    assert len(server.execution.status.messages) == 2


@pytest.mark.parametrize("phase", TERMINAL)
async def test_a_failure_that_comes_too_late(
    server: ContractServer, adapter: Callable[..., CompatibleBackend], phase: int
) -> None:
    """What has ended stays as it is."""
    server.execution.status.phase = phase  # type: ignore[assignment]
    reply = await adapter(worker_lost_grace_s=0.05).fail(failure())
    assert (reply.applied, reply.phase) == (False, phase)
    assert server.updates == []


async def test_a_failed_first_step_does_not_end_a_run(
    server: ContractServer, adapter: Callable[..., CompatibleBackend]
) -> None:
    """A copy of EnsureThread that was left behind says nothing about the run that goes on."""
    server.execution.status.phase = ExecutionPhase.EXECUTION_IN_PROGRESS
    assert not (await adapter(worker_lost_grace_s=0.05).fail(failure("ensure_thread"))).applied
    assert server.updates == []
