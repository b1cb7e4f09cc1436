"""A claim by the contract's calls alone: what is asked in which order, what comes of it, and what is refused."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import ExecutionPhase, MessageType
from agent_runner.clients.reporting import compatible
from agent_runner.clients.reporting.compatible import CompatibleBackend
from agent_runner.clients.reporting.native import BackendError, BackendUnavailable
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.compatible.claims import Saying, claim
from tests.unit.compatible.contract_server import EXECUTION, SESSION, ContractServer

SKILL = "---\nname: Weather\ndescription: Tells the weather.\n---\nLook outside.\n"


@pytest.mark.promise("1.65")
async def test_the_chain_is_asked_in_order(server: ContractServer, backend: CompatibleBackend) -> None:
    """Execution, session, instance, agent; then the references; then the thread is stored and the start is told."""
    server.add_environment("prod", REGION="eu")
    told = await claim(backend)
    assert told.granted
    assert server.methods == [
        "AgentExecution.get",
        "Session.get",
        "AgentInstance.get",
        "Agent.get",
        "Environment.getByReference",
        "Session.update",
        "AgentExecution.updateStatus",
    ]
    assert (told.message, told.agent.spec.instructions) == ("hello", "You are a helpful agent.")
    assert (told.session.metadata.id, told.org, told.attempt) == (SESSION, "acme", 1)
    assert told.start_to_close_s == 600
    assert server.foreign == []


@pytest.mark.promise("1.68")
async def test_environments_and_skills_are_resolved_side_by_side(
    server: ContractServer, backend: CompatibleBackend
) -> None:
    """Three environments and two skills on a server that takes 200 ms for each: all five are asked at once."""
    for number in range(3):
        server.add_environment(f"env-{number}")
    for number in range(2):
        server.add_skill(f"skill-{number}", SKILL, b"zip")
        server.agent.spec.skill_refs.add(slug=f"skill-{number}")
    server.delay_s |= {"Environment.getByReference": 0.2, "Skill.getByReference": 0.2}
    told = await claim(backend)
    assert server.most_delayed == 5
    assert len(told.skills) == 2


async def test_a_new_thread_is_stored_in_the_session(server: ContractServer, backend: CompatibleBackend) -> None:
    """Made from the session's id, with one update that changes nothing else."""
    told = await claim(backend)
    assert told.thread_id == f"thread-{SESSION}"
    assert server.session.spec.thread_id == told.thread_id
    assert server.session.spec.agent_instance_id == "ain-1"


async def test_a_known_thread_is_used(server: ContractServer, backend: CompatibleBackend) -> None:
    """Then the session is not written."""
    server.session.spec.thread_id, server.session.spec.sandbox_id = "thread-old", "sbx-1"
    told = await claim(backend)
    assert (told.thread_id, told.sandbox_id) == ("thread-old", "sbx-1")
    assert "Session.update" not in server.methods


async def test_a_session_that_cannot_be_written_stops_nothing(
    server: ContractServer, backend: CompatibleBackend
) -> None:
    """The thread follows from the session's id, so the next turn finds the same one."""
    server.refuse = lambda method, _: grpc.StatusCode.PERMISSION_DENIED if method == "Session.update" else None
    assert (await claim(backend)).thread_id == f"thread-{SESSION}"


async def test_the_environment_is_merged_in_layers(server: ContractServer, backend: CompatibleBackend) -> None:
    """The agent's, then the references in order, then the execution's own; the names of secrets are told."""
    server.agent.spec.env_spec.data["A"].value = "agent"
    server.agent.spec.env_spec.data["B"].value = "agent"
    server.add_environment("first", B="first", C="first")
    server.add_environment("second", secret=True, C="second", D="second")
    server.execution.spec.runtime_env["D"].value = "execution"
    told = await claim(backend)
    assert dict(told.env) == {"A": "agent", "B": "first", "C": "second", "D": "execution"}
    assert list(told.secret_names) == ["C"]
    assert not told.agent.spec.HasField("env_spec")


async def test_a_secret_that_the_server_hides_ends_the_run(server: ContractServer, backend: CompatibleBackend) -> None:
    """With three asterisks an agent could only fail later, and nobody would know why."""
    server.add_environment("prod", secret=True, TOKEN="***")
    told = await claim(backend)
    assert (told.granted, told.bundle_error_code, told.bundle_error_what) == (True, "E304", "prod")
    assert "TOKEN" in told.bundle_error
    assert "TOKEN" not in told.env


@pytest.mark.parametrize(
    ("break_it", "code", "what", "words"),
    [
        (lambda s: s.sessions.clear(), "E302", "", "session ses-1: NOT_FOUND"),
        (lambda s: s.instances.clear(), "E302", "", "agent instance ain-1: NOT_FOUND"),
        (lambda s: s.agents.clear(), "E302", "", "agent agt-1: NOT_FOUND"),
        (lambda s: s.instance.spec.ClearField("agent_id"), "E302", "", "agent_id cannot be empty"),
        (lambda s: s.instance.spec.environment_refs.add(slug="gone"), "E304", "gone", "NOT_FOUND"),
        (lambda s: s.agent.spec.skill_refs.add(slug="gone"), "E303", "gone", "NOT_FOUND"),
    ],
)
async def test_what_is_missing_is_the_reason_of_the_end(
    server: ContractServer,
    backend: CompatibleBackend,
    break_it: Callable[[ContractServer], None],
    code: str,
    what: str,
    words: str,
) -> None:
    """The claim is granted, so that the run can end with what could not be resolved."""
    break_it(server)
    told = await claim(backend)
    assert (told.granted, told.bundle_error_code, told.bundle_error_what) == (True, code, what)
    assert words in told.bundle_error


