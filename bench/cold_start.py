"""S11: from the start of a worker to the end of its first run, which waits for it; and what `--help` imports."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

from bench.arithmetic import Pair, Row, row
from bench.bare_client import BareClient
from bench.load import FAST
from bench.scene import Scene, opened, start_bare
from bench.stream_client import Client

HEAVY = ("fastapi", "sqlalchemy", "langgraph")
SETTLED_S = 0.2
"""So that the POST and the publishing are not part of what is measured."""


def measure(rounds: int) -> list[Row]:
    pairs = []
    with opened(worker=False, bare=False) as scene:
        for _ in range(rounds):
            ours = asyncio.run(_ours(scene))
            pairs.append(Pair(value=ours, baseline=asyncio.run(_bare(scene))))
    imported = imported_by_help()
    heavy = [name for name in HEAVY if name in imported]
    help_pair = Pair(value=len(heavy), baseline=len(HEAVY))
    return [row("S11", "start", pairs), row("S11", "help", [help_pair], ", ".join(heavy))]


async def _ours(scene: Scene) -> float:
    async with Client.connected(scene.port) as client:
        run = asyncio.create_task(client.run(FAST, "tokens"))
        await asyncio.sleep(SETTLED_S)
        began = time.monotonic()
        worker = scene.stack.start("worker")
        ended_at = (await run).ended_at
    await asyncio.to_thread(worker.stop)
    return ended_at - began


async def _bare(scene: Scene) -> float:
    async with BareClient.connected(scene.settings) as client:
        run = asyncio.create_task(client.run("tokens", FAST))
        await asyncio.sleep(SETTLED_S)
        began = time.monotonic()
        worker = start_bare(scene.stack, wait=False)
        await run
        ended_at = time.monotonic()
    await asyncio.to_thread(worker.stop)
    return ended_at - began


def imported_by_help() -> set[str]:
    """Top-level packages that `agent-runner --help` imports."""
    script = Path(sys.executable).parent / "agent-runner"
    command = [sys.executable, "-X", "importtime", str(script), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return set(re.findall(r"^import time:.*\| +([A-Za-z_]\w*)", told, re.MULTILINE))
