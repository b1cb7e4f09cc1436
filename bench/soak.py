"""The soak: runs at a steady pace for minutes, while the worker is killed again and again.

    python -m bench.soak [--minutes 20] [--per-s 12] [--kill-every-s 60]

Every execution must end, and by its true reason: COMPLETED, or WORKER_LOST (E103) if a kill fell into its life. After
the first quarter of the time the server must be flat: a line through its private memory, its files and its connections
rises by less than 2 % of their mean in 10 minutes. The exit status is 1 if something of this does not hold.

It begins with as many executions at once as a burst has. Pools of threads and connections grow to their bound when they
are first needed so far, and some of them never are at a steady pace, until a kill: what rises later is no pool.
"""

import argparse
import asyncio
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from agent_runner.status.failures import Code
from bench.arithmetic import percentile, rise
from bench.load import FAST
from bench.scene import MIB, Scene, opened
from bench.stream_client import COMPLETED, Client

SAMPLE_EVERY_S = 2.0
BURST = 100
LATE_S = 2.0
"""If the machine stood still for longer, what it could not begin is left out: all at once is another load."""
END_S = 120.0
"""After the last execution was made: nothing may take longer to its end."""
WARM = 0.25
"""The first part of the time: caches fill, threads and connections are made."""
MOST_RISE, WITHIN_S = 0.02, 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One execution. Times are monotonic."""

    began: float
    ended: float
    phase: str
    code: str
    error: str = ""

    def is_true(self, kills: Sequence[float]) -> bool:
        if self.phase == COMPLETED:
            return True
        return self.code == Code.WORKER_LOST.value and any(self.began <= at <= self.ended for at in kills)


@dataclass(slots=True)
class Soak:
    """What was seen. `samples`: by name, (monotonic time, value) of the server."""

    ended: list[Ended] = field(default_factory=list)
    broken: Counter[str] = field(default_factory=Counter)
    kills: list[float] = field(default_factory=list)
    samples: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {"private MiB": [], "files": [], "connections": []}
    )


async def soak(scene: Scene, minutes: float, per_s: float, kill_every_s: float) -> Soak:
    seen, until = Soak(), time.monotonic() + 60 * minutes
    await asyncio.gather(*(_one(scene.port, seen) for _ in range(BURST)))
    beside = [asyncio.create_task(_sample(scene, seen)), asyncio.create_task(_kill(scene, seen, kill_every_s, until))]
    going: set[asyncio.Task[None]] = set()
    next_at = time.monotonic()
    while time.monotonic() < until:
        task = asyncio.create_task(_one(scene.port, seen))
        going.add(task)
        task.add_done_callback(going.discard)
        next_at = max(next_at + 1 / per_s, time.monotonic() - LATE_S)
        await asyncio.sleep(max(0.0, next_at - time.monotonic()))
    if going:
        _, left = await asyncio.wait(going, timeout=END_S)
        for task in left:
            seen.broken[f"no end {END_S:g} s after the last began"] += 1
            task.cancel()
    for task in beside:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return seen


async def _one(port: int, seen: Soak) -> None:
    began = time.monotonic()
    try:
        async with Client.connected(port) as client:
            stream = await client.run(FAST, "tokens")
    except (OSError, RuntimeError, ValueError, asyncio.IncompleteReadError) as error:
        seen.broken[f"{type(error).__name__}: {error}"[:120]] += 1
        return
    *rows, (_, told) = stream.events()
    errors = [row["payload"]["error"] for event, row in rows if event == "update" and "error" in row["payload"]]
    end = {"phase": told["phase"], "code": told["error_code"], "error": " ".join(errors)}
    seen.ended.append(Ended(began=began, ended=time.monotonic(), **end))


async def _kill(scene: Scene, seen: Soak, every_s: float, until: float) -> None:
    """Kills the process that runs graphs; its supervisor starts another one. None is killed shortly before the end."""
    (supervisor,) = (psutil.Process(role.pid) for role in scene.stack.processes if role.name == "worker")
    while time.monotonic() + every_s < until:
        await asyncio.sleep(every_s)
        for child in supervisor.children():
            seen.kills.append(time.monotonic())
            child.kill()


async def _sample(scene: Scene, seen: Soak) -> None:
    while True:
        now = time.monotonic()
        seen.samples["private MiB"].append((now, scene.server.memory_full_info().uss / MIB))
        seen.samples["files"].append((now, scene.server.num_fds()))
        seen.samples["connections"].append((now, len(scene.server.net_connections())))
        await asyncio.sleep(SAMPLE_EVERY_S)


def judged(seen: Soak) -> bool:
    """Prints what was seen. Whether all of it holds."""
    false = [one for one in seen.ended if not one.is_true(seen.kills)]
    ends = Counter(f"{one.phase} {one.code}".strip() for one in seen.ended)
    print(f"{len(seen.ended)} executions ended, {len(seen.kills)} kills: {dict(ends)}")
    took = [one.ended - one.began for one in seen.ended]
    if took:
        print(f"to the end: p50 {percentile(took, 50):.3f} s, p99 {percentile(took, 99):.2f} s, max {max(took):.1f} s")
    for what, count in [
        *seen.broken.items(),
        *Counter(f"false: {one.code} {one.error[:300]}" for one in false).items(),
    ]:
        print(f"  {count} x {what}")
    flat = True
    for name, samples in seen.samples.items():
        warm = samples[int(len(samples) * WARM) :]
        risen = rise(warm, WITHIN_S)
        flat = flat and risen < MOST_RISE
        mean = sum(value for _, value in warm) / len(warm)
        print(f"server's {name}: mean {mean:.1f}, rises {risen:+.1%} of it in {WITHIN_S / 60:.0f} minutes")
    return not false and not seen.broken and bool(seen.ended) and flat


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="a steady load, and kills")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--per-s", type=float, default=12.0, help="executions a second: half the pace of S3")
    parser.add_argument("--kill-every-s", type=float, default=60.0)
    given = parser.parse_args(arguments)
    with opened(bare=False) as scene:
        holds = judged(asyncio.run(soak(scene, given.minutes, given.per_s, given.kill_every_s)))
    print("all of it holds" if holds else "something does not hold")
    return 0 if holds else 1


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
