"""The claim has what annotations of agent and execution say: models in order, and what is left of a budget."""

import json

import httpx

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.runners.claim_reply import claim_reply
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.run_records import NewDelta
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.test_bundle import claimed
from tests.unit.server.test_limits import changed
from tests.unit.server.test_resources import VERSION, agent


async def test_the_executions_models_replace_the_agents(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A list of the execution is its own, an empty one takes the agent's away; without one the agent's counts."""
    body = agent()
    body["metadata"]["annotations"] = {"agent-runner/fallback-models": "openai:a, ollama:b"}
    made = (await http.post("/v1/agents", json=body)).json()
    for given, wanted in (
        ({}, ["openai:a", "ollama:b"]),
        ({"fallback_models": ["c"]}, ["c"]),
        ({"fallback_models": []}, []),
    ):
        answer = await http.post("/v1/executions", json={"message": "hi", "agent": made["metadata"]["id"], **given})
        assert answer.status_code == 201, answer.text
        reply = await claimed(server, answer.json()["metadata"]["id"])
        assert json.loads(reply.agent.metadata.annotations["agent-runner/fallback-models"]) == wanted


async def test_an_agents_model_that_is_not_allowed_any_more(settings: Settings) -> None:
    """The operator's list holds at the claim too: an agent can be changed while its executions wait."""
    async with running_server(changed(settings, allowed_models="claude-*")) as server, http_client(server) as http:
        body = agent()
        made = (await http.post("/v1/agents", json=body)).json()
        id_ = (await created(http, agent=made["metadata"]["id"]))["metadata"]["id"]
        body["metadata"]["annotations"] = {"agent-runner/fallback-models": "claude-x, gpt-5"}
        body["metadata"]["id"] = made["metadata"]["id"]
        assert (await http.put("/v1/agents", json=body)).status_code == 200
        reply = await claimed(server, id_)
        assert "model 'gpt-5' of agent-runner/fallback-models is not allowed for agent" in reply.bundle_error


async def test_another_worker_gets_no_new_budget(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker
) -> None:
    """The claim after a hand-back tells what the execution has used, as its log says it, and whose limit it is."""
    budget = {"agent-runner/budget": json.dumps({"tool_calls": 5})}
    kind = {"api_version": VERSION, "kind": "AgentExecution"}
    made = (await http.post("/v1/agents", json=agent())).json()
    spec = {"message": "hi", "agent_id": made["metadata"]["id"]}
    answer = await http.post("/v1/executions", json={**kind, "metadata": {"annotations": budget}, "spec": spec})
    id_ = answer.json()["metadata"]["id"]
    first = await worker.claim(id_)
    assert first.execution is not None
    assert not (await claim_reply(server.ctx, first)).spent_json
    said = [
        ("message", {"id": "a1", "type": "MESSAGE_AI", "content": ""}),
        ("message_end", {"id": "a1", "metadata": {"usage": {"total_tokens": 30}}}),
        ("tool_call", {"id": "c1", "message": "a1", "name": "ls", "args": {}, "status": "TOOL_CALL_RUNNING"}),
        ("tool_end", {"id": "c1", "status": "TOOL_CALL_COMPLETED", "result": "."}),
    ]
    deltas = [NewDelta(kind=kind, payload=json.dumps(payload)) for kind, payload in said]
    handle, fence = first.execution.handle, first.execution.fence
    assert (await server.ctx.store.hand_back(handle, fence, 0, deltas, "head-1", "shutdown")).accepted
    second = await server.ctx.store.claim(id_, "another", "w2")
    assert second.granted, second.refusal
    reply = await claim_reply(server.ctx, second)
    spent = json.loads(reply.spent_json)
    assert (spent["tool_calls"], spent["model_calls"], spent["tokens"]) == (1, 1, 30)
    assert json.loads(reply.agent.metadata.annotations["agent-runner/budget-of"]) == {"tool_calls": "execution"}
