"""S1: how long a run takes on an idle stack, from the POST to the end on its stream."""

import asyncio

from bench.arithmetic import Pair, Row, percentile, row
from bench.bare_client import BareClient
from bench.load import FAST
from bench.scene import Scene, opened
from bench.stream_client import Client

RUNS = 100
WARM_UP = 20


def measure(rounds: int) -> list[Row]:
    with opened() as scene:
        return asyncio.run(_measure(scene, rounds))


async def _measure(scene: Scene, rounds: int) -> list[Row]:
    p50, p99 = [], []
    async with BareClient.connected(scene.settings) as bare:
        for number in range(rounds + 1):
            runs = RUNS if number else WARM_UP
            ours = await _ours(scene.port, runs)
            theirs = [1000 * await bare.run("tokens", FAST) for _ in range(runs)]
            if number:
                p50.append(Pair(value=percentile(ours, 50), baseline=percentile(theirs, 50)))
                p99.append(Pair(value=percentile(ours, 99), baseline=percentile(ours, 50)))
    return [row("S1", "p50", p50), row("S1", "p99", p99)]


async def _ours(port: int, runs: int) -> list[float]:
    async with Client.connected(port) as client:
        return [1000 * (await client.run(FAST, "tokens")).end_s for _ in range(runs)]
