"""S2: how long until the first token is at the client: from the POST, and from the moment the model speaks."""

import asyncio
import json

from bench.arithmetic import Pair, Row, percentile, row
from bench.bare_client import BareClient
from bench.scene import Scene, bare_loop, opened
from bench.stream_client import Client, Stream

RUNS = 100
WARM_UP = 20
STAMPED = json.dumps({"tokens": 20, "stamped": True})


def measure(rounds: int) -> list[Row]:
    loop_ms = [1000 * percentile(bare_loop("tokens", STAMPED, 20)["chunk_s"], 50) for _ in range(rounds)]
    with opened() as scene:
        return asyncio.run(_measure(scene, rounds, loop_ms))


async def _measure(scene: Scene, rounds: int, loop_ms: list[float]) -> list[Row]:
    first, chunk = [], []
    async with BareClient.connected(scene.settings) as bare:
        for number in range(rounds + 1):
            runs = RUNS if number else WARM_UP
            ours = await _ours(scene.port, runs)
            theirs = [1000 * await bare.run() for _ in range(runs)]
            if number:
                posted = [1000 * stream.first_text_s for stream in ours]
                first.append(Pair(value=percentile(posted, 50), baseline=percentile(theirs, 50)))
                spoken = [_since_spoken_ms(stream) for stream in ours]
                chunk.append(Pair(value=percentile(spoken, 50), baseline=loop_ms[number - 1]))
    return [row("S2", "first", first), row("S2", "chunk", chunk)]


async def _ours(port: int, runs: int) -> list[Stream]:
    async with Client.connected(port) as client:
        return [await client.run(STAMPED, "tokens") for _ in range(runs)]


def _since_spoken_ms(stream: Stream) -> float:
    return 1000 * stream.first_text_at - int(stream.text().split()[0]) / 1e6
