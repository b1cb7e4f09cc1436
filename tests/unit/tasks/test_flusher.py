"""What runs say reaches the server once and in order, whatever happens to calls and answers."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_runner.clients.reporting.native import Backend
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.log.log import Delta
from agent_runner.tasks.run import flusher as flusher_module
from agent_runner.tasks.run import run_log
from agent_runner.tasks.run.flusher import Flusher
from agent_runner.tasks.run.run_log import ROW_BYTES, RUN_BYTES, STALLED_S, RunLog
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.tasks.runner_server import RunnerServer


def text(piece: str) -> Delta:
    return Delta(kind="text", payload={"id": "m", "text": piece})


def tool(number: int) -> Delta:
    return Delta(kind="tool_call", payload={"id": f"call-{number}", "name": "t"})


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    yield server
    await server.stop()


@pytest.fixture
async def flusher(server: RunnerServer) -> AsyncIterator[Flusher]:
    backend = Backend(Settings(backend_endpoint=f"127.0.0.1:{server.port}"))
    flusher = Flusher(backend)
    flusher.start()
    yield flusher
    await flusher.stop()
    await backend.close()


class Heard:
    """A run's log together with what the server said about the run."""

    def __init__(self, flusher: Flusher, server: RunnerServer, head: str = "") -> None:
        self.head = head
        self.verdicts: list[int] = []
        self.log: RunLog = flusher.open(server.claim_reply, head=lambda: self.head, on_verdict=self.verdicts.append)


@pytest.fixture
def run(flusher: Flusher, server: RunnerServer) -> Heard:
    return Heard(flusher, server)


