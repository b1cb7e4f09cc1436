"""The event stream: resumable at every position, exactly the log (L6, L7)."""

import pytest

from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import TERMINAL, Stack

pytestmark = EVERY_BROKER

WORK = "Look around.\n$ echo one\n$ echo two\n$ exit 3\n@researcher Count. $ echo sub"


def test_resume_from_every_position_of_a_finished_execution(shared: Stack) -> None:
    """Each Last-Event-ID gives exactly the rest of the log, then the end, and the stream closes."""
    id = shared.create(WORK)["metadata"]["id"]
    ended = shared.wait_for(id, "EXECUTION_COMPLETED")
    whole = list(shared.events(id, 0))
    log, end = whole[:-1], whole[-1]
    last = log[-1][0]
    assert [seq for seq, _, _ in log] == list(range(1, last + 1))
    assert end == (last, "end", {"seq": last, "phase": "EXECUTION_COMPLETED", "error_code": ""})
    for position in range(1, last + 1):
        assert list(shared.events(id, position)) == [*log[position:], end]
    fresh = list(shared.events(id))
    assert [kind for _, kind, _ in fresh] == ["snapshot", "end"]
    assert fresh[0][2]["execution"]["status"] == ended["status"]


def test_resume_while_it_runs(shared: Stack) -> None:
    """A reader that breaks off after every event and comes back with the last id sees exactly the log."""
    id = shared.create(WORK)["metadata"]["id"]
    seen: list[tuple[int, str, dict[str, object]]] = []
    while not seen or seen[-1][1] != "end":
        for event in shared.events(id, seen[-1][0] if seen else 0):
            seen.append(event)
            break
    assert seen[:-1] == list(shared.events(id, 0))[:-1]
    assert seen[-1][1] == "end"


@pytest.mark.parametrize("position", [99999, -1])
def test_a_position_that_cannot_be_served_is_an_error(shared: Stack, position: int) -> None:
    """Never a silent gap: the stream says what is wrong with the position."""
    id = shared.create("hello")["metadata"]["id"]
    shared.wait_for(id)
    events = list(shared.events(id, position))
    assert [kind for _, kind, _ in events] == ["error"]


@pytest.mark.promise("0.19")
@pytest.mark.promise("1.44")
@pytest.mark.promise("1.51")
def test_status_of_a_full_run(shared: Stack) -> None:
    """Todos, tool calls, sub-agents and messages are all there, and a call is the same in both its places."""
    id = shared.create(WORK + "\n$ echo one")["metadata"]["id"]
    status = shared.wait_for(id, *TERMINAL)["status"]
    assert status["phase"] == "EXECUTION_COMPLETED"
    assert status["messages"][0]["type"] == "MESSAGE_HUMAN"
    assert len(status["todos"]) >= 2
    assert status["sub_agent_executions"][0]["status"] == "SUB_AGENT_COMPLETED"
    calls = {c["id"]: c for c in status["tool_calls"]}
    inside = {c["id"]: c for m in status["messages"] for c in m.get("tool_calls", [])}
    assert calls == inside
    by_command: dict[str, list[str]] = {}
    for call in calls.values():
        if call["name"] == "execute":
            by_command.setdefault(call["args"]["command"], []).append(call["status"])
    assert by_command["echo one"] == ["TOOL_CALL_COMPLETED"] * 2
    assert by_command["exit 3"] == ["TOOL_CALL_FAILED"]