async def test_skills_of_the_agent_and_of_its_sub_agents(server: ContractServer, backend: CompatibleBackend) -> None:
    """Name and description are SKILL.md's; the archive comes by its key; a folder leads nowhere else."""
    server.add_skill("../weather", SKILL, b"zip")
    server.agent.spec.skill_refs.add(slug="../weather")
    server.agent.spec.sub_agents.add(name="scout").skill_refs.add(slug="../weather")
    told = await claim(backend)
    assert [(s.name, s.description, s.sub_agent) for s in told.skills] == [
        ("Weather", "Tells the weather.", ""),
        ("Weather", "Tells the weather.", "scout"),
    ]
    assert {s.folder for s in told.skills} == {"___weather"}
    assert await backend.skill(told.skills[0].artifact_key) == b"zip"


async def test_our_annotations_are_followed(server: ContractServer, backend: CompatibleBackend) -> None:
    """Graph, timeouts and input of an execution; what makes no sense is passed over."""
    server.execution.metadata.annotations["agent-runner/graph"] = "adder"
    server.execution.metadata.annotations["agent-runner/timeouts"] = '{"start_to_close_s": 7, "heartbeat_s": 2}'
    server.execution.metadata.annotations["agent-runner/input"] = '{"numbers": [1]}'
    told = await claim(backend)
    assert (told.graph, told.start_to_close_s, told.input_json) == ("adder", 7, '{"numbers": [1]}')


async def test_nonsense_in_annotations(server: ContractServer, backend: CompatibleBackend) -> None:
    """The settings hold instead."""
    server.execution.metadata.annotations["agent-runner/timeouts"] = '{"start_to_close_s": "long"}'
    server.execution.metadata.annotations["agent-runner/input"] = "{"
    told = await claim(backend)
    assert (told.granted, told.start_to_close_s, told.input_json) == (True, 600, "")


async def test_the_start_is_told(server: ContractServer, backend: CompatibleBackend) -> None:
    """IN_PROGRESS since now, with what the user said."""
    await claim(backend)
    (update,) = server.updates
    assert update.phase == ExecutionPhase.EXECUTION_IN_PROGRESS
    assert update.started_at
    assert [(m.type, m.content) for m in update.messages] == [(MessageType.MESSAGE_HUMAN, "hello")]


@pytest.mark.parametrize("phase", ["COMPLETED", "FAILED", "CANCELLED", "IN_PROGRESS"])
async def test_what_has_begun_or_ended_is_refused(
    server: ContractServer, backend: CompatibleBackend, phase: str
) -> None:
    """A message that comes again starts nothing, and nothing is written."""
    server.execution.status.phase = ExecutionPhase.Value(f"EXECUTION_{phase}")
    server.execution.status.started_at = datetime.now(UTC).isoformat()
    told = await claim(backend)
    assert not told.granted
    assert told.refusal
    assert server.methods == ["AgentExecution.get"]


async def test_a_second_delivery_in_this_worker(server: ContractServer, backend: CompatibleBackend) -> None:
    """Refused while the first one runs; the same claim again gets the same answer."""
    told = await claim(backend)
    assert await claim(backend) == told
    assert not (await claim(backend, "c-2")).granted


async def test_what_was_left_by_a_dead_worker_is_ended(server: ContractServer, backend: CompatibleBackend) -> None:
    """Begun longer ago than any run may take: E103, and what it had said stays."""
    server.execution.status.phase = ExecutionPhase.EXECUTION_IN_PROGRESS
    server.execution.status.started_at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    server.execution.status.messages.add(type=MessageType.MESSAGE_AI, content="half a word")
    assert not (await claim(backend)).granted
    stored = server.execution.status
    assert stored.phase == ExecutionPhase.EXECUTION_FAILED
    assert stored.error.endswith("[E103 WORKER_LOST]")
    assert stored.messages[0].content == "half a word"
    assert stored.messages[-1].type == MessageType.MESSAGE_SYSTEM


async def test_an_unknown_execution_is_refused(backend: CompatibleBackend) -> None:
    """NOT_FOUND is no failure of the worker."""
    told = await backend.claim(pb.ClaimRequest(execution_id="aex-9", claim_id="c", incarnation="inc"))
    assert (told.granted, told.refusal) == (False, "no such execution")


async def test_a_server_that_takes_no_status_is_an_error(server: ContractServer, backend: CompatibleBackend) -> None:
    """Nothing is begun whose end could not be told."""
    server.refuse = lambda method, _: (
        grpc.StatusCode.PERMISSION_DENIED if method == "AgentExecution.updateStatus" else None
    )
    with pytest.raises(BackendError, match="PERMISSION_DENIED"):
        await claim(backend)


