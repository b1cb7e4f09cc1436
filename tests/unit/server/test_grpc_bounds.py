"""What a gRPC call may weigh and how many there may be; whoever has no key is not listened to."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agent.v1 import api_pb2, command_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc as execution_command
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2_grpc as skill_grpc
from agent_runner.ai.stigmer.agentic.skill.v1 import io_pb2 as skill_io
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import ApiResourceOwnerScope
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.contract.create_limits import create_bytes
from agent_runner.app.server.grpc_api import interceptors
from agent_runner.app.server.grpc_api.sizes import CALL_BYTES
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import AUTHORIZED, created, http_client
from tests.unit.server.identity import bearer, key
from tests.unit.server.test_create import assert_problem
from tests.unit.skills.archives import archive

GET = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionQueryController/get"
WATCH = "/agent_runner.v1.Executions/watch"


def agent(size: int) -> api_pb2.Agent:
    made = api_pb2.Agent(api_version="agentic.stigmer.ai/v1", kind="Agent")
    made.metadata.name, made.metadata.owner_scope = "large", ApiResourceOwnerScope.organization
    made.spec.instructions = "i" * size
    return made


async def test_a_stranger_s_message_is_read_by_nobody(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a key, with a wrong one and without the scope the answer comes before any parsing."""
    parsed: list[int] = []

    def reader(read: Any, most: int) -> Any:
        def reading(content: bytes) -> Any:
            parsed.append(len(content))
            return read(content)

        return reading

    monkeypatch.setattr(interceptors, "reader", reader)
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    for metadata in ((), bearer("wrong")):
        call = query.get(io_pb2.AgentExecutionId(value="x" * 100_000), metadata=metadata)
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not parsed
    assert await query.get(io_pb2.AgentExecutionId(value="x"), metadata=AUTHORIZED).code() is grpc.StatusCode.NOT_FOUND
    assert parsed


async def test_a_message_that_is_too_large_is_told_which_setting_says_so(
    server: RunningServer, channel: grpc.aio.Channel
) -> None:
    """As over HTTP: the settings' names and values stand in the refusal of `create`."""
    create: Any = execution_command.AgentExecutionCommandControllerStub(channel).create
    settings = server.ctx.settings
    execution = AgentExecution()
    execution.spec.message = "x" * create_bytes(settings)
    call = create(execution, metadata=AUTHORIZED)
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"{settings.max_message_bytes} (AGENT_RUNNER_MAX_MESSAGE_BYTES)" in await call.details()


