"""S3: runs per second of 32 clients that each start the next run when the one before has ended."""

import asyncio
from functools import partial

from bench.arithmetic import Pair, Row, row
from bench.bare_client import BareClient
from bench.load import CLIENTS, FAST, closed_loop, our_rate
from bench.scene import Scene, cpu_s, opened

SECONDS = 6.0


def measure(rounds: int) -> list[Row]:
    with opened() as scene:
        return asyncio.run(_measure(scene, rounds))


async def _measure(scene: Scene, rounds: int) -> list[Row]:
    pairs = []
    worker_ms, server_ms = 0.0, 0.0
    async with BareClient.connected(scene.settings) as bare:
        run = partial(bare.run, "tokens", FAST)
        await our_rate(scene.port, 1)
        await closed_loop([run] * CLIENTS, 1)
        for _ in range(rounds):
            theirs = await closed_loop([run] * CLIENTS, SECONDS)
            before = cpu_s(scene.worker), cpu_s(scene.server)
            ours = await our_rate(scene.port, SECONDS)
            # The ramp's runs are not counted, and its CPU is.
            runs = ours.per_s * (ours.seconds + 1)
            worker_ms = 1000 * (cpu_s(scene.worker) - before[0]) / runs
            server_ms = 1000 * (cpu_s(scene.server) - before[1]) / runs
            pairs.append(Pair(value=ours.per_s, baseline=theirs.per_s))
    detail = f"CPU per run: worker {worker_ms:.1f} ms, server {server_ms:.1f} ms"
    return [row("S3", "ratio", pairs, detail), row("S3", "rate", pairs)]
