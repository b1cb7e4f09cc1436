"""S14: three runs hang 210 threads of one worker. What do its other runs notice, and when is it at full strength again?

Neighbours make one short blocking call each, at a pace that leaves the machine idle most of the time; threads that they
shared with the hung calls would hold up every one of them. `before` is measured on the same worker just before;
`during` lasts from the start of the hung runs until the worker that follows it is at full strength alone.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field

from bench.arithmetic import Pair, Row, percentile, row
from bench.load import connected
from bench.scene import Scene, opened
from bench.stream_client import Client
from tests.support.waiting import eventually

RUNS, CALLS = 3, 70
CONCURRENCY = 50
HUNG_FOR_S = 4.0
CLIENTS, EVERY_S = 4, 0.25
WARM_UP_S, QUIET_S = 2.0, 20.0
BACK_WITHIN_S = 120.0


@dataclass(slots=True)
class Neighbours:
    """How long each of their runs took (ms), and how many did not end well."""

    took: list[float] = field(default_factory=list)
    failed: int = 0

    def p99(self) -> float:
        return percentile(self.took, 99)


@dataclass(slots=True)
class Seen:
    """One round. `hung` is the most threads that a worker said it had lost."""

    before: Neighbours = field(default_factory=Neighbours)
    during: Neighbours = field(default_factory=Neighbours)
    after: Neighbours = field(default_factory=Neighbours)
    codes: list[str] = field(default_factory=list)
    hung: int = 0
    back_s: float = 0.0

    def wrong(self) -> int:
        """Neighbours that did not complete, and hung runs that ended with another code than E104."""
        return sum(part.failed for part in self._parts()) + sum(code != "E104" for code in self.codes)

    def told(self) -> str:
        parts = "; ".join(f"{len(part.took)} runs, p99 {part.p99():.0f} ms" for part in self._parts())
        return f"last round before, during, after: {parts}; {self.hung} threads hung, {' '.join(self.codes)}"

    def _parts(self) -> tuple[Neighbours, ...]:
        return self.before, self.during, self.after


def measure(rounds: int) -> list[Row]:
    found = [_round() for _ in range(rounds)]
    if least := [seen.hung for seen in found if seen.hung < RUNS * CALLS]:
        raise RuntimeError(f"only {least} of {RUNS * CALLS} threads hung: nothing was measured")
    during = [Pair(value=seen.during.p99(), baseline=seen.before.p99()) for seen in found]
    after = [Pair(value=seen.after.p99(), baseline=seen.before.p99()) for seen in found]
    back = [Pair(value=seen.back_s, baseline=0) for seen in found]
    wrong = [Pair(value=seen.wrong(), baseline=0) for seen in found]
    return [
        row("S14", "during", during, found[-1].told()),
        row("S14", "after", after),
        row("S14", "back", back),
        row("S14", "wrong", wrong),
    ]


def _round() -> Seen:
    """On a stack of its own: each round begins with a worker that has lost nothing."""
    with opened(bare=False, concurrency=CONCURRENCY, AGENT_RUNNER_THREADS_PER_RUN=str(CALLS)) as scene:
        return asyncio.run(_measure(scene))


async def _measure(scene: Scene) -> Seen:
    seen = Seen()
    async with connected(scene.port, CLIENTS) as clients:
        await _beside(clients, Neighbours(), asyncio.sleep(WARM_UP_S))
        await _beside(clients, seen.before, asyncio.sleep(QUIET_S))
        await _beside(clients, seen.during, asyncio.to_thread(_hang, scene, seen))
        await _beside(clients, seen.after, asyncio.sleep(QUIET_S))
    return seen


async def _beside(clients: list[Client], seen: Neighbours, work: Awaitable[None]) -> None:
    """Neighbours run until `work` is done."""
    done = asyncio.ensure_future(work)

    async def one_after_the_other(client: Client) -> None:
        while not done.done():
            next_at = time.monotonic() + EVERY_S
            stream = await client.run("call", "brief")
            seen.took.append(1000 * stream.end_s)
            seen.failed += not stream.is_complete()
            await asyncio.sleep(next_at - time.monotonic())

    await asyncio.gather(done, *map(one_after_the_other, clients))


def _hang(scene: Scene, seen: Seen) -> None:
    """Blocking. The time counts from the end of the last hung run: then its threads are known to be lost."""
    stack = scene.stack
    first = {worker["incarnation"] for worker in stack.workers()}
    limits = {"start_to_close_s": HUNG_FOR_S, "heartbeat_s": HUNG_FOR_S - 1}
    ids = [stack.create(str(CALLS), graph="silent", timeouts=limits)["metadata"]["id"] for _ in range(RUNS)]
    for id in ids:
        said = stack.wait_for(id, within_s=BACK_WITHIN_S)["status"]["messages"][-1]
        seen.codes.append(said.get("metadata", {}).get("error_code", "none"))
    over = time.monotonic()

    def is_back() -> bool:
        workers = stack.workers()
        seen.hung = max([seen.hung, *(worker["hung_threads"] for worker in workers)])
        whole = [w for w in workers if w["slots"] == CONCURRENCY and not w["hung_threads"] and not w["not_taking"]]
        return len(workers) == len(whole) == 1 and whole[0]["incarnation"] not in first

    eventually(is_back, within_s=BACK_WITHIN_S, what="a worker at full strength")
    seen.back_s = time.monotonic() - over
