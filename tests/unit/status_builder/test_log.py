"""Status = fold(log)."""

import json
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.status.log.log import Delta, LogRow, State, coalesce, fold, render, rfc3339
from agent_runner.status.phases import Phase
from tests.unit.status_builder.runs import rows, status_of

_ids = st.sampled_from(["a", "b", "c"])
_texts = st.text(max_size=5)
_scopes = st.sampled_from(["", "k", "k/l"])
_call_status = st.sampled_from(["TOOL_CALL_PENDING", "TOOL_CALL_RUNNING"])
_end_status = st.sampled_from(["TOOL_CALL_COMPLETED", "TOOL_CALL_FAILED"])
_todo = st.fixed_dictionaries({"content": _ids, "status": st.sampled_from(["TODO_PENDING", "TODO_COMPLETED"])})
_phase = st.sampled_from([phase.wire_name for phase in Phase])
_metadata = st.dictionaries(_ids, st.integers(), max_size=2)


def _delta(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Delta]:
    return st.fixed_dictionaries(fields).map(lambda payload: Delta(kind=kind, payload=payload))


_partial = st.fixed_dictionaries(
    {},
    optional={
        "phase": _phase,
        "error": _texts,
        "started_at": st.just("2026-01-01T00:00:00Z"),
        "todos": st.just({"1": {"id": "1", "content": "a", "status": "TODO_PENDING"}}),
        "messages": st.just([{"type": "MESSAGE_AI", "content": "m", "tool_calls": [{"id": "a", "name": "n"}]}]),
        "tool_calls": st.just([{"id": "a", "name": "n", "status": "TOOL_CALL_COMPLETED"}, {"name": "without id"}]),
        "sub_agent_executions": st.just([{"id": "a", "name": "n"}]),
    },
)
_deltas = st.lists(
    st.one_of(
        _delta("text", id=_ids, text=_texts),
        _delta("text", id=_ids, text=_texts),
        _delta("message", id=_ids, type=st.just("MESSAGE_AI"), content=_texts, scope=_scopes, metadata=_metadata),
        _delta("message_end", id=_ids, metadata=_metadata),
        _delta("message_end", id=_ids, content=_texts),
        _delta("tool_call", id=_ids, message=_ids, name=_texts, args=_metadata, status=_call_status, scope=_scopes),
        _delta("tool_end", id=_ids, status=_end_status, result=_texts, error=_texts),
        _delta("sub_agent", id=_ids, name=_texts, scope=_scopes),
        _delta("todos", todos=st.lists(_todo, max_size=3)),
        _delta("output", output=_metadata),
        _delta("note", text=_texts),
        _delta("kind_of_a_later_release", x=_texts),
        _delta("phase", phase=_phase, error=_texts, error_code=_texts),
        _delta("merge", status=_partial),
    ),
    max_size=25,
)


@given(deltas=_deltas, at=st.integers(min_value=0, max_value=25))
@settings(max_examples=300, deadline=None)
def test_a_snapshot_and_the_rest_are_the_whole(deltas: list[Delta], at: int) -> None:
    """Folding everything is folding what follows onto a snapshot that went through JSON."""
    log = rows(deltas)
    kept = json.loads(json.dumps(fold(log[:at]).to_json()))
    whole, continued = fold(log), fold(log[at:], start=State.from_json(kept))
    assert continued == whole
    assert render(continued) == render(whole)


@given(deltas=_deltas)
@settings(max_examples=300, deadline=None)
def test_merged_text_is_the_same_story(deltas: list[Delta]) -> None:
    """Coalescing text deltas changes their number, never the fold."""
    merged = coalesce(deltas)
    times = {"at", "ended_at", "started_at", "completed_at", "created_at", "updated_at", "seq", "timestamp"}

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k not in times}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    assert timeless(fold(rows(merged)).to_json()) == timeless(fold(rows(deltas)).to_json())
    assert len(merged) <= len(deltas)
    assert not [a for a, b in pairwise(merged) if a.kind == b.kind == "text" and a.payload["id"] == b.payload["id"]]


@given(deltas=_deltas)
@settings(max_examples=100, deadline=None)
def test_every_fold_is_a_status_of_the_contract(deltas: list[Delta]) -> None:
    """Whatever the log holds, its rendering parses as the contract's AgentExecutionStatus."""
    from agent_runner.ai.stigmer.agentic.agentexecution.v1 import api_pb2

    ParseDict(status_of(deltas), api_pb2.AgentExecutionStatus())


