"""Models and graphs that an execution may name: by the scope of its key, and by the operator's lists."""

from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.access.allow_lists import allows
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.identity import agent, bearer, code_of, key, made
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_limits import changed

SHARES_A_SERVER = True


async def test_to_choose_a_model_is_a_scope(server: RunningServer, channel: grpc.aio.Channel) -> None:
    """Without it an execution that names one is refused on both edges; without a name it runs."""
    plain, choosing = await key(server, "execute"), await key(server, "execute", "model")
    for given in (choosing, await key(server, "admin")):
        async with http_client(server, key=given) as http:
            assert (await created(http, model="gpt-5.5"))["spec"]["execution_config"]["model_name"] == "gpt-5.5"
    async with http_client(server, key=plain) as http:
        session = (await created(http))["spec"]["session_id"]
        problem = assert_problem(
            await http.post("/v1/executions", json={"message": "x", "model": "gpt-5.5"}), 403, "PERMISSION_DENIED"
        )
        assert "'model'" in problem["detail"]
    stub: Any = command_pb2_grpc.AgentExecutionCommandControllerStub(channel)
    message = AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
    message.metadata.name = "x"
    message.spec.message = "x"
    message.spec.session_id = session
    message.spec.execution_config.model_name = "gpt-5.5"
    assert (await code_of(stub.create(message, metadata=bearer(plain))))[0] is grpc.StatusCode.PERMISSION_DENIED
    async with http_client(server, key=await key(server, "model")) as http:
        assert_problem(await http.post("/v1/executions", json={"message": "x"}), 403, "PERMISSION_DENIED")


async def test_a_redrive_keeps_its_model(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Somebody who could choose it has chosen it."""
    first = await created(http, model="gpt-5.5")
    await worker.settle(await worker.claim(first["metadata"]["id"]), number=0)
    async with http_client(server, key=await key(server, "execute")) as plain:
        again = await plain.post(f"/v1/executions/{first['metadata']['id']}/redrive", json={})
    assert again.json()["spec"]["execution_config"]["model_name"] == "gpt-5.5", again.text


async def test_the_lists_of_the_operator(own_settings: Settings) -> None:
    """Models and graphs for everybody, for an org and for an agent; a refused one leaves nothing behind."""
    lists = {"allowed_models": "claude-*, acme=gpt-*, acme/writer=o3", "allowed_graphs": "acme/*=report"}
    async with running_server(changed(own_settings, **lists)) as server, http_client(server) as http:
        await made(http, "/v1/agents", agent("Writer", org="acme"))
        for body in (
            {"model": "claude-x"},
            {"model": "gpt-5.5", "org": "acme"},
            {"model": "o3", "org": "acme", "agent": "writer"},
            {"graph": "report", "org": "acme"},
            {},
        ):
            await created(http, **body)
        sessions = len((await http.get("/v1/sessions")).json()["entries"])
        for body in (
            {"model": "gpt-5.5"},
            {"model": "o3", "org": "acme"},
            {"model": "openai:claude-x"},
            {"model": "Claude-x"},
            {"graph": "report"},
            {"graph": "other", "org": "acme"},
        ):
            answer = await http.post("/v1/executions", json={"message": "x", **body})
            problem = assert_problem(answer, 403, "PERMISSION_DENIED")
            assert "AGENT_RUNNER_ALLOWED_" in problem["next_step"], body
        assert len((await http.get("/v1/sessions")).json()["entries"]) == sessions


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [("", False), ("m", True), ("*", True), ("other, m", True), ("o=m", True), ("x=m", False), ("o/a=m", True),
     ("o/b=m", False), ("*/a=m", True), ("o=", False), ("mm", False), ("x=*,o/a=?", True)],
)  # fmt: skip
def test_entries(entries: str, allowed: bool) -> None:
    """A pattern alone, for an org, for an agent."""
    assert allows(entries, "o", "a", "m") is allowed


@pytest.mark.promise("6.02")
async def test_models_that_stand_in_are_checked_alike(own_settings: Settings) -> None:
    """The scope to choose a model, and the operator's list, for the execution's names and for its agent's."""
    async with running_server(changed(own_settings, allowed_models="claude-*")) as server, http_client(server) as http:
        await created(http, fallback_models=["claude-a", "claude-b"])
        refused = await http.post("/v1/executions", json={"message": "x", "fallback_models": ["claude-a", "gpt-5"]})
        assert "model 'gpt-5' is not allowed" in assert_problem(refused, 403, "PERMISSION_DENIED")["detail"]
        named = agent("Second")
        named["metadata"]["annotations"] = {"agent-runner/fallback-models": "gpt-5"}
        await made(http, "/v1/agents", named)
        refused = await http.post("/v1/executions", json={"message": "x", "agent": "second"})
        assert "model 'gpt-5' is not allowed" in assert_problem(refused, 403, "PERMISSION_DENIED")["detail"]
        await created(http, agent="second", fallback_models=[])
        async with http_client(server, key=await key(server, "execute")) as plain:
            refused = await plain.post("/v1/executions", json={"message": "x", "fallback_models": ["claude-a"]})
            assert "'model'" in assert_problem(refused, 403, "PERMISSION_DENIED")["detail"]


@pytest.mark.parametrize("given", [["a", "a"], [""], "a", [1], ["a"] * 6, {"a": 1}])
async def test_lists_of_models_that_cannot_be_used(http: httpx.AsyncClient, given: Any) -> None:
    """400 with the field's name."""
    problem = assert_problem(
        await http.post("/v1/executions", json={"message": "x", "fallback_models": given}), 400, "INVALID_ARGUMENT"
    )
    assert problem["detail"].startswith("fallback_models must be a list of at most 5 names")
