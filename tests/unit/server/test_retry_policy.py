"""The policy of attempts: what is refused, how agent and execution are merged, and what readers see of attempts."""

import json
from typing import Any

import pytest
from httpx import ConnectError
from prometheus_client import generate_latest

from agent_runner.app.server.executions.drafts.draft import draft_of_json
from agent_runner.app.server.executions.drafts.run_config import check_annotations, retry_policy
from agent_runner.app.server.maintenance.end_counts import Ends
from agent_runner.app.server.problems import Problem
from agent_runner.clients.broker.task_names import ENSURE_THREAD, EXECUTE_GRAPHTON, TaskName, named_by, task_id
from agent_runner.clients.engine.memory.untold_steps import Step, reached
from agent_runner.clients.models.errors import BrokenStream, ModelError, passing
from agent_runner.status.failures import FAILURES, RETRIED_CODES, Attempts, Code
from agent_runner.status.log.log import LogRow, State, fold, render
from agent_runner.status.requests.retries import ANNOTATION, RetryPolicy


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "object"),
        ({"attempts": 2}, "maximum_attempts"),
        ({"maximum_attempts": 0}, "maximum_attempts"),
        ({"maximum_attempts": 11}, "maximum_attempts"),
        ({"maximum_attempts": True}, "maximum_attempts"),
        ({"maximum_attempts": 2.5}, "maximum_attempts"),
        ({"initial_interval_s": 0}, "initial_interval_s"),
        ({"initial_interval_s": "1"}, "initial_interval_s"),
        ({"backoff_coefficient": 0.5}, "backoff_coefficient"),
        ({"maximum_interval_s": 1e9}, "maximum_interval_s"),
        ({"codes": []}, "codes"),
        ({"codes": "E103"}, "codes"),
        ({"codes": ["E401"]}, "codes"),
        ({"codes": ["E999"]}, "codes"),
        ({"codes": [103]}, "codes"),
    ],
)
def test_what_a_policy_may_not_say_is_named(given: Any, field: str) -> None:
    """INVALID_ARGUMENT with the field, in the short form, in the contract's, and for agents."""
    annotations = {ANNOTATION: json.dumps(given)}
    for body in (
        {"message": "hi", "retry": given},
        {"spec": {"message": "hi"}, "metadata": {"annotations": annotations}},
    ):
        with pytest.raises(Problem, match=field):
            draft_of_json(body)
    with pytest.raises(Problem, match=field):
        check_annotations(annotations)


def test_the_executions_fields_win_over_the_agents() -> None:
    """Field by field; so an execution may take its agent's attempts away, or only change the pause."""
    agent = {ANNOTATION: json.dumps({"maximum_attempts": 3, "codes": ["E103"]})}
    draft = draft_of_json({"message": "hi", "retry": {"initial_interval_s": 90, "backoff_coefficient": 1.5}})
    policy = retry_policy(agent, draft.execution.metadata.annotations)
    assert policy == RetryPolicy(
        maximum_attempts=3,
        initial_interval_s=90,
        backoff_coefficient=1.5,
        maximum_interval_s=90,
        codes=(Code.WORKER_LOST,),
    )
    assert RetryPolicy.from_json(policy.to_json(), 3) == policy
    alone = draft_of_json({"message": "hi", "retry": {"maximum_attempts": 1.0}})
    assert retry_policy(agent, alone.execution.metadata.annotations).to_json() == ""
    assert retry_policy({}, {}) == RetryPolicy()


def test_pauses_grow_to_their_limit() -> None:
    """Temporal's formula; a longer time that the failure asks for counts."""
    policy = RetryPolicy(maximum_attempts=5, initial_interval_s=1, backoff_coefficient=3, maximum_interval_s=10)
    assert [policy.pause_s(attempt, {}) for attempt in range(1, 5)] == [1, 3, 9, 10]
    assert policy.pause_s(1, {"retry_after_s": 20}) == 20
    assert policy.pause_s(4, {"retry_after_s": 2}) == 10


@pytest.mark.parametrize("code", Code)
def test_only_the_table_says_what_may_be_tried_again(code: Code) -> None:
    """A policy cannot name what the table never retries, and without names the table decides."""
    rule, named = FAILURES[code].attempts, RetryPolicy(maximum_attempts=2, codes=(code,))
    default = RetryPolicy(maximum_attempts=2)
    assert named.retries(code, {}) == (rule is not Attempts.NEVER) == (code in RETRIED_CODES)
    assert default.retries(code, {}) == (rule is Attempts.BY_DEFAULT)
    assert default.retries(code, {"transient": True}) == (rule in (Attempts.BY_DEFAULT, Attempts.IF_TRANSIENT))


