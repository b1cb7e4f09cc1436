"""S15: CPU of each process for a run of 20 tokens under load. It is steadier than time on a machine that is shared."""

import asyncio
from collections.abc import Sequence
from functools import partial

import psutil

from bench.arithmetic import Pair, Row, row
from bench.bare_client import BareClient
from bench.load import CLIENTS, FAST, connected, fixed_number
from bench.scene import Scene, cpu_s, opened

RUNS = 320
WARM_UP = 96
SETTLED_S = 1.0
"""What a run leaves to do after its end (acknowledgements, events) belongs to it."""


def measure(rounds: int) -> list[Row]:
    with opened() as scene:
        return asyncio.run(_measure(scene, rounds))


async def _measure(scene: Scene, rounds: int) -> list[Row]:
    server, worker, beside = [], [], []
    watched = [scene.server, scene.worker, *scene.supervisors()]
    async with BareClient.connected(scene.settings) as bare:
        theirs = [partial(bare.run, "tokens", FAST)] * CLIENTS
        await fixed_number(theirs, WARM_UP)
        await _ours(scene, WARM_UP)
        for _ in range(rounds):
            before = _cpu_ms([scene.bare])
            await fixed_number(theirs, RUNS)
            await asyncio.sleep(SETTLED_S)
            (bare_ms,) = _since(before, [scene.bare])
            before = _cpu_ms(watched)
            await _ours(scene, RUNS)
            await asyncio.sleep(SETTLED_S)
            server_ms, worker_ms, *others = _since(before, watched)
            server.append(Pair(value=server_ms, baseline=bare_ms))
            worker.append(Pair(value=worker_ms, baseline=bare_ms))
            beside.append(Pair(value=sum(others), baseline=bare_ms))
    parts = {"server": server, "worker": worker, "beside": beside}
    return [row("S15", part, pairs) for part, pairs in parts.items()]


async def _ours(scene: Scene, runs: int) -> None:
    """On new connections: the server closes those that rest."""
    async with connected(scene.port, CLIENTS) as clients:
        await fixed_number([partial(client.run, FAST, "tokens") for client in clients], runs)


def _cpu_ms(watched: Sequence[psutil.Process | None]) -> list[float]:
    return [1000 * cpu_s(process) for process in watched]


def _since(before: Sequence[float], watched: Sequence[psutil.Process | None]) -> list[float]:
    """Milliseconds of CPU for each run and process."""
    return [(now - was) / RUNS for now, was in zip(_cpu_ms(watched), before, strict=True)]
