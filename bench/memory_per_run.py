"""S6: what the worker's memory grows by for each run that is under way, with 200 of them at once."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psutil

from bench.arithmetic import Pair, Row, row
from bench.bare_client import BareClient
from bench.load import CLIENTS, connected
from bench.scene import Scene, opened, rss_mib

RUNS = 200
SLOW = json.dumps({"tokens": 100, "every_s": 0.1})
SHORT = json.dumps({"tokens": 20})
PROSE = "Say what you are. " * 10
DEMO_DELAY_MS = "100"


def measure(rounds: int) -> list[Row]:
    """Each round in processes of their own: memory that was used once is not given back."""
    plain, deep = [], []
    for _ in range(rounds):
        with opened(concurrency=RUNS + 50, AGENT_RUNNER_DEMO_TOKEN_DELAY_MS=DEMO_DELAY_MS) as scene:
            bare = asyncio.run(_bare(scene))
            plain.append(Pair(value=asyncio.run(_ours(scene, SHORT, SLOW, "tokens")), baseline=bare))
        with opened(concurrency=RUNS + 50, bare=False, AGENT_RUNNER_DEMO_TOKEN_DELAY_MS=DEMO_DELAY_MS) as scene:
            deep.append(Pair(value=asyncio.run(_ours(scene, PROSE, PROSE, "")), baseline=bare))
    return [row("S6", "plain", plain), row("S6", "deep", deep)]


async def _ours(scene: Scene, short: str, slow: str, graph: str) -> float:
    async with connected(scene.port, RUNS) as clients:
        await asyncio.gather(*[client.run(short, graph) for client in clients[:CLIENTS]])
    async with connected(scene.port, RUNS) as clients:
        return await _growth(scene.worker, [partial(client.run, slow, graph) for client in clients])


async def _bare(scene: Scene) -> float:
    async with BareClient.connected(scene.settings) as client:
        await asyncio.gather(*[client.run("tokens", SHORT) for _ in range(CLIENTS)])
        return await _growth(scene.bare, [partial(client.run, "tokens", SLOW)] * RUNS)


async def _growth(process: psutil.Process | None, runs: list[Callable[[], Awaitable[Any]]]) -> float:
    """MiB per run, at the peak."""
    before = peak = rss_mib(process)
    work = asyncio.gather(*[run() for run in runs])
    while not work.done():
        peak = max(peak, rss_mib(process))
        await asyncio.sleep(0.1)
    await work
    return (peak - before) / len(runs)
