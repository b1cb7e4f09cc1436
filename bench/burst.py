"""S16: 200 runs of a second each at once: is what they say live, how long does it take, and do more slots cost time?

A run is live when its first token is at the client well before its end. Bare chain + graph runs in the same round.
"""

import asyncio
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.arithmetic import Pair, Row, percentile, row
from bench.bare_client import BareClient
from bench.load import connected
from bench.scene import Scene, opened
from bench.stream_client import Stream

RUNS = 200
TOKENS, EVERY_S = 20, 0.05
SLOW = json.dumps({"tokens": TOKENS, "every_s": EVERY_S})
FEW, MANY = 50, RUNS + 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    all_s: float
    first_s: float
    """The median of the first tokens; `end_s` that of the ends."""
    end_s: float
    whole: int


def measure(rounds: int) -> list[Row]:
    with ExitStack() as stack:
        many = stack.enter_context(opened(concurrency=MANY))
        few = stack.enter_context(opened(concurrency=FEW, bare=False))
        return asyncio.run(_measure(many, few, rounds))


async def _measure(many: Scene, few: Scene, rounds: int) -> list[Row]:
    live, taken, slots = [], [], []
    async with BareClient.connected(many.settings) as bare:
        for number in range(rounds + 1):
            began = time.monotonic()
            await asyncio.gather(*[bare.run("tokens", SLOW) for _ in range(RUNS)])
            bare_s = time.monotonic() - began
            ours, narrow = await _burst(many.port), await _burst(few.port)
            if number:  # the first is to warm up
                live.append(Pair(value=ours.end_s - ours.first_s, baseline=TOKENS * EVERY_S))
                taken.append(Pair(value=ours.all_s, baseline=bare_s))
                slots.append(Pair(value=ours.all_s, baseline=narrow.all_s))
    detail = f"last round: first token p50 {ours.first_s:.2f} s, end p50 {ours.end_s:.2f} s, {ours.whole} whole"
    return [row("S16", "live", live, detail), row("S16", "time", taken), row("S16", "slots", slots)]


async def _burst(port: int) -> Burst:
    async with connected(port, RUNS) as clients:
        began = time.monotonic()
        streams = await asyncio.gather(*[client.run(SLOW, "tokens") for client in clients])
        all_s = time.monotonic() - began
    return Burst(
        all_s=all_s,
        first_s=percentile([stream.first_text_s for stream in streams], 50),
        end_s=percentile([stream.end_s for stream in streams], 50),
        whole=sum(map(_is_whole, streams)),
    )


def _is_whole(stream: Stream) -> bool:
    return stream.is_complete() and len(stream.text().split()) == TOKENS
