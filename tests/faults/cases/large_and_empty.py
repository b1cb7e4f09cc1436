"""F33, F34 and F42: far too much, and nothing at all."""

import json

import grpc

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.witness import METADATA
from tests.integration.stack import Json

MESSAGE_BYTES = 20_000_000
RESULT_BYTES = 50_000_000
NOTE_BYTES = 500
LIVE_ROWS = 2
"""The neighbour says something every second, and the large run takes several."""
TOKENS = 100_000
STATE_BYTES = 60_000_000
"""Of the answer, and of a field beside it: each more than a row may have, and than a message between processes may."""
EMPTY_NOTE = "The agent ended without an answer."


@case("F33/message")
def large_message(scene: Scene) -> None:
    """Refused by both edges, with the limit's name, while another run goes on."""
    scene.worker()
    scene.send("$ echo alive\n$ sleep 3\n$ echo and on")
    scene.in_flight(text="alive")
    listed = len(scene.stack.http.get("/v1/executions").json()["entries"])
    scene.strike()
    message = "x" * MESSAGE_BYTES
    answer = scene.stack.http.post("/v1/executions", json={"message": message})
    scene.demand(answer.status_code == 413, f"HTTP answered {answer.status_code}: {answer.text[:300]}")
    scene.demand(answer.json().get("next_step"), f"HTTP does not say what to do: {answer.text[:300]}")
    scene.demand("AGENT_RUNNER_MAX_MESSAGE_BYTES" in answer.text, f"HTTP does not name the limit: {answer.text[:300]}")
    refused = _create(scene, message)
    scene.demand(
        refused is not None and refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, f"gRPC answered {refused}"
    )
    told = str(refused.details()) if refused is not None else ""
    scene.demand("AGENT_RUNNER_MAX_MESSAGE_BYTES" in told, f"gRPC does not name the limit: {told[:300]}")
    entries = scene.stack.http.get("/v1/executions").json()["entries"]
    scene.evidence(len(entries) == listed, "no execution was made of it")
    scene.end()
    scene.next_works()


@case("F33/result")
def large_result(scene: Scene) -> None:
    """Of a command in the sandbox, and of a Python tool, where nothing but ours stands between it and the status."""
    scene.worker()
    scene.send(f"Print.\n$ head -c {RESULT_BYTES} /dev/zero | tr '\\0' x\n$ echo and on")
    scene.send(str(RESULT_BYTES), role="graph", graph="result")
    scene.strike(*(role for role in scene.roles if scene.stack.phase(scene.roles[role].id) != "EXECUTION_COMPLETED"))
    most = scene.bound("max_tool_result_bytes") + NOTE_BYTES
    for role, note in (("run", "bytes cut here"), ("graph", "[cut here:")):
        status = scene.end(role)
        results = [str(call.get("result", "")) for call in status["tool_calls"]]
        scene.evidence(str(RESULT_BYTES) in json.dumps(status), f"{role} says how much there was")
        scene.demand(any(note in result for result in results), f"{role}: no note of what is missing")
        sizes = [len(result.encode()) for result in results]
        scene.demand(max(sizes) <= most, f"the results of {role} have {sizes} bytes")
    scene.demand("and on" in json.dumps(scene.end()), "the agent did not go on")


@case("F33/events")
def many_events(scene: Scene) -> None:
    """100,000 tokens of two characters: all of them arrive, in far fewer rows, and a neighbour is not held up."""
    scene.worker()
    scene.send(str(TOKENS), graph="tokens")
    scene.in_flight(text=". . . .")
    scene.send("$ echo beside", role="neighbour")
    scene.strike()
    scene.end("neighbour")
    status = scene.end()
    text = str(status["messages"][-1].get("content", ""))
    scene.evidence(text == ". " * TOKENS, f"all tokens were told: {len(text) // 2} of {TOKENS}")
    rows = scene.roles["run"].witness.sse.rows
    scene.demand(len(rows) < TOKENS / 50, f"they took {len(rows)} rows")
    scene.note(f"{len(rows)} rows")


@case("F34")
def no_event(scene: Scene) -> None:
    """No message, no tool: an empty answer, and a note that says so."""
    scene.worker()
    scene.act({"do": "await", "s": 0.5}, {"do": "nothing"})
    scene.strike()
    status = scene.end()
    said = [m for m in status["messages"] if m["type"] == "MESSAGE_AI"]
    notes = [m["content"] for m in status["messages"] if m["type"] == "MESSAGE_SYSTEM"]
    scene.evidence(not said and not status.get("tool_calls"), f"it did nothing that could be told: {said}")
    scene.demand(notes == [EMPTY_NOTE], f"the note: {notes}")
    scene.demand(not status.get("error"), f"an error: {status.get('error')}")
    scene.next_works()


@case("F42")
def large_state(scene: Scene) -> None:
    """An answer and a final state that no row may hold: a good end, cut with a note; the neighbour goes on live."""
    scene.worker()
    speaking: list[Json] = [{"do": "say", "text": "one"}, {"do": "await", "s": 1}]
    scene.act(*speaking * 20, role="neighbour")
    scene.in_flight("neighbour", text="one")
    scene.send(str(STATE_BYTES), graph="pages")
    scene.strike()
    most = scene.bound("max_output_bytes") + NOTE_BYTES
    status = scene.end()
    neighbour = scene.stack.get(scene.roles["neighbour"].id)["status"]["phase"]
    scene.demand(neighbour == "EXECUTION_IN_PROGRESS", f"the neighbour was to be under way still: {neighbour}")
    answers = [str(m["content"]) for m in status["messages"] if m["type"] == "MESSAGE_AI"]
    scene.evidence(str(STATE_BYTES) in answers[-1][-NOTE_BYTES:], "the answer says how much there was")
    scene.demand(len(answers[-1].encode()) <= most, f"the answer has {len(answers[-1])} bytes")
    output = json.dumps(scene.stack.get(scene.roles["run"].id).get("output"))
    scene.demand("[cut here" in output, "no note in the output")
    scene.demand(len(output) <= most + STATE_BYTES // 100, f"the output has {len(output)} bytes")
    notes = [str(m["content"]) for m in status["messages"] if m.get("metadata", {}).get("note") == "output_cut"]
    scene.demand(any("AGENT_RUNNER_MAX_OUTPUT_BYTES" in note for note in notes), f"the setting is not named: {notes}")
    scene.end("neighbour")
    run, rows = scene.roles["run"], scene.roles["neighbour"].witness.sse.rows
    meanwhile = sum(run.struck_at < row.arrived < (run.witness.sse.ended_at or 0) for row in rows)
    scene.demand(meanwhile >= LIVE_ROWS, f"the neighbour's readers were told {meanwhile} rows meanwhile")
    scene.note(f"{meanwhile} rows of the neighbour meanwhile")
    scene.next_works()


def _create(scene: Scene, message: str) -> grpc.Call | None:
    """The contract's create; what it was refused with."""
    request = AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
    request.spec.message = message
    request.metadata.annotations["agent-runner/graph"] = "actor"
    with grpc.insecure_channel(
        f"127.0.0.1:{scene.stack.grpc_port}", options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        try:
            AgentExecutionCommandControllerStub(channel).create(request, metadata=METADATA, timeout=20)
        except grpc.RpcError as error:
            return error  # type: ignore[return-value]
    return None
