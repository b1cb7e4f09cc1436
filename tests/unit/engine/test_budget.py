"""What a run may do: how its limits are read and merged, and what is counted."""

import json
from typing import Any

import pytest

from agent_runner.clients.models.budget import (
    ANNOTATION,
    OWNERS,
    BudgetError,
    Spent,
    budget_of,
    merged_budget,
    spent_in,
)
from agent_runner.clients.models.prices import Prices


@pytest.mark.parametrize("given", ["{", "[]", '{"price": 1}', '{"tokens": 0}', '{"tokens": true}', '{"tokens": 1.5}'])
def test_a_budget_that_cannot_be_used(given: str) -> None:
    """The text names the annotation."""
    with pytest.raises(BudgetError, match=ANNOTATION):
        budget_of(given)


def test_the_lower_limit_counts() -> None:
    """An execution can lower what its agent may do, and cannot raise it."""
    agent, own = {ANNOTATION: '{"tokens": 10, "tool_calls": 5}'}, {ANNOTATION: '{"tokens": 20, "model_calls": 3}'}
    merged = merged_budget(agent, own)
    assert json.loads(merged[ANNOTATION]) == {"tokens": 10, "tool_calls": 5, "model_calls": 3}
    assert json.loads(merged[OWNERS]) == {"tokens": "agent", "tool_calls": "agent", "model_calls": "execution"}
    assert merged_budget({}, {}) == {}


def test_what_is_counted() -> None:
    """Each limit is reached by the call after the last one that it allows."""
    spent = Spent({"model_calls": 2, "tool_calls": 4, "tokens": 100, "same_calls": 2})
    assert [spent.model_call() for _ in range(3)] == ["", "", "more than 2 model_calls"]
    assert [spent.tool_call("ls", {"path": "/"}) for _ in range(2)] == ["", ""]
    assert "same_calls: 'ls'" in spent.tool_call("ls", {"path": "/"})
    assert spent.tool_call("ls", {"path": "/other"}) == ""
    assert spent.tool_call("ls", {"path": "/more"}) == "more than 4 tool_calls"
    free = Spent({"tokens": 100})
    free.answered({"total_tokens": 101})
    free.answered(None)
    assert free.model_call() == "more than 100 tokens"
    assert Spent().model_call() == Spent().tool_call("ls", {}) == ""


def test_whose_limit_it_was() -> None:
    """The text says where to raise it."""
    spent = Spent({"model_calls": 1, "tool_calls": 1}, owners={"model_calls": "agent", "tool_calls": "execution"})
    assert [spent.model_call() for _ in range(2)][1] == "more than 1 model_calls, the limit of its agent"
    assert [spent.tool_call("ls", {}) for _ in range(2)][1] == "more than 1 tool_calls, its own limit"


@pytest.mark.promise("6.04")
def test_what_an_execution_did_before() -> None:
    """Counted from its state, and gone on with: the next owner has what is left."""
    usage = {"usage": {"total_tokens": 60}}
    messages: dict[str, dict[str, Any]] = {
        "user": {"type": "MESSAGE_HUMAN"},
        "a1": {"type": "MESSAGE_AI", "metadata": usage},
        "a2": {"type": "MESSAGE_AI", "metadata": usage},
        "a3": {"type": "MESSAGE_AI"},
        "interrupt": {"type": "MESSAGE_AI"},
    }
    calls: dict[str, dict[str, Any]] = {
        "c1": {"name": "execute", "args": {"command": "x"}, "started_at": 10.0, "completed_at": 14.5},
        "c2": {"name": "execute", "args": {"command": "x"}, "started_at": 20.0},
        "c3": {"name": "task", "args": {"description": "x"}, "started_at": 20.0, "completed_at": 90.0},
    }
    before = spent_in(messages, calls)
    assert {name: before[name] for name in before if name not in ("same", "costs")} == {
        "model_calls": 3,
        "tool_calls": 3,
        "tokens": 120,
        "tool_seconds": 4.5,
    }
    before = json.loads(json.dumps(before))
    assert Spent({"model_calls": 3}, before=before).model_call() == "more than 3 model_calls"
    assert Spent({"tokens": 100}, before=before).model_call() == "more than 100 tokens"
    assert Spent({"tool_calls": 3}, before=before).tool_call("ls", {}) == "more than 3 tool_calls"
    assert Spent({"tool_seconds": 4}, before=before).tool_call("ls", {}) == "more than 4 tool_seconds"
    assert Spent({"tool_seconds": 5}, before=before).tool_left_s() == 0.5
    again = Spent({"same_calls": 2}, before=before)
    assert "same_calls: 'execute'" in again.tool_call("execute", {"command": "x"})
    assert again.tool_call("execute", {"command": "y"}) == ""


def test_who_may_make_a_question_of_it() -> None:
    """An agent's limit becomes a question only if the agent says so; an execution may end instead."""
    ask, end = {ANNOTATION: '{"tokens": 10, "reached": "ask"}'}, {ANNOTATION: '{"tokens": 10}'}
    stop = {ANNOTATION: '{"reached": "end"}'}
    for agent, execution, asks in (
        (ask, {}, True), (ask, end, True), (ask, stop, False), (end, ask, False), ({}, ask, True), ({}, end, False),
    ):  # fmt: skip
        owners = json.loads(merged_budget(agent, execution)[OWNERS])
        assert (owners.get("reached") == "ask") is asks, (agent, execution)
        assert Spent({"tokens": 10}, owners=owners).asks is asks
    with pytest.raises(BudgetError, match="reached must be end or ask"):
        budget_of('{"tokens": 10, "reached": "later"}')


def test_where_a_person_is_asked() -> None:
    """Before the model's next call: the calls of tools that it has made run first."""
    spent = Spent({"tool_calls": 1}, owners={"reached": "ask", "tool_calls": "agent"})
    assert [spent.tool_call("ls", {}) for _ in range(2)] == ["", ""]
    assert spent.model_call() == "more than 1 tool_calls, the limit of its agent"
    timed = Spent({"tool_seconds": 1}, owners={"reached": "ask"}, before={"tool_seconds": 2})
    assert (timed.tool_left_s(), timed.tool_call("ls", {}), timed.model_call()) == (
        None,
        "",
        "more than 1 tool_seconds",
    )


def test_what_the_calls_cost() -> None:
    """By the operator's prices, in each currency by itself, with what earlier owners spent; no price costs nothing."""
    prices = Prices('[{"model": "a*", "currency": "USD", "input": 1000000, "output": 2000000}]')
    spent = Spent({"cost": 7.5}, before={"costs": {"USD": 1.0, "EUR": 7.0}}, priced=prices)
    spent.answered({"input_tokens": 2, "output_tokens": 2, "total_tokens": 4}, "a-model")
    spent.answered({"input_tokens": 900, "output_tokens": 2, "total_tokens": 902}, "b-model")
    assert (spent.costs, spent.model_call()) == ({"USD": 7.0, "EUR": 7.0}, "")
    spent.answered({"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}, "a-model")
    assert spent.model_call() == "more than 7.5 cost"
    state = {"a1": {"type": "MESSAGE_AI", "metadata": {"cost": {"amount": 0.5, "currency": "USD"}}}}
    assert spent_in(state, {})["costs"] == {"USD": 0.5}
    with pytest.raises(BudgetError, match="cost must be a number above 0"):
        budget_of('{"cost": 0}')