def test_the_life_of_an_execution() -> None:
    """Phases set the times; a failure is appended, and what was open is closed with a reason."""
    status = status_of(
        [
            Delta(kind="message", payload={"id": "user", "type": "MESSAGE_HUMAN", "content": "hi"}),
            Delta(kind="phase", payload={"phase": "EXECUTION_PENDING"}),
            Delta(kind="phase", payload={"phase": "EXECUTION_IN_PROGRESS"}),
            Delta(kind="message", payload={"id": "m", "type": "MESSAGE_AI", "content": ""}),
            Delta(kind="text", payload={"id": "m", "text": "Well, "}),
            Delta(kind="tool_call", payload={"id": "c", "message": "m", "name": "ls", "status": "TOOL_CALL_RUNNING"}),
            Delta(kind="phase", payload={"phase": "EXECUTION_IN_PROGRESS"}),
            Delta(kind="message", payload={"id": "e", "type": "MESSAGE_SYSTEM", "content": "gone"}),
            Delta(kind="phase", payload={"phase": "EXECUTION_FAILED", "error": "gone [E103]", "error_code": "E103"}),
        ]
    )
    assert [m["type"] for m in status["messages"]] == ["MESSAGE_HUMAN", "MESSAGE_AI", "MESSAGE_SYSTEM"]
    assert status["messages"][0] == {"type": "MESSAGE_HUMAN", "content": "hi", "timestamp": rfc3339(1_800_000_001)}
    assert status["messages"][1]["content"] == "Well, "
    assert (status["phase"], status["error"]) == ("EXECUTION_FAILED", "gone [E103]")
    assert (status["started_at"], status["completed_at"]) == (rfc3339(1_800_000_003), rfc3339(1_800_000_009))
    (call,) = status["tool_calls"]
    assert (call["status"], call["completed_at"]) == ("TOOL_CALL_FAILED", status["completed_at"])
    assert call["error"].startswith("Not finished")


_BEFORE = [
    Delta(kind="message", payload={"id": "user", "type": "MESSAGE_HUMAN", "content": "hi"}),
    Delta(kind="tool_call", payload={"id": "c", "name": "ls", "status": "TOOL_CALL_RUNNING"}),
    Delta(kind="sub_agent", payload={"id": "s", "name": "r"}),
    Delta(kind="todos", payload={"todos": [{"content": "a", "status": "TODO_PENDING"}]}),
    Delta(kind="phase", payload={"phase": "EXECUTION_IN_PROGRESS"}),
]


@pytest.mark.promise("0.18")
@pytest.mark.promise("1.95")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", [{"type": "MESSAGE_AI", "content": "new"}]),
        ("tool_calls", [{"id": "d", "name": "cat", "status": "TOOL_CALL_COMPLETED", "args": {"a": 1}}]),
        ("sub_agent_executions", [{"id": "t", "name": "q", "status": "SUB_AGENT_COMPLETED"}]),
        ("todos", {"7": {"id": "7", "content": "b", "status": "TODO_COMPLETED"}}),
        ("error", "it broke"),
        ("started_at", "2026-01-01T00:00:00Z"),
        ("completed_at", "2026-01-01T00:00:00Z"),
        ("phase", "EXECUTION_COMPLETED"),
        ("messages", []),
        ("todos", {}),
        ("error", ""),
    ],
)
def test_a_status_update_replaces_what_it_sets(field: str, value: Any) -> None:
    """A field that is set replaces the one that was there; every other field stays as it was."""
    before = status_of(_BEFORE)
    after = status_of([*_BEFORE, Delta(kind="merge", payload={"status": {field: value}})])
    expected = {**before, field: value} if value else before
    if field == "phase":
        expected["completed_at"] = rfc3339(1_800_000_006)
    assert after == expected


def test_a_merged_call_is_one_object() -> None:
    """A call that an update gives both in a message and in the list keeps its fields in both."""
    call = {"id": "d", "name": "cat", "component_metadata": {"component_type": "preview", "metadata": {"x": 1}}}
    update = {"messages": [{"type": "MESSAGE_AI", "tool_calls": [call]}], "tool_calls": [call]}
    status = status_of([Delta(kind="merge", payload={"status": update})])
    assert status == update


def test_times_are_utc_with_milliseconds() -> None:
    """RFC 3339, the same length for every instant."""
    assert rfc3339(1_795_169_600.1234) == "2026-11-20T10:13:20.123Z"
    assert rfc3339(1_795_169_600) == "2026-11-20T10:13:20.000Z"


def test_counters_count_what_is_shown() -> None:
    """The helpers the store keeps in its row agree with the status."""
    state = fold(rows(_BEFORE))
    assert (state.message_count, state.tool_call_count, state.terminal, state.phase) == (1, 1, False, Phase.IN_PROGRESS)
    state.apply(LogRow(seq=9, at=1.0, fence=1, kind="phase", payload={"phase": "EXECUTION_COMPLETED"}))
    assert state.terminal


@pytest.mark.parametrize("kind", ["phase", "message", "text", "tool_call", "tool_end", "todos", "merge"])
@pytest.mark.parametrize("payload", [{}, {"id": None}, {"todos": [1]}, {"status": []}, []])
def test_a_row_that_makes_no_sense_does_no_harm(kind: str, payload: Any) -> None:
    """An execution whose log holds a broken row can still be read."""
    state = fold(rows([*_BEFORE, Delta(kind=kind, payload=payload)]))
    assert state.seq == len(_BEFORE) + 1
    render(State.from_json(json.loads(json.dumps(state.to_json()))))
