"""What exists on a server that is fuzzed over gRPC: without real ids, handles and fences a call ends at "not found"."""

import base64
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import grpc

from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2_grpc as skill_command
from agent_runner.ai.stigmer.agentic.skill.v1.io_pb2 import PushSkillRequest
from agent_runner.app.server.contract.ids import kind_number
from agent_runner.status.failures import Code
from agent_runner.status.log import plain
from agent_runner.status.phases import Step
from agent_runner.status.store.records import ResourceKind
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.integration.stack import KEY, Stack

AUTHORIZED = (("authorization", f"Bearer {KEY}"),)
EXECUTIONS, CLAIMED = 6, 4
KINDS = ("AgentExecution", *(kind.value for kind in ResourceKind))
DELTAS = ("phase", "message", "text", "message_end", "tool_call", "tool_end", "sub_agent", "todos", "output", "merge")
DEEP = json.loads('{"a":' * plain.MAX_DEPTH + '"the ground"' + "}" * plain.MAX_DEPTH)
"""As deep as a worker tells anything."""
PAYLOADS: Sequence[Any] = (
    {
        "id": "t1",
        "name": "tool",
        "args": DEEP,
        "component": {"metadata": DEEP},
        "status": "TOOL_CALL_RUNNING",
    },
    {"id": "a1", "content": "said", "type": "MESSAGE_AI"},
    {"id": "a1", "content": ["a", "list"], "type": 7, "metadata": [1]},
    {"id": "a1", "text": "more"},
    {"id": "a1", "text": {"no": "text"}},
    {"id": ["no", "name"], "content": None},
    {"id": "t1", "name": "tool", "args": {"a": 1}, "status": "TOOL_CALL_RUNNING", "message": "a1"},
    {"id": "t1", "name": {}, "args": "none", "status": ["?"], "component": {"metadata": 4}, "scope": {"a": 1}},
    {"id": "t1", "status": "TOOL_CALL_COMPLETED", "result": {"deep": [1]}, "error": 5},
    {"id": "t1", "status": {}, "name": 5, "input": [1], "scope": 7},
    {"todos": [{"content": "a", "status": "TODO_PENDING"}]},
    {"todos": [{"content": ["a"], "status": 3}]},
    {"todos": {"a": 1}},
    {"output": {"answer": 42}},
    {"phase": "EXECUTION_COMPLETED"},
    {"phase": {"no": "phase"}, "error": 5, "error_code": []},
    {"status": {"messages": "none", "todos": [1], "tool_calls": {"a": 1}}},
    {"status": {"started_at": 5, "completed_at": {}, "error": []}},
    [1, 2],
    "text",
    7,
    None,
)
GOOD = tuple(p for p in PAYLOADS if isinstance(p, dict) and isinstance(p.get("content", p.get("text", "")), str))[:3]
RUN_TOKEN = b"of all the claims"
NOT_JSON = (b"", b"{", b"\xff\xfe", b"NaN", b'{"a": NaN}', b'{"a": 1e999}', b'"\\ud800"', b"[" * 5000)


async def made(stack: Stack, channel: grpc.aio.Channel) -> dict[str, list[Any]]:
    """Executions in several steps, claimed runs, a session, an agent, a skill. By field, as `Messages` wants it."""
    ids = [stack.create("$ true", model="demo")["metadata"]["id"] for _ in range(EXECUTIONS)]
    shown = stack.get(ids[0])
    session_id = shown["spec"]["session_id"]
    session = stack.http.get(f"/v1/sessions/{session_id}").raise_for_status().json()
    claims = [await _claimed(channel, id) for id in ids[:CLAIMED]]
    artifact = await _skill(channel)
    agent_id, instance_id = shown["spec"]["agent_id"], session["spec"]["agent_instance_id"]
    return {
        "execution_id": ids,
        "value": [*ids, agent_id, instance_id, session_id],
        "resource_id": [agent_id, instance_id, session_id, "no-such-id"],
        "id": [*ids, "a1", "t1"],
        "session_id": [session_id],
        "agent_id": [agent_id],
        "agent_instance_id": [instance_id],
        "handle": [claim.handle for claim in claims],
        "fence": [1, 2],
        "first": [0, 1],
        "from_seq": [1, 2],
        "run_token": [*[RUN_TOKEN] * 8, b"", b"another's" * 2],
        "begin_id": [f"begin-{id}" for id in ids],
        "claim_id": [f"claim-{id}" for id in ids],
        "incarnation": ["w-fuzz", "w-other"],
        "org": ["local", ""],
        "slug": ["agent-runner", "a-skill"],
        "name": ["A Name", "agent-runner"],
        "artifact_key": [artifact],
        "artifact_storage_key": [artifact],
        "artifact": [_archive()],
        "api_version": ["agentic.stigmer.ai/v1"],
        **{f"{kind}.kind": [kind] for kind in KINDS},
        "owner_scope": [0, 1, 2, 3],
        "ApiResourceReference.kind": [0, *(kind_number(kind) for kind in ResourceKind)],
        "Delta.kind": [*DELTAS, "unknown"],
        "payload": [*(json.dumps(p).encode() for p in (*GOOD * 8, *PAYLOADS)), *NOT_JSON],
        "facts_json": ['{"cause": 5, "limit_s": [], "attempt": {}}', *[""] * 8, "{", "NaN", "[]", '{"cause": "x"}'],
        "code": [*(code.value for code in Code), "E999"],
        "step": [*(step.value for step in Step), ""],
        "phase": [1, 2, 3, 4, 5, 9],
        "page_token": ["h1", "1", "2", "h9999999999999999999999", "h\u00b2", "\u0661", base64.b64encode(b"x").decode()],
        "instructions": ["Do what you are told."],
        "service": ["", "agent_runner.v1.Runner", "no.such.Service"],
    }


async def _claimed(channel: grpc.aio.Channel, id: str) -> pb.ClaimReply:
    runner: Any = runner_pb2_grpc.RunnerStub(channel)
    request = pb.BeginRequest(execution_id=id, begin_id=f"begin-{id}", incarnation="w-fuzz")
    assert (await runner.begin(request, metadata=AUTHORIZED)).granted
    done = pb.DoneRequest(execution_id=id, begin_id=f"begin-{id}", thread_id=f"thread-{id}")
    assert (await runner.done(done, metadata=AUTHORIZED)).accepted
    claim = pb.ClaimRequest(execution_id=id, claim_id=f"claim-{id}", incarnation="w-fuzz", run_token=RUN_TOKEN)
    reply: pb.ClaimReply = await runner.claim(claim, metadata=AUTHORIZED)
    assert reply.granted, reply.refusal
    return reply


async def _skill(channel: grpc.aio.Channel) -> str:
    """The key of its archive."""
    push = PushSkillRequest(name="A skill", org="local", artifact=_archive())
    stub: Any = skill_command.SkillCommandControllerStub(channel)
    return str((await stub.push(push, metadata=AUTHORIZED)).status.artifact_storage_key)


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("SKILL.md", "# A skill\n\nWhat it does.\n")
    return file.getvalue()
