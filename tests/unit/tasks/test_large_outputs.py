"""An output of many parts holds up nobody: it is made plain beside the event loop, and says the same."""

import json
import threading
from typing import Any

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.status.log.events import GraphOutput
from agent_runner.status.log.log import Delta
from agent_runner.status.log.plain import has_more_parts
from agent_runner.status.log.stream.message_pieces import parts_in
from agent_runner.tasks.run.run import MANY_PARTS, Claim, Run
from agent_runner.tasks.run.run_log import RunLog
from agent_runner.v1 import runner_pb2 as pb


class Shown:
    """Notes the thread that makes text of it."""

    thread = 0

    def __str__(self) -> str:
        self.thread = threading.get_ident()
        return "shown"


def a_run() -> tuple[Run, RunLog]:
    log = RunLog(handle=1, fence=1, next_delta=0, wake=lambda: None, head=str, on_verdict=lambda _: None)
    claim = Claim(execution_id="e", reply=pb.ClaimReply(granted=True), at=0.0)
    return Run(claim, log=lambda _: log, silent_s=lambda: 0.0, operators=Mask()), log


def told(log: RunLog) -> list[Any]:
    return [json.loads(delta.payload) for delta in log.take_tail().deltas]


@pytest.mark.parametrize(("parts", "apart"), [(1, False), (MANY_PARTS, True)])
async def test_an_output_of_many_parts_is_made_plain_on_a_thread(parts: int, apart: bool) -> None:
    """A small one in place: a visit to a thread costs more. Both are told alike."""
    run, log = a_run()
    shown = Shown()
    await run.feed(GraphOutput(output={"rows": [{"n": n} for n in range(parts)], "last": shown}))
    assert (shown.thread != threading.get_ident()) is apart
    assert told(log) == [{"output": {"rows": [{"n": n} for n in range(parts)], "last": "shown"}}]


async def test_an_output_of_a_run_that_is_given_up_meanwhile_is_not_told() -> None:
    """It was under way on its thread when the run ended."""
    run, log = a_run()

    class Ending(Shown):
        def __str__(self) -> str:
            run.give_up()
            return super().__str__()

    await run.feed(GraphOutput(output={"rows": list(range(MANY_PARTS)), "last": Ending()}))
    assert told(log) == []


@pytest.mark.parametrize(
    ("value", "most", "more"),
    [
        ("x" * 100, 1, False),
        ([1, 2, 3], 3, False),
        ([1, 2, 3, 4], 3, True),
        ({"a": {"b": [1, 2]}}, 4, False),
        ({"a": {"b": (1, 2, 3)}}, 4, True),
    ],
)
def test_the_parts_of_a_value_are_counted_at_every_depth(value: Any, most: int, more: bool) -> None:
    """Entries of objects and items of lists; a text is one."""
    assert has_more_parts(value, most) is more


class Counted(dict[str, Any]):
    """Counts how often it is written as JSON."""

    written = 0

    def items(self) -> Any:
        self.written += 1
        return super().items()


async def test_a_row_is_written_as_json_once() -> None:
    """To know its size and to send it: a result of megabytes takes the loop of all runs tenths of a second."""
    _, log = a_run()
    rows = [Counted(id=f"c{number}", result="x" * 1_000_000) for number in range(3)]
    log.add([Delta(kind="tool_end", payload=row) for row in rows])
    assert log.unanswered_bytes > 3_000_000
    sent = log.next_send(float("inf"))
    assert sent is not None
    assert len(sent.deltas) == 2, "the rest waits for its turn"
    assert told(log) == rows
    assert [row.written for row in rows] == [1, 1, 1]


async def test_the_end_of_a_stream_is_joined_with_its_parts() -> None:
    """It has no size of its own when it comes."""
    _, log = a_run()
    log.add([Delta(kind="stream", payload={"parts": [["values", [], {"n": n}]]}) for n in range(2)])
    (row,) = told(log)
    assert len(list(parts_in(row))) == 2