async def until(condition: object, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_nothing_is_lost_or_doubled_when_answers_are_lost(
    flusher: Flusher, server: RunnerServer, run: Heard
) -> None:
    """Every second answer is lost after the server stored the deltas: the log holds each once, in order."""
    said = ""
    for number in range(40):
        if number % 4 == 0:
            server.drop_answers += 1
        piece = f"{number} "
        said += piece
        run.log.add([text(piece), *([tool(number)] if number % 3 == 0 else [])])
        await asyncio.sleep(0.01)
    await flusher.flushed(run.log)
    assert server.text() == said
    assert [p["id"] for k, p in server.stored if k == "tool_call"] == [f"call-{n}" for n in range(0, 40, 3)]


async def test_what_was_sent_is_sent_again_unchanged(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """New deltas wait behind the unanswered ones; they never change them."""
    server.drop_answers = 1
    run.log.add([text("first")])
    await until(lambda: len(server.appends) == 1)
    run.log.add([text("second")])
    await flusher.flushed(run.log)
    first, again = (request.runs[0] for request in server.appends[:2])
    assert first == again
    assert server.text() == "firstsecond"


async def test_text_is_merged_and_everything_else_goes_at_once(
    flusher: Flusher, server: RunnerServer, run: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first token goes alone; later tokens share a message; a tool call takes them along without waiting."""
    for name in ("WAIT_LEAST_S", "WAIT_MOST_S"):
        monkeypatch.setattr(run_log, name, 60.0)
    run.log.add([text("a")])
    await until(lambda: len(server.appends) == 1)
    for piece in "bcdefgh":
        run.log.add([text(piece)])
    await asyncio.sleep(0.01)
    assert len(server.appends) == 1
    run.log.add([tool(1)])
    await until(lambda: len(server.stored) == 3)
    assert [kind for kind, _ in server.stored] == ["text", "text", "tool_call"]
    assert server.text() == "abcdefgh"
    assert len(server.appends) == 2


async def test_rows_that_follow_each_other_share_messages(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """Steps of a few milliseconds cost a message each 20 ms, not one for each of their rows; the first text of a run
    waits for nothing."""
    began = time.monotonic()
    for number in range(100):
        run.log.add([tool(number)])
        await asyncio.sleep(0.002)
    sent = len(server.appends)
    assert sent <= (time.monotonic() - began) / run_log.GAP_S + 1
    run.log.add([text("first")])
    assert run.log.next_due_at is not None
    assert run.log.next_due_at <= time.monotonic()
    await flusher.flushed(run.log)
    assert [p["id"] for k, p in server.stored if k == "tool_call"] == [f"call-{n}" for n in range(100)]


async def test_a_row_after_a_rest_goes_at_once(run: Heard) -> None:
    """Only what comes within 20 ms of a send waits, and only for the rest of these."""
    run.log.add([tool(1)])
    assert run.log.next_due_at is not None
    assert run.log.next_due_at <= time.monotonic()
    sent_at = time.monotonic()
    sent = run.log.next_send(sent_at)
    assert sent is not None
    run.log.answered(sent, sent.first + 1)
    run.log.add([tool(2)])
    assert run.log.next_due_at == sent_at + run_log.GAP_S


async def test_slow_text_costs_few_messages(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """A token every 20 ms goes out about four times a second, not fifty times."""
    began = time.monotonic()
    for number in range(60):
        run.log.add([text(f"t{number} ")])
        await asyncio.sleep(0.02)
    await flusher.flushed(run.log)
    assert len(server.appends) <= 8 * (time.monotonic() - began) + 4


async def test_all_runs_share_one_message(flusher: Flusher, server: RunnerServer) -> None:
    """Runs that speak in the same moment are in one call."""
    runs = []
    for handle in range(20):
        claim = pb.ClaimReply(granted=True, handle=handle, fence=1)
        runs.append(flusher.open(claim, head=lambda: "", on_verdict=lambda _: None))
    for log in runs:
        log.add([tool(0)])
    await until(lambda: bool(server.appends))
    assert len(server.appends[0].runs) == 20


async def test_a_run_that_speaks_costs_nothing_for_each_other_run(
    flusher: Flusher, server: RunnerServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flusher looks at no run that has nothing to send, neither for a token nor for a message."""
    looks: Counter[int] = Counter()
    due: Any = vars(RunLog)["next_due_at"]

    def counted(log: RunLog) -> Any:
        looks[log.handle] += 1
        return due.fget(log)

    monkeypatch.setattr(RunLog, "next_due_at", property(counted))
    quiet = [another(flusher, handle) for handle in range(2, 32)]
    speaks = another(flusher, 1)
    for number in range(200):
        speaks.add([text(f"{number} ")])
        await asyncio.sleep(0)
    await flusher.flushed(speaks)
    assert looks[1] >= 200
    assert len(server.appends) >= 1
    assert max(looks[log.handle] for log in quiet) == 0


async def test_the_head_goes_along_when_it_has_moved(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """Once per move, with deltas."""
    for head in ("c1", "c1", "c2"):
        run.head = head
        run.log.add([tool(1)])
        await flusher.flushed(run.log)
    assert server.heads == ["c1", "c2"]


async def test_verdicts_reach_the_run(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """A cancel, and being fenced out, come back with the answer to an append."""
    server.verdict = pb.CANCEL
    run.log.add([tool(1)])
    await until(lambda: pb.CANCEL in run.verdicts)
    server.verdict = pb.FENCED_OUT
    run.log.add([tool(2)])
    await until(lambda: pb.FENCED_OUT in run.verdicts)
    assert len(server.stored) == 1


async def test_a_run_that_says_too_much_must_wait(server: RunnerServer, flusher: Flusher, run: Heard) -> None:
    """With the server away memory stays bounded: the run has no room until half of it is stored."""
    await server.stop()
    big = "x" * (RUN_BYTES // 8)
    for number in range(9):
        run.log.add([Delta(kind="tool_end", payload={"id": f"{number}", "result": big})])
    assert run.log.full
    again = RunnerServer(server.port)
    await again.start()
    async with asyncio.timeout(20):
        await run.log.room()
    await flusher.flushed(run.log)
    assert [payload["id"] for _, payload in again.stored] == [str(n) for n in range(9)]
    await again.stop()


async def test_the_tail_holds_what_is_not_known_to_be_stored(
    flusher: Flusher, server: RunnerServer, run: Heard
) -> None:
    """The call that ends a run takes everything unanswered, numbered as it was, and nothing is sent after it."""
    run.log.add([tool(1)])
    await flusher.flushed(run.log)
    server.drop_answers = 100
    run.log.add([tool(2)])
    await until(lambda: len(server.stored) == 2)
    run.log.add([text("end")])
    tail = run.log.take_tail()
    assert (tail.first, [d.kind for d in tail.deltas]) == (1, ["tool_call", "text"])
    sent = len(server.appends)
    run.log.add([tool(3)])
    await asyncio.sleep(0.3)
    assert len(server.appends) <= sent + 1


def row(number: int, size: int) -> Delta:
    return Delta(
        kind="tool_end", payload={"id": f"call-{number}", "status": "TOOL_CALL_COMPLETED", "result": "x" * size}
    )


def another(flusher: Flusher, handle: int, verdicts: list[int] | None = None) -> RunLog:
    claim = pb.ClaimReply(granted=True, handle=handle, fence=1)
    return flusher.open(claim, head=lambda: "", on_verdict=(verdicts if verdicts is not None else []).append)


async def test_a_row_that_can_never_pass_is_cut_and_tried_no_more(
    flusher: Flusher, server: RunnerServer, run: Heard
) -> None:
    """gRPC's server refuses more than 4 MB: the row keeps its place, its id and its end, what is too large goes."""
    run.log.add([tool(1), row(1, 5_000_000), tool(2)])
    await flusher.flushed(run.log)
    assert [kind for kind, _ in server.stored] == ["tool_call", "tool_end", "tool_call"]
    cut = server.stored[1][1]
    assert (cut["id"], cut["status"]) == ("call-1", "TOOL_CALL_COMPLETED")
    assert cut["result"].endswith("[cut here: 16384 of 5000000 bytes are shown]")
    assert len(server.appends) <= 4


async def test_a_refused_row_holds_up_no_other_run(flusher: Flusher, server: RunnerServer) -> None:
    """What other runs say goes on in the shared message; only the run whose row it is says less."""
    bad, good = another(flusher, 1), another(flusher, 2)
    for number in range(5):
        bad.add([row(number, 5_000_000)])
        good.add([tool(number)])
        await until(lambda: good.empty)
    await flusher.flushed(bad)
    said = [d.payload for request in server.appends for one in request.runs if one.handle == 2 for d in one.deltas]
    assert len(said) == 5
    assert bad.empty


async def test_rows_that_are_refused_together_pass_alone(flusher: Flusher, server: RunnerServer) -> None:
    """Many runs in one message that is too large: nothing of any of them is cut."""
    logs = [another(flusher, handle) for handle in range(1, 4)]
    for log in logs:
        log.add([row(log.handle, 900_000), row(log.handle, 1_900_000)])
    for log in logs:
        await flusher.flushed(log)
    sizes = [len(d.payload) for request in server.appends for one in request.runs for d in one.deltas]
    assert all(log.empty for log in logs)
    assert sorted(size > 1_900_000 for size in sizes) == [False] * 3 + [True] * 3


async def test_runs_take_turns(flusher: Flusher, server: RunnerServer) -> None:
    """A run that always has more to say than one message holds does not keep the others from speaking."""
    loud, quiet = another(flusher, 1), another(flusher, 2)
    loud.add([row(number, 1_500_000) for number in range(8)])
    quiet.add([tool(1)])
    await until(lambda: quiet.empty)
    assert not loud.empty
    await flusher.flushed(loud)


async def test_who_is_fenced_out_says_nothing_more(flusher: Flusher, server: RunnerServer, run: Heard) -> None:
    """One refusal is enough: nothing is sent again, and who waits for it to be stored waits no longer."""
    server.verdict = pb.FENCED_OUT
    run.log.add([tool(1)])
    await flusher.flushed(run.log)
    run.log.add([tool(2)])
    await flusher.flushed(run.log)
    assert run.verdicts == [pb.FENCED_OUT]
    assert len(server.appends) == 1


async def test_an_answer_that_brings_nothing_forward_is_no_reason_to_send_at_once(
    flusher: Flusher, server: RunnerServer, run: Heard
) -> None:
    """A server that expects what was sent already is asked again after a while, not a thousand times a second."""
    run.log.closed = True  # the flusher leaves it alone
    run.log.add([tool(1)])
    run.log.closed = False
    sent = run.log.next_send(time.monotonic() + 1)
    assert sent is not None
    run.log.answered(sent, sent.first)
    assert run.log.next_send(time.monotonic()) is None
    assert run.log.next_send(time.monotonic() + STALLED_S) == sent
    run.log.closed = True


async def test_a_row_beyond_every_message_is_cut_before_it_is_sent(run: Heard) -> None:
    """Whatever made it: neither side takes more than 64 MiB."""
    run.log.add([row(1, ROW_BYTES + 1)])
    (delta,) = run.log.take_tail().deltas
    assert len(delta.payload) < 1 << 20
    assert b"cut here" in delta.payload


async def test_the_end_of_a_run_waits_for_the_send_under_way(
    flusher: Flusher, server: RunnerServer, run: Heard
) -> None:
    """What the server has is not said again, and no further send begins: the call that ends the run is not repeated."""
    server.may_answer.clear()
    run.log.add([tool(0)])
    await until(lambda: server.appends)
    run.log.add([tool(1)])
    resting = asyncio.create_task(flusher.rested(run.log))
    await asyncio.sleep(0)
    assert not resting.done()
    server.may_answer.set()
    await resting
    tail = run.log.take_tail()
    assert (tail.first, len(tail.deltas), len(server.appends)) == (1, 1, 1)


async def test_the_end_of_a_run_waits_for_no_dead_server(
    flusher: Flusher, server: RunnerServer, run: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer everything that may not be stored goes with the end, from the first of it."""
    monkeypatch.setattr(flusher_module, "ANSWER_S", 0.2)
    server.may_answer.clear()
    run.log.add([tool(0)])
    await until(lambda: server.appends)
    run.log.add([tool(1)])
    async with asyncio.timeout(20):
        await flusher.rested(run.log)
    tail = run.log.take_tail()
    server.may_answer.set()
    assert (tail.first, len(tail.deltas)) == (0, 2)
