"""The one way in which a worker's calls are made again: what may pass is, within the patience, and nothing else."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from agent_runner.clients.backend.channel import MAY_PASS, Patience, answered
from agent_runner.v1 import runner_pb2 as pb

Code = grpc.StatusCode
OTHERS = sorted(set(Code) - MAY_PASS - {Code.OK}, key=str)


class Line:
    """A method that fails so many times; `given`: the time that each try had."""

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self._codes = list(codes)
        self.given: list[float] = []

    async def __call__(self, request: Any, *, timeout: float, metadata: Any, wait_for_ready: bool) -> pb.FailReply:
        self.given.append(timeout)
        await asyncio.sleep(0)
        if self._codes:
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(self._codes.pop(0), empty, empty, details="as the test wants")
        return pb.FailReply(applied=True)


class Told(Exception):
    pass


async def call(line: Line, patience: Patience, **more: Any) -> pb.FailReply:
    def error_of(exc: grpc.aio.AioRpcError) -> Told:
        return Told(exc.code().name)

    return await answered(line, pb.FailRequest(), patience=patience, error_of=error_of, **more)


QUICK = Patience(pause_s=0.0)


@pytest.mark.parametrize("code", sorted(MAY_PASS, key=str))
async def test_what_may_pass_is_tried_again(code: grpc.StatusCode) -> None:
    """Until it is answered."""
    line = Line(code, code, code)
    assert (await call(line, QUICK)).applied
    assert len(line.given) == 4


@pytest.mark.parametrize("code", OTHERS)
async def test_what_will_not_pass_is_told_at_once(code: grpc.StatusCode) -> None:
    """In the words that the caller's own errors have."""
    line = Line(code, code)
    with pytest.raises(Told, match=code.name):
        await call(line, QUICK)
    assert len(line.given) == 1


async def test_tries_are_counted() -> None:
    """With `tries` the last error is told; with a total of 0 there is one try, which may take all of `call_s`."""
    line = Line(*[Code.UNAVAILABLE] * 9)
    with pytest.raises(Told):
        await call(line, Patience(total_s=None, tries=3, pause_s=0.0))
    assert len(line.given) == 3
    once = Line(Code.UNAVAILABLE)
    with pytest.raises(Told):
        await call(once, Patience(call_s=7.0, total_s=0.0))
    assert once.given == [7.0]


async def test_the_total_bounds_all_tries() -> None:
    """No try gets more than what is left, and the last pause is not slept when nothing could follow it."""
    line, began = Line(*[Code.UNAVAILABLE] * 1000), time.monotonic()
    with pytest.raises(Told):
        await call(line, Patience(call_s=10.0, total_s=0.2, pause_s=0.01))
    assert time.monotonic() - began < 5
    assert all(given <= 0.2 for given in line.given)
    assert line.given == sorted(line.given, reverse=True)


async def test_nobody_waits_for_what_nobody_wants() -> None:
    """Without a total `stop` ends it; it is asked after each try."""
    line, asked = Line(*[Code.DEADLINE_EXCEEDED] * 9), iter([False, False, True])
    with pytest.raises(Told):
        await call(line, Patience(total_s=None, pause_s=0.0), stop=lambda: next(asked))
    assert len(line.given) == 3


async def test_a_slow_link_gets_longer_tries() -> None:
    """Each `longer` times the one before."""
    line = Line(Code.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED)
    await call(line, Patience(call_s=1.0, total_s=None, longer=2.0, pause_s=0.0))
    assert line.given == [1.0, 2.0, 4.0]