def test_a_models_error_says_whether_it_passes() -> None:
    """A provider that is away or breaks off passes by itself; a model that is not set up does not."""
    away = RuntimeError("the node failed")
    away.__cause__ = ConnectError("refused")
    assert passing(away) == {"transient": True}
    assert passing(BrokenStream(began=True)) == {"transient": True}
    assert passing(ModelError("no model", "set one")) == {}
    assert passing(ValueError("no paper")) == {}


@pytest.mark.parametrize(
    ("task", "attempt", "id"),
    [
        (ENSURE_THREAD, 1, "aex-1:ensure_thread"),
        (EXECUTE_GRAPHTON, 1, "aex-1:execute"),
        (EXECUTE_GRAPHTON, 3, "aex-1:execute.3"),
    ],
)
def test_a_tasks_id_names_its_attempt(task: str, attempt: int, id: str) -> None:
    """The first attempt has the id that it always had; ids of others are nobody's."""
    assert task_id("aex-1", task, attempt) == id
    assert named_by(id) == TaskName(execution_id="aex-1", step=id.split(":")[1].split(".")[0], attempt=attempt)
    for foreign in ("", "aex-1", "aex-1:other", "aex-1:execute.x", "aex-1:execute."):
        assert named_by(foreign) == TaskName()


def step(id: str, parent: str, source: str = "loop", execution_id: str = "mine") -> Step:
    return Step(id=id, parent=parent, source=source, execution_id=execution_id)


def test_a_run_finds_its_steps_although_it_removed_some() -> None:
    """A run removes checkpoints that it needs no more: its later ones still count, those of others do not."""
    steps = [step("2", "1", "input"), step("5", "4"), step("6", "5"), step("7", "5", "input", "another")]
    assert [one.id for one in reached(steps, "1", {"mine"})] == ["2", "5", "6"]
    assert [one.id for one in reached(steps, "1", {"nobody"})] == []


def rows(*told: tuple[str, dict[str, Any]]) -> list[LogRow]:
    return [LogRow(seq=n, at=float(n), fence=1, kind=kind, payload=p) for n, (kind, p) in enumerate(told, 1)]


def test_a_call_that_was_open_is_possibly_repeated() -> None:
    """It waits again, and keeps the mark when it has ended after all; a finished one has none. Also from a snapshot."""
    lost = {"attempt": 1, "error_code": "E103", "error": "gone", "worker": "w1", "pause_s": 2}
    before = rows(
        ("tool_call", {"id": "a", "name": "quick", "status": "TOOL_CALL_RUNNING"}),
        ("tool_end", {"id": "a", "status": "TOOL_CALL_COMPLETED", "result": "done"}),
        ("tool_call", {"id": "b", "name": "slow", "status": "TOOL_CALL_RUNNING"}),
        ("attempt", lost),
    )
    state = State.from_json(fold(before).to_json())
    quick, slow = render(state)["tool_calls"]
    assert "component_metadata" not in quick
    assert (slow["status"], slow["component_metadata"]["metadata"]) == (
        "TOOL_CALL_PENDING",
        {"possibly_repeated": True},
    )
    (told,) = state.attempts
    assert told["possibly_repeated"] == [{"id": "b", "name": "slow"}]
    assert (told["ended_at"], told["next_at"]) == (4.0, 6.0)
    again = {"id": "b", "name": "slow", "status": "TOOL_CALL_RUNNING", "component": {"component_type": "x"}}
    after = rows(("tool_call", again), ("tool_end", {"id": "b", "status": "TOOL_CALL_COMPLETED", "result": "at last"}))
    ended = render(fold(after, state))["tool_calls"][1]
    assert (ended["status"], ended["result"]) == ("TOOL_CALL_COMPLETED", "at last")
    assert ended["component_metadata"]["metadata"] == {"possibly_repeated": True}


def test_failed_attempts_are_counted_by_code() -> None:
    """Every code that may be followed by another attempt has its series from the start."""
    counted = Ends()
    counted.retried("aex-1", 1, Code.WORKER_LOST, 2.0)
    told = generate_latest(counted.registry).decode()
    for code in RETRIED_CODES:
        value = "1.0" if code is Code.WORKER_LOST else "0.0"
        assert f'agent_runner_attempts_retried_total{{code="{code.value}"}} {value}\n' in told
