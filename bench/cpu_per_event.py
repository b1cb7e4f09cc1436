"""S5: the worker's CPU for each event of LangGraph, against a loop that throws the events away."""

import asyncio
import json
from statistics import median

from bench.arithmetic import Pair, Row, rounded, row
from bench.bare_client import BareClient
from bench.load import FAST
from bench.scene import Scene, bare_loop, cpu_s, opened
from bench.stream_client import Client

CASES = {
    "tokens": ("tokens", json.dumps({"tokens": 2000}), 8),
    "tools": ("tools", json.dumps({"calls": 50, "at_once": 1, "result_bytes": 200, "tokens": 20}), 5),
}
FIXED_RUNS = 150


def measure(rounds: int) -> list[Row]:
    pairs: dict[str, list[Pair]] = {"tokens": [], "tools": [], "fixed": []}
    messages_us: dict[str, list[float]] = {"tokens": [], "tools": []}
    with opened() as scene:
        for _ in range(rounds):
            for part, (graph, message, runs) in CASES.items():
                theirs = bare_loop(graph, message, runs)
                ours_s = asyncio.run(_ours(scene, graph, message, runs))
                us = 1e6 / theirs["events"]
                messages_us[part].append(us * bare_loop(graph, message, runs, "messages")["cpu_s"])
                pairs[part].append(Pair(value=ours_s * us, baseline=theirs["cpu_s"] * us))
            ours_s = asyncio.run(_ours(scene, "tokens", FAST, FIXED_RUNS))
            bare_s = asyncio.run(_bare(scene, FIXED_RUNS))
            pairs["fixed"].append(Pair(value=1000 * ours_s / FIXED_RUNS, baseline=1000 * bare_s / FIXED_RUNS))
    beside = {part: f"astream of messages alone: {rounded(median(us))} us" for part, us in messages_us.items()}
    return [row("S5", part, of_part, beside.get(part, "")) for part, of_part in pairs.items()]


async def _ours(scene: Scene, graph: str, message: str, runs: int) -> float:
    async with Client.connected(scene.port) as client:
        await client.run(message, graph)
        before = cpu_s(scene.worker)
        for _ in range(runs):
            await client.run(message, graph)
        return cpu_s(scene.worker) - before


async def _bare(scene: Scene, runs: int) -> float:
    async with BareClient.connected(scene.settings) as client:
        await client.run("tokens", FAST)
        before = cpu_s(scene.bare)
        for _ in range(runs):
            await client.run("tokens", FAST)
        return cpu_s(scene.bare) - before
