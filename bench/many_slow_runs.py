"""S4: 200 runs of a second each at once: do all end with their stream whole, and how long does it take?

The baseline of the time is what it takes to start that many runs at the pace measured just before (S3).
"""

import asyncio
import json
import time

from bench.arithmetic import Pair, Row, row
from bench.bare_client import BareClient
from bench.load import connected, our_rate
from bench.scene import Scene, opened
from bench.stream_client import Stream

RUNS = 200
TOKENS, EVERY_S = 20, 0.05
OWN_S = TOKENS * EVERY_S
SLOW = json.dumps({"tokens": TOKENS, "every_s": EVERY_S})
RATE_SECONDS = 4.0


def measure(rounds: int) -> list[Row]:
    with opened(concurrency=RUNS + 50) as scene:
        return asyncio.run(_measure(scene, rounds))


async def _measure(scene: Scene, rounds: int) -> list[Row]:
    complete, beyond, all_s, bare_s = [], [], 0.0, 0.0
    async with BareClient.connected(scene.settings) as bare:
        for _ in range(rounds):
            began = time.monotonic()
            await asyncio.gather(*[bare.run("tokens", SLOW) for _ in range(RUNS)])
            bare_s = time.monotonic() - began
            rate = (await our_rate(scene.port, RATE_SECONDS)).per_s
            async with connected(scene.port, RUNS) as clients:
                began = time.monotonic()
                streams = await asyncio.gather(*[client.run(SLOW, "tokens") for client in clients])
                all_s = time.monotonic() - began
            complete.append(Pair(value=sum(map(_is_whole, streams)), baseline=RUNS))
            beyond.append(Pair(value=all_s - OWN_S, baseline=RUNS / rate))
    detail = f"last round: {all_s:.2f} s in all, bare chain + graph {bare_s:.2f} s, at {rate:.0f} runs/s"
    return [row("S4", "complete", complete), row("S4", "time", beyond, detail)]


def _is_whole(stream: Stream) -> bool:
    return stream.is_complete() and len(stream.text().split()) == TOKENS
