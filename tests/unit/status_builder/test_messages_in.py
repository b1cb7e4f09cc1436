"""Where messages are found in what nodes get and give, and what looking there costs."""

import sys
from collections import UserDict, UserList
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.types import Command, Overwrite

from agent_runner.clients.engine.stream.messages import messages_in

TEA, MILK = AIMessage("tea"), AIMessage("milk")
BOTH = [TEA, "sugar", None, MILK]


@pytest.mark.parametrize(
    "held",
    [
        BOTH,
        tuple(BOTH),
        {"messages": BOTH},
        {"notes": 1, "said": BOTH},
        {"said": TEA, "more": (MILK,)},
        {"said": UserList(BOTH)},
        {"said": Overwrite(BOTH)},
        UserDict({"said": BOTH}),
        SimpleNamespace(messages=BOTH),
        Command(update={"said": BOTH}),
        Command(update=[("said", TEA), ("more", [MILK])]),
        [Command(update={"said": TEA}), {"said": [MILK]}],
        [{"a": 1}, {"said": [TEA]}, ("more", MILK)],
        [UserDict({"said": [TEA]}), 1, [TEA], MILK],
    ],
)
def test_messages_are_found_in_every_place(held: Any) -> None:
    """In a list, in any field, in what replaces a field, in a Command and in a list of these; in their order."""
    assert [id(message) for message in messages_in(held)] == [id(TEA), id(MILK)]


@pytest.mark.parametrize("held", [1, "text", None, {"a": "text", "b": b"bytes"}, {"far": range(10**15)}, [[TEA]], {}])
def test_elsewhere_are_none(held: Any) -> None:
    """Nor is anything counted that has no end."""
    assert list(messages_in(held)) == []


@pytest.mark.parametrize(
    "held",
    [
        {"numbers": list(range(20_000)), "words": ["word"] * 20_000},
        {"documents": [{"id": n, "tags": ["a"]} for n in range(20_000)]},
        list(range(20_000)),
        [{"id": n, "text": "word"} for n in range(20_000)],
    ],
)
def test_a_state_with_many_small_parts_costs_little(held: Any) -> None:
    """Each node's start and end looks through all of its state, on the loop that the worker's other runs share."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = list(messages_in(held))
    finally:
        sys.setprofile(before)
    assert found == []
    assert calls <= 20_000 + 100