async def test_the_first_step_is_local(server: ContractServer, backend: CompatibleBackend) -> None:
    """EnsureThread asks the server nothing."""
    begun = await backend.begin(pb.BeginRequest(execution_id=EXECUTION, begin_id="b", incarnation="inc"))
    assert not begun.granted
    assert (await backend.done(pb.DoneRequest(execution_id=EXECUTION, begin_id="b", thread_id="t"))).accepted
    assert server.calls == []


async def test_a_run_is_not_handed_back(server: ContractServer, backend: CompatibleBackend) -> None:
    """Nobody would go on with it; it can still be settled."""
    run = await Saying.begun(server, backend)
    assert not (await backend.hand_back(pb.HandBackRequest(handle=run.told.handle, fence=1))).accepted
    assert (await run.settle()).phase == Phase.COMPLETED


async def test_a_server_that_does_not_answer_is_told_about(
    server: ContractServer, backend: CompatibleBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sends the message again, so the claim is not left in silence: the error callback gets its reason."""
    monkeypatch.setattr(compatible, "CLAIM_TOTAL_S", 0.3)
    await server.stop()
    with pytest.raises(BackendError) as caught:
        await claim(backend)
    assert not isinstance(caught.value, BackendUnavailable)
    await server.start()
    assert (await claim(backend)).granted


async def test_a_picture_is_not_dropped_in_silence(server: ContractServer, backend: CompatibleBackend) -> None:
    """The contract cannot bring it: the run ends with that, and the agent is not asked without it."""
    message = server.execution.status.messages.add(type=MessageType.MESSAGE_HUMAN, content="look")
    message.metadata.update({"attachments": [{"id": "att-1", "type": "image"}]})
    told = await claim(backend)
    assert told.granted
    assert "AGENT_RUNNER_REPORTING=native" in told.bundle_error


async def test_the_graph_is_given_context_and_config(server: ContractServer, backend: CompatibleBackend) -> None:
    """As a server of ours would: the execution's over the agent's, and who made it."""
    server.agent.metadata.annotations["agent-runner/context"] = json.dumps({"tenant": "acme", "seats": 1})
    server.execution.metadata.annotations["agent-runner/context"] = json.dumps({"seats": 2})
    config = {"tags": ["a"], "configurable": {"tone": "dry"}, "recursion_limit": 7}
    server.agent.metadata.annotations["agent-runner/config"] = json.dumps(config)
    server.execution.metadata.annotations["agent-runner/config"] = json.dumps({"tags": ["b"]})
    server.execution.status.audit.spec_audit.created_by.id = "ann"
    told = await claim(backend)
    assert json.loads(told.context_json) == {"tenant": "acme", "seats": 2}
    assert json.loads(told.config_json) == config | {"tags": ["a", "b"]}
    assert told.caller == "ann"


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("context", "[1]", "must be an object"),
        ("context", "{", "is not JSON"),
        ("config", '{"configurable": {"thread_id": "t"}}', "this name is the runner's own"),
        ("config", '{"callbacks": []}', "unknown fields callbacks"),
    ],
)
async def test_a_context_that_the_server_has_not_checked_ends_the_run(
    server: ContractServer, backend: CompatibleBackend, name: str, given: str, says: str
) -> None:
    """With the annotation's name; nothing of it reaches the graph."""
    server.execution.metadata.annotations[f"agent-runner/{name}"] = given
    told = await claim(backend)
    assert f"agent-runner/{name}" in told.bundle_error
    assert says in told.bundle_error
    assert (told.context_json, told.config_json) == ("", "")


async def test_the_lower_budget_counts(server: ContractServer, backend: CompatibleBackend) -> None:
    """That of the agent and that of the execution, as with a server of ours."""
    server.agent.metadata.annotations["agent-runner/budget"] = json.dumps({"tool_calls": 5, "tokens": 10})
    server.execution.metadata.annotations["agent-runner/budget"] = json.dumps({"tool_calls": 9, "model_calls": 2})
    told = await claim(backend)
    limits = json.loads(told.agent.metadata.annotations["agent-runner/budget"])
    assert limits == {"tool_calls": 5, "tokens": 10, "model_calls": 2}


async def test_the_models_that_stand_in(server: ContractServer, backend: CompatibleBackend) -> None:
    """The execution's list replaces the agent's."""
    server.agent.metadata.annotations["agent-runner/fallback-models"] = "a, b"
    server.execution.metadata.annotations["agent-runner/fallback-models"] = "c"
    told = await claim(backend)
    assert json.loads(told.agent.metadata.annotations["agent-runner/fallback-models"]) == ["c"]


async def test_models_that_cannot_be_read(server: ContractServer, backend: CompatibleBackend) -> None:
    """The annotation is named."""
    server.agent.metadata.annotations["agent-runner/fallback-models"] = "[1]"
    assert "agent-runner/fallback-models must be a list" in (await claim(backend)).bundle_error
