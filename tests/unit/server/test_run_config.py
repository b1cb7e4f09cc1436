"""Context and config of an execution and of its agent: what is refused, and how they are merged."""

import json
from typing import Any

import pytest

from agent_runner.app.server.executions.drafts.draft import draft_of_json
from agent_runner.app.server.executions.drafts.run_config import (
    CONFIG,
    CONTEXT,
    check_annotations,
    check_config,
    merged,
)
from agent_runner.app.server.problems import Problem


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ([], "config:"),
        ({"callbacks": []}, "callbacks"),
        ({"tags": "x"}, "config.tags"),
        ({"tags": [1]}, "config.tags"),
        ({"tags": ["a\0"]}, "config.tags"),
        ({"metadata": []}, "config.metadata"),
        ({"configurable": {"thread_id": "t"}}, "configurable.thread_id"),
        ({"configurable": {"checkpoint_ns": "t"}}, "configurable.checkpoint_ns"),
        ({"configurable": {"__pregel_store": 1}}, "configurable.__pregel_store"),
        ({"configurable": {"langgraph_auth_user": {}}}, "langgraph_auth_user"),
        ({"configurable": {"org": "other"}}, "configurable.org"),
        ({"metadata": {"execution_id": "x"}}, "metadata.execution_id"),
        ({"recursion_limit": 0}, "recursion_limit"),
        ({"recursion_limit": True}, "recursion_limit"),
        ({"max_concurrency": 1.5}, "max_concurrency"),
    ],
)
def test_what_a_config_may_not_hold_is_named(config: Any, field: str) -> None:
    """INVALID_ARGUMENT with the field, in the short form and in the contract's."""
    for body in (
        {"message": "hi", "config": config},
        {"spec": {"message": "hi"}, "metadata": {"annotations": {CONFIG: json.dumps(config)}}},
    ):
        with pytest.raises(Problem) as caught:
            draft_of_json(body)
        assert field.removeprefix("config") in caught.value.detail


@pytest.mark.parametrize("context", [[], "x", 1])
def test_a_context_is_an_object(context: Any) -> None:
    """Anything else is refused at create."""
    with pytest.raises(Problem, match="context"):
        draft_of_json({"message": "hi", "context": context})


def test_the_short_form_becomes_annotations() -> None:
    """Both forms mean the same, so that an update shows and a redrive repeats what was given."""
    config = {"tags": ["a"], "configurable": {"tenant": "acme"}, "recursion_limit": 7}
    draft = draft_of_json({"message": "hi", "context": {"tenant": "acme"}, "config": config})
    annotations = draft.execution.metadata.annotations
    assert json.loads(annotations[CONTEXT]) == {"tenant": "acme"}
    assert json.loads(annotations[CONFIG]) == config == check_config(config)


def test_the_executions_values_win_over_the_agents() -> None:
    """Key by key; the tags of both are kept."""
    agent = {
        CONTEXT: json.dumps({"tenant": "default", "seats": 3}),
        CONFIG: json.dumps({"tags": ["a", "b"], "configurable": {"x": 1, "y": 1}, "recursion_limit": 5}),
    }
    own = {
        CONTEXT: json.dumps({"tenant": "acme"}),
        CONFIG: json.dumps({"tags": ["b", "c"], "configurable": {"y": 2}, "max_concurrency": 3}),
    }
    context, config = merged(agent, own)
    assert context == {"tenant": "acme", "seats": 3}
    assert config == {
        "tags": ["a", "b", "c"],
        "configurable": {"x": 1, "y": 2},
        "recursion_limit": 5,
        "max_concurrency": 3,
    }
    assert merged({}, {}) == (None, {})


def test_options_of_mcp_servers_that_cannot_be_used() -> None:
    """The annotation is refused when it is written, not when a run begins."""
    annotations = {"agent-runner/mcp": '{"files": {"transport": "pigeon"}}'}
    with pytest.raises(Problem, match=r"files\.transport must be one of streamable_http, sse"):
        check_annotations(annotations)
    check_annotations({"agent-runner/mcp": '{"files": {"transport": "sse"}}'})


def test_a_budget_that_cannot_be_used() -> None:
    """It is refused when it is written."""
    with pytest.raises(Problem, match="must be a whole number from 1"):
        check_annotations({"agent-runner/budget": '{"tokens": -1}'})