async def test_only_a_skill_may_be_large(channel: grpc.aio.Channel) -> None:
    """More than 4 MiB is refused by size; the archive of a skill may have more."""
    agents: Any = command_pb2_grpc.AgentCommandControllerStub(channel)
    call = agents.create(agent(CALL_BYTES), metadata=AUTHORIZED)
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"at most {CALL_BYTES}" in await call.details()
    assert (await agents.create(agent(CALL_BYTES // 2), metadata=AUTHORIZED)).metadata.id
    skills: Any = skill_grpc.SkillCommandControllerStub(channel)
    data = archive({"data.bin": random.Random(1).randbytes(CALL_BYTES)})
    pushed = skill_io.PushSkillRequest(name="s", scope=ApiResourceOwnerScope.organization, artifact=data)
    assert (await skills.push(pushed, metadata=AUTHORIZED)).metadata.id


async def test_one_key_leaves_room_for_the_others(settings: Settings) -> None:
    """Streams of HTTP and gRPC and waiting answers count together, per key; what ends makes room."""
    async with (
        running_server(settings.model_copy(update={"max_streams_per_key": 2})) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        http_client(server) as http,
        http_client(server, key=await key(server, "read")) as other,
    ):
        id = (await created(http))["metadata"]["id"]
        events = f"/v1/executions/{id}/events"
        subscribed = query_pb2_grpc.AgentExecutionQueryControllerStub(channel).subscribe(
            io_pb2.AgentExecutionId(value=id), metadata=AUTHORIZED
        )
        assert await subscribed.read()
        async with http.stream("GET", events) as stream:
            lines = stream.aiter_lines()  # kept: without it the answer would be closed
            assert await anext(lines)
            await refused(http, id, channel)
            async with other.stream("GET", events) as others:
                assert others.status_code == 200
        subscribed.cancel()
        await all_given_back(server)
        async with http.stream("GET", events) as again:
            assert again.status_code == 200


async def test_a_burst_finds_as_many_places_as_there_are(settings: Settings) -> None:
    """Streams and waiting answers that a key asks for at the same moment: no more than it may have are begun, nothing
    is made for the others, and all places are free again afterwards."""
    async with (
        running_server(settings.model_copy(update={"max_streams_per_key": 2})) as server,
        http_client(server) as http,
    ):
        id = (await created(http))["metadata"]["id"]
        request = http.build_request("GET", f"/v1/executions/{id}/events")
        answers = await asyncio.gather(*(http.send(request, stream=True) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 18
        for answer in answers:
            await answer.aclose()
        await all_given_back(server)
        waiting = [http.post("/v1/executions", json={"message": "m"}, params={"wait": "1"}) for _ in range(20)]
        codes = [answer.status_code for answer in await asyncio.gather(*waiting)]
        assert set(codes) == {201, 429}
        assert (await http.get("/v1/executions")).json()["total"] == 1 + codes.count(201)
        assert codes.count(201) == 2
        refusals = [
            http.post("/v1/executions", json={"message": "m", "session_id": "none"}, params={"wait": "1"})
            for _ in range(2)
        ]
        assert {answer.status_code for answer in await asyncio.gather(*refusals)} == {404}
        await all_given_back(server)


async def all_given_back(server: RunningServer) -> None:
    async with asyncio.timeout(20):
        while server.ctx.gate.streams.under_way:
            await asyncio.sleep(0.01)


async def refused(http: httpx.AsyncClient, id: str, channel: grpc.aio.Channel) -> None:
    """A third stream of the key, in each way that there is; nothing was made by it."""
    answer = await http.get(f"/v1/executions/{id}/events")
    assert "AGENT_RUNNER_MAX_STREAMS_PER_KEY" in assert_problem(answer, 429, "RESOURCE_EXHAUSTED")["detail"]
    assert answer.headers["retry-after"] == "1"
    event_stream = {"Accept": "text/event-stream"}
    for params, headers in (({"wait": "1"}, {}), ({}, event_stream)):
        answer = await http.post("/v1/executions", json={"message": "m"}, params=params, headers=headers)
        assert_problem(answer, 429, "RESOURCE_EXHAUSTED")
    assert (await http.get("/v1/executions")).json()["total"] == 1
    query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)
    call = query.subscribe(io_pb2.AgentExecutionId(value=id), metadata=AUTHORIZED)
    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_calls_without_a_message_hold_no_place_of_others(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key has so many calls under way; those whose message never comes are ended, and count until then."""
    monkeypatch.setattr(interceptors, "MESSAGE_S", 1.0)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with (
        running_server(settings.model_copy(update={"max_calls_per_key": 3})) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        other = bearer(await key(server, "read"))
        get: Any = channel.stream_unary(GET)
        silent = [get(nothing(), metadata=AUTHORIZED) for _ in range(3)]
        query: Any = query_pb2_grpc.AgentExecutionQueryControllerStub(channel)

        async def code(metadata: Any) -> grpc.StatusCode:
            found: grpc.StatusCode = await query.get(io_pb2.AgentExecutionId(value="x"), metadata=metadata).code()
            return found

        async with asyncio.timeout(20):
            while server.ctx.gate.calls.under_way < 3:
                await asyncio.sleep(0.01)
        assert await code(AUTHORIZED) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await code(other) is grpc.StatusCode.NOT_FOUND
        assert [await call.code() for call in silent] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
        assert await code(AUTHORIZED) is grpc.StatusCode.NOT_FOUND
