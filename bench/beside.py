"""S19, `make bench-beside OTHER=/path/to/checkout`: this checkout and another one, one after the other in each round.

    python -m bench.beside /path/to/checkout [--rounds 3]

The other one has an environment of its own (`make setup` there). Both are driven by the clients of this checkout, with
its graphs; the goals are those against build fbb38d2. A missed goal is a finding, not a failure.
"""

import argparse
import asyncio
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.arithmetic import Pair, Row, row
from bench.load import CLIENTS, FAST, connected, fixed_number
from bench.run import BUILD, table, write
from bench.scene import OWN, Scene, cpu_s, opened

RUNS = 200
WARM_UP = 96
SETTLED_S = 1.0
"""What a run leaves to do after its end belongs to it."""
Seen = tuple[float, float, float]
"""Milliseconds of CPU per run of the server and of the worker; runs per second."""


def measure(other: Path, rounds: int) -> list[Row]:
    with ExitStack() as up:
        scenes = [up.enter_context(opened(bare=False, programs=programs)) for programs in (OWN, other)]
        for scene in scenes:
            asyncio.run(_load(scene, WARM_UP))
        seen: list[list[Seen]] = [[], []]
        for number in range(rounds):  # neither is always the first
            for n in (0, 1) if number % 2 == 0 else (1, 0):
                seen[n].append(asyncio.run(_seen(scenes[n])))
    pairs = list(zip(*seen, strict=True))
    parts = ("server", "worker", "rate")
    return [
        row("S19", part, [Pair(value=ours[n], baseline=theirs[n]) for ours, theirs in pairs])
        for n, part in enumerate(parts)
    ]


async def _seen(scene: Scene) -> Seen:
    before = cpu_s(scene.server), cpu_s(scene.worker)
    took_s = await _load(scene, RUNS)
    await asyncio.sleep(SETTLED_S)
    used = [1000 * (cpu_s(process) - was) for process, was in zip((scene.server, scene.worker), before, strict=True)]
    return used[0] / RUNS, used[1] / RUNS, RUNS / took_s


async def _load(scene: Scene, runs: int) -> float:
    """Seconds."""
    async with connected(scene.port, CLIENTS) as clients:
        began = time.monotonic()
        await fixed_number([partial(client.run, FAST, "tokens") for client in clients], runs)
        return time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-beside", description="this checkout beside another one")
    parser.add_argument("other", type=Path, help="a checkout with a .venv of its own")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    programs = given.other.resolve() / ".venv" / "bin"
    if not (programs / "agent-runner").exists():
        print(f"{programs} has no agent-runner: make setup there first", file=sys.stderr)
        return 2
    rows = measure(programs, given.rounds)
    write(BUILD / "bench-beside.json", rows)
    print(table(rows))
    return 0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
