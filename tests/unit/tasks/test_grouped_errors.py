"""A node that does several things at once (`asyncio.TaskGroup`) fails with a group of errors: what is told."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from agent_runner.clients.engine.current import BudgetReached
from agent_runner.clients.engine.stream.messages import error_text
from agent_runner.status.failures import Code
from agent_runner.tasks.run.outcome import MAX_ERROR_CHARS, Outcome, broke
from agent_runner.tasks.run.setup import is_infrastructure


async def raised_by(*errors: BaseException) -> Exception:
    """What a graph raises whose node has tasks that raise these."""

    async def fail(error: BaseException) -> None:
        raise error

    async def many(state: MessagesState) -> Any:
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(fail(error))

    graph = StateGraph(MessagesState).add_node("many", many).add_edge(START, "many").compile()
    try:
        await graph.ainvoke({"messages": []})
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


def end_of(error: BaseException, *, began: bool = True) -> Outcome:
    return broke(error, began=began, sandbox="local")


def refused(status: int, wait_s: int = 0) -> openai.APIStatusError:
    headers = {"retry-after": str(wait_s)} if wait_s else {}
    response: Any = httpx.Response(status, request=httpx.Request("POST", "http://model"), headers=headers)
    kind = openai.RateLimitError if status == 429 else openai.AuthenticationError
    return kind(f"said with {status}", response=response, body=None)


async def test_the_reasons_are_told_and_not_their_number_alone() -> None:
    """With node, class and the place of the first one."""
    end = end_of(await raised_by(ValueError("part 1 is broken"), ValueError("part 2 is broken")))
    assert end.code is Code.APPLICATION
    assert end.facts["original_error"] == "2 errors: part 1 is broken; part 2 is broken"
    assert (end.facts["error_class"], end.facts["error_node"]) == ("ValueError", "many")
    assert end.facts["error_at"].endswith("in fail")
    assert "part 2 is broken" in end.facts["traceback"]


async def test_one_error_in_a_group_is_told_as_if_it_were_alone() -> None:
    """Also where groups are in groups; a class that says more than its text is named."""
    inner = ExceptionGroup("unhandled errors in a TaskGroup", [KeyError("city")])
    assert end_of(await raised_by(inner)).facts["original_error"] == "KeyError: 'city'"


async def test_different_classes_are_a_group() -> None:
    """The same words are told once, and the text that the group was given stands before them."""
    group = ExceptionGroup("the sources", [ExceptionGroup("a", [ValueError("gone"), OSError("gone")]), OSError("no")])
    end = end_of(group)
    assert end.facts["original_error"] == "the sources: 3 errors: gone; no"
    assert end.facts["error_class"] == "ExceptionGroup"


def test_many_deep_and_long_errors_are_bounded() -> None:
    """A fan-out of thousands, groups in groups, and a text of megabytes."""
    errors: list[Exception] = [ValueError(f"part {n}") for n in range(5_000)]
    said = end_of(ExceptionGroup("all", errors)).facts["original_error"]
    assert said == "all: 100 errors: part 0; part 1; part 2; part 3; part 4; and 95 more"
    deep: Exception = ValueError("x" * 1_000_000)
    for _ in range(2_000):
        deep = ExceptionGroup("g", [deep])
    end = end_of(deep)
    assert len(end.facts["original_error"]) < MAX_ERROR_CHARS
    assert len(end.facts["traceback"]) < 10_000


async def test_errors_of_one_kind_end_the_run_as_one_of_them_would() -> None:
    """A model's errors are explained and pass by themselves after the longest wait; a budget keeps its code."""
    end = end_of(await raised_by(refused(429, 20), refused(429, 40)))
    assert (end.code, end.facts["transient"], end.facts["retry_after_s"]) == (Code.APPLICATION, True, 40)
    assert "the model provider's rate limit or quota was reached: said with 429" in end.facts["original_error"]
    end = end_of(await raised_by(refused(401), refused(401)))
    assert "ANTHROPIC_API_KEY" in end.facts["advice"]
    assert "all the same: the model provider refused the API key" in end.facts["original_error"]
    end = end_of(await raised_by(BudgetReached("20 model calls"), BudgetReached("20 model calls")))
    assert (end.code, end.facts["original_error"]) == (Code.BUDGET, "2 errors, all the same: 20 model calls")


async def test_errors_of_different_kinds_pass_only_if_all_do() -> None:
    """One that stays makes another try useless, and one that is no model's leaves no advice."""
    end = end_of(await raised_by(refused(429, 20), ValueError("part 1 is broken")))
    assert end.code is Code.APPLICATION
    assert not {"transient", "retry_after_s", "advice"} & end.facts.keys()
    end = end_of(await raised_by(BudgetReached("20 model calls"), ValueError("broken")))
    assert end.code is Code.APPLICATION
    assert "20 model calls; broken" in end.facts["original_error"]


def test_the_set_up_is_tried_again_if_all_of_it_may_pass() -> None:
    """A graph function that asks several services at once."""
    assert is_infrastructure(ExceptionGroup("", [ConnectionError("a"), ConnectionError("b")]))
    assert not is_infrastructure(ExceptionGroup("", [ConnectionError("a"), ValueError("b")]))
    wrapped = ValueError("graph 'x' could not be made")
    wrapped.__cause__ = ExceptionGroup("", [ConnectionError("a"), ConnectionError("b")])
    assert is_infrastructure(wrapped)


async def test_a_tool_that_fails_with_a_group_says_the_reasons() -> None:
    """In its own entry, with their classes."""

    @tool
    async def look_up() -> str:
        """Look up."""
        raise ExceptionGroup("unhandled errors in a TaskGroup", [ValueError("a"), OSError("b")])

    with pytest.raises(ExceptionGroup) as failed:
        await look_up.ainvoke({})
    assert error_text(failed.value) == "2 errors: ValueError: a; OSError: b"
