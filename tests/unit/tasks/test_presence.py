"""The presence stream: hello first, beats by the clock, verdicts both ways, back after every loss, a real goodbye."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest

from agent_runner.clients.backend.presence import PresenceThread, Pulse
from agent_runner.clients.settings.settings import Settings
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.tasks.runner_server import FENCE, HANDLE, RunnerServer


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    yield server
    await server.stop()


class Present:
    def __init__(self, server: RunnerServer) -> None:
        self.every_s = 0.1
        self.runs: Sequence[pb.RunBeat] = ()
        self.verdicts: list[pb.RunVerdict] = []
        self.thread = PresenceThread(
            Settings(backend_endpoint=f"127.0.0.1:{server.port}"),
            pb.Hello(incarnation="inc-1", queue="q", role="worker", slots=3),
            pulse=lambda: Pulse(runs=self.runs, busy=len(self.runs), loop_lag_s=0.0, every_s=self.every_s),
            on_verdicts=self.verdicts.extend,
        )
        self.thread.start()


@pytest.fixture
def present(server: RunnerServer) -> Iterator[Present]:
    present = Present(server)
    yield present
    present.thread._leaving = True


async def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_hello_then_beats_by_the_clock(server: RunnerServer, present: Present) -> None:
    """Beats come as often as the runs need, whether or not anything happens in them."""
    await until(lambda: len(server.beats) >= 5)
    assert [hello.incarnation for hello in server.hellos] == ["inc-1"]
    assert server.beats[0].incarnation == "inc-1"
    assert present.thread.connected.is_set()


async def test_answers_and_pushes_reach_the_runs(server: RunnerServer, present: Present) -> None:
    """The verdict of a beat, and a cancel that nobody asked for."""
    present.runs = [pb.RunBeat(handle=HANDLE, fence=FENCE)]
    present.thread.beat_soon()
    await until(lambda: any(v.verdict == pb.GO_ON for v in present.verdicts))
    server.push(pb.CANCEL)
    await until(lambda: any(v.verdict == pb.CANCEL for v in present.verdicts))


async def test_runs_that_begin_share_a_heartbeat(server: RunnerServer, present: Present) -> None:
    """A heartbeat is a write for each slot: fifty claims within a moment must not make fifty of them."""
    present.every_s = 10.0
    await until(lambda: present.thread.connected.is_set())
    present.runs = [pb.RunBeat(handle=HANDLE, fence=FENCE)]
    for _ in range(50):
        present.thread.beat_within(0.2)
    await until(lambda: any(beat.busy for beat in server.beats))
    present.runs = ()
    present.thread.beat_soon()
    await until(lambda: server.beats[-1].busy == 0)
    # One by the clock may have been due in between.
    assert sum(beat.busy for beat in server.beats) <= 2


async def test_a_beat_that_is_not_answered_is_seen(server: RunnerServer, present: Present) -> None:
    """`answered_at` stands still while nobody answers, and moves again after."""
    await until(lambda: len(server.beats) >= 2)
    server.answer_beats = False
    await until(lambda: time.monotonic() - present.thread.answered_at >= 0.4)
    server.answer_beats = True
    await until(lambda: time.monotonic() - present.thread.answered_at < 0.4)


async def test_it_is_back_soon_after_the_server(server: RunnerServer, present: Present) -> None:
    """A server that was gone for a moment has the worker again about a second later, same incarnation."""
    await until(lambda: server.beats)
    await server.stop()
    await until(lambda: not present.thread.connected.is_set())
    again = await RunnerServer(server.port).start()
    await until(lambda: again.hellos)
    assert again.hellos[0].incarnation == "inc-1"
    present.thread.goodbye()
    await again.stop()


async def test_a_leaving_worker_says_so(server: RunnerServer, present: Present) -> None:
    """Goodbye arrives before the stream ends; it is said once."""
    await until(lambda: server.beats)
    await asyncio.to_thread(present.thread.goodbye)
    assert server.goodbyes == 1
    await asyncio.to_thread(present.thread.goodbye)
    assert server.goodbyes == 1
