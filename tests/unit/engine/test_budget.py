"""What a run may do: how its limits are read and merged, and what is counted."""

import json

import pytest

from agent_runner.clients.models.budget import ANNOTATION, BudgetError, Spent, budget_of, merged_budget


@pytest.mark.parametrize("given", ["{", "[]", '{"cost": 1}', '{"tokens": 0}', '{"tokens": true}', '{"tokens": 1.5}'])
def test_a_budget_that_cannot_be_used(given: str) -> None:
    """The text names the annotation."""
    with pytest.raises(BudgetError, match=ANNOTATION):
        budget_of(given)


def test_the_lower_limit_counts() -> None:
    """An execution can lower what its agent may do, and cannot raise it."""
    agent, own = {ANNOTATION: '{"tokens": 10, "tool_calls": 5}'}, {ANNOTATION: '{"tokens": 20, "model_calls": 3}'}
    assert json.loads(merged_budget(agent, own)) == {"tokens": 10, "tool_calls": 5, "model_calls": 3}
    assert merged_budget({}, {}) == ""


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
