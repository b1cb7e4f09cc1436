"""Log lines of the server about a request say which request it was, and whose key it had."""

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.runners.presence import PresenceBoard
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.support.log_lines import kept_objects
from tests.unit.server.conftest import KEY, http_client
from tests.unit.server.identity import bearer, id_of, key


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    with kept_objects(logger="agent_runner.app", level="DEBUG") as objects:
        yield objects


def answered(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("event") == "request.answered"]


async def test_a_request_has_an_id_and_its_keys_org(
    server: RunningServer, http: httpx.AsyncClient, lines: list[dict[str, Any]]
) -> None:
    """The caller's id where it has the form of one, else a new one; org and key end with the request, also on a
    connection that stays open."""
    made = await key(server, "read", org="acme")
    async with http_client(server, key=made) as client:
        lines.clear()
        await client.get("/v1/executions", headers={"X-Request-Id": "mine-1"})
        await client.get("/v1/executions", headers={"X-Request-Id": "not an id"})
        await client.get("/healthz")
    first, second, open_one = answered(lines)
    assert (first["request_id"], first["org"], first["key_id"]) == ("mine-1", "acme", id_of(made))
    assert first["status"] == 200
    assert second["request_id"] not in ("mine-1", "not an id", "")
    assert second["key_id"] == id_of(made)
    assert not {"org", "key_id"} & open_one.keys()
    assert open_one["request_id"] not in (first["request_id"], second["request_id"])


async def test_a_call_over_grpc_has_them_too(
    server: RunningServer, channel: grpc.aio.Channel, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug behind a call is logged with the id of the call and of its key; the caller is told INTERNAL."""

    async def broken(self: PresenceBoard, request: pb.BeatRequest) -> pb.BeatReply:
        raise RuntimeError("a bug")

    monkeypatch.setattr(PresenceBoard, "beat", broken)
    made = await key(server, "runner", org="")
    beat = runner_pb2_grpc.RunnerStub(channel).beat
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await beat(pb.BeatRequest(incarnation="i"), metadata=(*bearer(made), ("x-request-id", "call-1")))
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    with pytest.raises(grpc.aio.AioRpcError):
        await beat(pb.BeatRequest(incarnation="i"), metadata=bearer(KEY))
    first, second = [line for line in lines if line.get("event") == "call.failed"]
    assert (first["request_id"], first["key_id"]) == ("call-1", id_of(made))
    assert "a bug" in first["traceback"]
    assert second["request_id"] != "call-1"
    assert "key_id" not in second
