"""What only workers may say: reports by the published contract, and where a session's memory and files are."""

from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2, command_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecutionStatus
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.status.store.run_records import NewDelta, Outcome
from tests.unit.server.conftest import AUTHORIZED, Worker, created, http_client
from tests.unit.server.identity import bearer, code_of, key
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_limits import changed

SHARES_A_SERVER = True


async def report(channel: grpc.aio.Channel, id: str, text: str = "hello", metadata: Any = AUTHORIZED) -> Any:
    stub: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    status = AgentExecutionStatus()
    status.messages.add(content=text, type=2)
    given = command_pb2.AgentExecutionUpdateStatusInput(execution_id=id, status=status)
    return await stub.updateStatus(given, metadata=metadata)


async def test_reports_by_the_contract_are_off(own_settings: Settings) -> None:
    """Unless the server is told that some of its workers need them; the text says how."""
    async with (
        running_server(changed(own_settings, reporting="native")) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        http_client(server) as http,
    ):
        made = await created(http)
        code, text = await code_of(report(channel, made["metadata"]["id"]))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "AGENT_RUNNER_REPORTING=compatible" in text
        assert (await http.get(f"/v1/executions/{made['metadata']['id']}")).json() == made


async def test_reports_are_for_runners(
    server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient
) -> None:
    """Whoever may run agents may not write what they said."""
    id = (await created(http))["metadata"]["id"]
    for scope in ("read", "execute", "admin"):
        code, text = await code_of(report(channel, id, metadata=bearer(await key(server, scope))))
        assert (code, "'runner'" in text) == (grpc.StatusCode.PERMISSION_DENIED, True)
    await report(channel, id, metadata=bearer(await key(server, "runner")))


async def test_a_report_has_a_limit(own_settings: Settings) -> None:
    """That of an output; what is there stays, and the end can be told without content."""
    async with (
        running_server(changed(own_settings, max_output_bytes=10_000)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        http_client(server) as http,
    ):
        id = (await created(http))["metadata"]["id"]
        await report(channel, id, "x" * 9_000)
        code, text = await code_of(report(channel, id, "x" * 10_001))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "AGENT_RUNNER_MAX_OUTPUT_BYTES" in text
        assert (await http.get(f"/v1/executions/{id}")).json()["status"]["messages"][-1]["content"] == "x" * 9_000


async def test_no_report_for_what_waits(channel: grpc.aio.Channel, http: httpx.AsyncClient, worker: Worker) -> None:
    """Neither behind another one of its session, nor for an answer of a person."""
    first = await created(http)
    behind = await created(http, session_id=first["spec"]["session_id"])
    claimed = await worker.claim(first["metadata"]["id"])
    execution = claimed.execution
    assert execution is not None
    asked = [NewDelta(kind="question", payload='{"id": "q", "text": "Go on?"}')]
    waits = Outcome(phase=Phase.COMPLETED, waiting=True)
    store = worker._ctx.store
    code, _ = await code_of(report(channel, behind["metadata"]["id"]))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert (await store.settle(execution.handle, execution.fence, 0, asked, "", waits)).accepted
    code, _ = await code_of(report(channel, first["metadata"]["id"]))
    assert code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("field", ["thread_id", "sandbox_id"])
async def test_where_a_session_lives_is_the_workers_to_write(server: RunningServer, field: str) -> None:
    """Another key may leave it out, or send back what it read; a worker may write it."""
    body: dict[str, Any] = {"api_version": "agentic.stigmer.ai/v1", "kind": "Session", "spec": {}}
    body["metadata"] = {"name": "s", "owner_scope": "organization"}
    async with http_client(server, key=await key(server, "admin")) as http:
        made = await created(http)
        instance = (await http.get(f"/v1/sessions/{made['spec']['session_id']}")).json()["spec"]["agent_instance_id"]
        body["spec"]["agent_instance_id"] = instance
        refused = await http.post("/v1/sessions", json={**body, "spec": {**body["spec"], field: "mine"}})
        assert_problem(refused, 403, "PERMISSION_DENIED")
        session = (await http.post("/v1/sessions", json=body)).json()
        url = f"/v1/sessions/{session['metadata']['id']}"
        changed_body = {**session, "spec": {**session["spec"], field: "mine"}}
        for answer in (await http.put(url, json=changed_body), await http.put("/v1/sessions", json=changed_body)):
            problem = assert_problem(answer, 403, "PERMISSION_DENIED")
            assert field in problem["detail"]
        assert (await http.put(url, json=session)).status_code == 200
    async with http_client(server, key=await key(server, "execute", "runner")) as worker:
        assert (await worker.put(url, json=changed_body)).json()["spec"][field] == "mine"
    async with http_client(server, key=await key(server, "execute")) as http:
        assert (await http.put(url, json=(await http.get(url)).json())).status_code == 200
        other = (await http.get(url)).json()
        other["spec"][field] = "another"
        assert_problem(await http.put(url, json=other), 403, "PERMISSION_DENIED")
