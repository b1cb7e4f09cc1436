"""The spec is the user's and the status the system's; what has ended is final; what runs cannot be deleted."""

from typing import Any

import grpc
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import (
    EXECUTION_CANCELLED,
    EXECUTION_COMPLETED,
    EXECUTION_FAILED,
    EXECUTION_IN_PROGRESS,
    EXECUTION_PENDING,
    ExecutionPhase,
)
from tests.contract.methods.facts import EXECUTION, FACTS
from tests.contract.methods.world import World, request
from tests.unit.server.conftest import Worker

pytestmark = pytest.mark.asyncio(loop_scope="session")
DELETE, UPDATE = "AgentExecutionCommandController.delete", "AgentExecutionCommandController.update"
UPDATE_STATUS = "AgentExecutionCommandController.updateStatus"
TERMINAL = (EXECUTION_COMPLETED, EXECUTION_FAILED, EXECUTION_CANCELLED)
each_end = pytest.mark.parametrize("phase", TERMINAL, ids=ExecutionPhase.Name)


def status_of(id: str, **fields: Any) -> Any:
    given = request(UPDATE_STATUS, execution_id=id)
    given.status.SetInParent()
    for name, value in fields.items():
        setattr(given.status, name, value)
    return given


async def in_phase(world: World, phase: Any) -> Any:
    made = await world.make(EXECUTION)
    if phase == EXECUTION_PENDING:
        return made
    return await world.end(made, phase)


@pytest.mark.parametrize("phase", [EXECUTION_PENDING, EXECUTION_IN_PROGRESS], ids=ExecutionPhase.Name)
async def test_what_has_not_ended_is_not_deleted(phase: Any, world: World) -> None:
    """FAILED_PRECONDITION with its id and its phase, and it is still there."""
    made = await in_phase(world, phase)
    code, text = await world.admin.refused(DELETE, request(DELETE, value=made.metadata.id))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert made.metadata.id in text
    assert ExecutionPhase.Name(phase) in text
    assert await world.get(EXECUTION, made.metadata.id) == made


@each_end
async def test_what_has_ended_is_deleted(phase: Any, world: World) -> None:
    """In any terminal phase: it is answered as it was, and is gone."""
    made = await in_phase(world, phase)
    given = request(DELETE, value=made.metadata.id)
    assert await world.admin.call(DELETE, given) == made
    assert (await world.admin.refused(DELETE, given))[0] is grpc.StatusCode.NOT_FOUND


@each_end
async def test_a_terminal_status_is_final(phase: Any, world: World) -> None:
    """updateStatus after the end is FAILED_PRECONDITION, whatever it says, and changes nothing."""
    made = await in_phase(world, phase)
    late = [status_of(made.metadata.id, phase=wanted) for wanted in ExecutionPhase.values()]
    late += [status_of(made.metadata.id), status_of(made.metadata.id, error="late")]
    for given in late:
        code, text = await world.admin.refused(UPDATE_STATUS, given)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert made.metadata.id in text
    assert await world.get(EXECUTION, made.metadata.id) == made


async def test_a_native_run_is_reported_by_its_worker(world: World) -> None:
    """updateStatus of what was claimed through the runner service is FAILED_PRECONDITION, and changes nothing."""
    made = await world.make(EXECUTION)
    await Worker(world.server).claim(made.metadata.id)
    running = await world.get(EXECUTION, made.metadata.id)
    assert running.status.phase == EXECUTION_IN_PROGRESS
    for phase in (EXECUTION_IN_PROGRESS, EXECUTION_COMPLETED):
        code, text = await world.admin.refused(UPDATE_STATUS, status_of(made.metadata.id, phase=phase))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "runner service" in text
    assert await world.get(EXECUTION, made.metadata.id) == running


@pytest.mark.promise("1.80", "1.81", "2.01", "2.07")
@pytest.mark.parametrize("phase", ExecutionPhase.values()[1:], ids=ExecutionPhase.Name)
async def test_update_never_touches_the_status(phase: Any, world: World) -> None:
    """update() with any status: the answer and `get` show the one that was there."""
    made = await in_phase(world, phase)
    for forged in ExecutionPhase.values():
        given = type(made)()
        given.CopyFrom(made)
        given.status.Clear()
        given.status.phase, given.status.error, given.status.completed_at = forged, "forged", "forged"
        given.status.messages.add(type=2, content="forged")
        given.status.tool_calls.add(id="forged")
        given.status.sub_agent_executions.add(id="forged")
        given.status.todos["1"].content = "forged"
        answer = await world.admin.call(UPDATE, given)
        assert answer.status == made.status
    assert (await world.get(EXECUTION, made.metadata.id)).status == made.status


async def test_update_never_replaces_the_spec(world: World) -> None:
    """What was accepted is fixed: another message, session or agent is FAILED_PRECONDITION that names the field."""
    made = await world.make(EXECUTION)
    other = await world.make(EXECUTION)
    for field, value in (("message", "another"), ("session_id", other.spec.session_id), ("agent_id", "agt-other")):
        given = type(made)()
        given.CopyFrom(made)
        setattr(given.spec, field, value)
        code, text = await world.admin.refused(UPDATE, given)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert f"spec.{field}" in text
    assert await world.get(EXECUTION, made.metadata.id) == made


@pytest.mark.promise("1.80", "1.94", "2.01", "2.07")
@pytest.mark.parametrize("said", [(), ((2, "an answer"),), ((1, "another question"), (2, "an answer"))])
async def test_update_status_never_touches_the_spec(said: tuple[tuple[int, str], ...], world: World) -> None:
    """updateStatus() takes an id and a status only; whatever conversation it brings, spec and metadata stay."""
    (input_,) = (m["input"] for s in FACTS["services"].values() for m in s if m["method"] == "updateStatus")
    assert [f["name"] for f in FACTS["messages"][input_]] == ["execution_id", "status"]
    made = await world.make(EXECUTION)
    for phase in (EXECUTION_IN_PROGRESS, EXECUTION_COMPLETED):
        given = status_of(made.metadata.id, phase=phase)
        for type_, content in said:
            given.status.messages.add(type=type_, content=content)
        answer = await world.admin.call(UPDATE_STATUS, given)
        assert (answer.metadata, answer.spec) == (made.metadata, made.spec)
        assert answer.status.phase == phase
        wanted = [content for _, content in said] or [made.spec.message]
        assert [m.content for m in answer.status.messages] == wanted
    assert await world.get(EXECUTION, made.metadata.id) == answer
