"""F37: the server has done it, and its answer is lost: create (HTTP and gRPC), begin, claim, append, settle."""

import json
import socket
import struct

import grpc

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from tests.faults.fault_stack import fresh_port
from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.witness import METADATA
from tests.integration.grpc_proxy import GrpcProxy
from tests.integration.stack import KEY, Json
from tests.support.waiting import eventually

CREATE = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionCommandController/create"
CALLS = {"begin": 1, "claim": 2, "append": 3, "settle": 2}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@case("F37")
def replies_lost(scene: Scene) -> None:
    """Whoever asks again is told what was done. The tools' own file counts."""
    port = fresh_port()
    proxy = scene.afterwards.enter_context(GrpcProxy(port, scene.stack.grpc_port))
    worker = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
    for call, times in CALLS.items():
        proxy.lose_reply(call, times)
    once = Once(scene, steps=3, pause_s=0.7)
    _create_twice(scene, {"message": once.message})
    _create_twice_by_grpc(scene, proxy, port)
    scene.strike()
    once.check()
    said = [m.get("content") for m in scene.end("contract")["messages"] if m["type"] == "MESSAGE_AI"]
    scene.demand(said == ["one", "two"], f"the other run said {said}")
    expected = {**CALLS, CREATE: 1}
    scene.evidence(dict(proxy.lost) == expected, f"each reply was lost as often as it should be: {dict(proxy.lost)}")
    ids = {entry["metadata"]["id"] for entry in _entries(scene)}
    scene.demand(ids == {role.id for role in scene.roles.values()}, f"other executions than these two: {ids}")
    scene.next_works()
    worker.stop()


def _create_twice(scene: Scene, body: Json) -> None:
    """Over HTTP: the connection is reset when the row is there; then the same key again."""
    content = json.dumps(body).encode()
    head = [
        "POST /v1/executions HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {KEY}",
        "Idempotency-Key: asked twice",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    with socket.create_connection(("127.0.0.1", scene.stack.http_port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
        first = eventually(lambda: _entries(scene), within_s=5, what="the row")
    scene.evidence(len(first) == 1, "the first create was stored, and its answer not read")
    headers = {"Idempotency-Key": "asked twice"}
    again = scene.stack.http.post("/v1/executions", json=body, headers=headers)
    scene.demand(again.status_code == 201, f"the second create: {again.status_code} {again.text[:300]}")
    scene.demand(again.headers.get("Idempotent-Replayed") == "true", "the second create was not told as a repeated one")
    scene.watch(str(again.json()["metadata"]["id"]))
    scene.demand(scene.roles["run"].id == first[0]["metadata"]["id"], "the second create made another execution")


def _create_twice_by_grpc(scene: Scene, proxy: GrpcProxy, port: int) -> None:
    """The contract's create, through the proxy that loses its answer."""
    steps = [{"do": "say", "text": "one"}, {"do": "await", "s": 1}, {"do": "say", "text": "two"}]
    request = AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
    request.metadata.annotations["agent-runner/graph"] = "actor"
    request.metadata.annotations["agent-runner/input"] = json.dumps({"actions": steps})
    metadata = (*METADATA, ("idempotency-key", "asked twice by gRPC"))
    proxy.lose_reply(CREATE)
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        create = AgentExecutionCommandControllerStub(channel).create
        try:
            create(request, metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            scene.evidence("the reply was lost" in str(error), f"the first create was not answered: {error}")
        made = create(request, metadata=metadata, timeout=10)
    scene.watch(made.metadata.id, role="contract")


def _entries(scene: Scene) -> list[Json]:
    entries: list[Json] = scene.stack.http.get("/v1/executions").raise_for_status().json()["entries"]
    return entries
