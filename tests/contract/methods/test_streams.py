"""`subscribe`, and `watch` of our own service: who may follow, what is seen, and how the stream ends."""

from typing import Any

import grpc
import pytest
from ulid import ULID

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_COMPLETED, EXECUTION_IN_PROGRESS
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from tests.contract.methods.facts import EXECUTION
from tests.contract.methods.world import World, request
from tests.unit.server.conftest import AUTHORIZED

pytestmark = pytest.mark.asyncio(loop_scope="session")
SUBSCRIBE = "AgentExecutionQueryController.subscribe"
streams = pytest.mark.parametrize("stream", ["subscribe", "watch", "watch-from-1"])


def opened(world: World, stream: str, id: str, metadata: Any) -> Any:
    if stream == "subscribe":
        return world.admin.bound(SUBSCRIBE)(request(SUBSCRIBE, value=id), metadata=metadata, timeout=20)
    stub: Any = own_grpc.ExecutionsStub(world.channel)
    from_seq = 1 if stream == "watch-from-1" else 0
    return stub.watch(own.WatchRequest(execution_id=id, from_seq=from_seq), metadata=metadata, timeout=20)


async def refused(stream: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [seen async for seen in stream]
    return caught.value.code(), caught.value.details() or ""


@streams
async def test_what_is_not_there(stream: str, world: World) -> None:
    """NOT_FOUND with the kind and the id."""
    missing = f"{EXECUTION.prefix}-{str(ULID()).lower()}"
    code, text = await refused(opened(world, stream, missing, AUTHORIZED))
    assert code is grpc.StatusCode.NOT_FOUND
    assert f"{EXECUTION.name} '{missing}'" in text


@streams
async def test_who_may_follow(stream: str, world: World, other: World) -> None:
    """Without a key and with a wrong one UNAUTHENTICATED; a runner's key PERMISSION_DENIED; another org NOT_FOUND."""
    id = (await world.make(EXECUTION)).metadata.id
    wrong = (("authorization", "Bearer wrong"),)
    runner, others = (await world.caller("runner")).metadata, other.admin.metadata
    for metadata, expected in (
        ((), grpc.StatusCode.UNAUTHENTICATED),
        (wrong, grpc.StatusCode.UNAUTHENTICATED),
        (runner, grpc.StatusCode.PERMISSION_DENIED),
        (others, grpc.StatusCode.NOT_FOUND),
    ):
        assert (await refused(opened(world, stream, id, metadata)))[0] is expected


async def test_subscribe_ends_with_the_end(world: World) -> None:
    """The state now, what changes, the terminal state, and then the stream is over; afterwards only the last."""
    made = await world.make(EXECUTION)
    given = request(SUBSCRIBE, value=made.metadata.id)
    seen = aiter(world.admin.stream(SUBSCRIBE, given))
    assert await anext(seen) == made
    running = await world.end(made, EXECUTION_IN_PROGRESS)
    assert await anext(seen) == running
    ended = await world.end(made, EXECUTION_COMPLETED)
    assert [state async for state in seen][-1] == ended
    assert [state async for state in world.admin.stream(SUBSCRIBE, given)] == [ended]


async def test_watch_ends_with_the_end(world: World) -> None:
    """A snapshot, the rows after it, the end with its phase, and then the stream is over."""
    made = await world.make(EXECUTION)
    seen = aiter(opened(world, "watch", made.metadata.id, world.admin.metadata))
    assert (await anext(seen)).snapshot.execution == made
    ended = await world.end(made, EXECUTION_COMPLETED)
    events = [event async for event in seen]
    assert [event.WhichOneof("what") for event in events] == ["update"] * (len(events) - 1) + ["end"]
    assert events[-1].end.phase == ended.status.phase
    assert events[-1].end.seq == events[-2].update.seq
