"""S9: 1,000 readers of 50 runs: what a delivered event costs the server, and that none is lost."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench.arithmetic import Pair, Row, row
from bench.scene import Scene, cpu_s, opened
from bench.stream_client import COMPLETED, Client

RUNS, READERS_EACH = 50, 20
READERS = RUNS * READERS_EACH
TOKENS, EVERY_S = 400, 0.05
SLOW = json.dumps({"tokens": TOKENS, "every_s": EVERY_S})
SETTLED_S = 1.0
PATIENT_S, LONG_S = "300", "1800"
"""1,000 readers come before the first run is let begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """`size` is the mean size of an event, in bytes."""

    cpu_s: float
    events: int
    lost: int
    size: int


def measure(rounds: int) -> list[Row]:
    cpu, lost = [], []
    with opened(
        bare=False,
        concurrency=RUNS + 10,
        AGENT_RUNNER_SCHEDULE_TO_START_TIMEOUT_S=PATIENT_S,
        AGENT_RUNNER_SCHEDULE_TO_CLOSE_TIMEOUT_S=LONG_S,
    ) as scene:
        scene.stack.wait_for(scene.stack.create('{"tokens": 1}', graph="tokens")["metadata"]["id"])
        for _ in range(rounds):
            ours = asyncio.run(_ours(scene))
            frames = max(1, ours.events // READERS)
            bare_s = asyncio.run(_bare(frames, ours.size))
            events = frames * READERS
            cpu.append(Pair(value=1e6 * ours.cpu_s / max(1, ours.events), baseline=1e6 * bare_s / events))
            lost.append(Pair(value=ours.lost, baseline=ours.events + ours.lost))
    return [row("S9", "cpu", cpu, f"{ours.events} events of {ours.size} bytes in a round"), row("S9", "lost", lost)]


async def _ours(scene: Scene) -> Delivered:
    """The worker is held until all readers are there: what it costs to let them in is not what is measured."""
    assert scene.worker is not None
    async with AsyncExitStack() as stack:
        scene.worker.suspend()
        try:
            ids = await asyncio.to_thread(_create, scene)
            clients, streams = [], []
            for n in range(READERS):  # each asks at once: the server closes connections on which nothing is asked
                clients.append(await stack.enter_async_context(Client.connected(scene.port)))
                streams.append(await clients[n].follow(ids[n % RUNS]))
            reading = [asyncio.create_task(client.read_to_end(s)) for client, s in zip(clients, streams, strict=True)]
            await asyncio.sleep(SETTLED_S)
        finally:
            scene.worker.resume()
        known, before = sum(len(stream.frames) for stream in streams), cpu_s(scene.server)
        await asyncio.gather(*reading, return_exceptions=True)
        used_s = cpu_s(scene.server) - before
    for id in ids:
        if (phase := scene.stack.phase(id)) != COMPLETED:
            raise RuntimeError(f"{id} ended {phase}")
    # All readers of a run are told the same; each is compared with the one that was told most.
    due = [max(len(stream.frames) for stream in streams[run::RUNS]) for run in range(RUNS)]
    lost = sum(due[n % RUNS] - len(stream.frames) for n, stream in enumerate(streams))
    broken = [stream for stream in streams if not stream.is_complete()]
    frames = [frame for stream in streams for frame in stream.frames]
    return Delivered(
        cpu_s=used_s,
        events=len(frames) - known,
        lost=max(lost, len(broken)),
        size=sum(map(len, frames)) // max(1, len(frames)),
    )


def _create(scene: Scene) -> list[str]:
    return [scene.stack.create(SLOW, graph="tokens")["metadata"]["id"] for _ in range(RUNS)]


async def _bare(frames: int, size: int) -> float:
    given = [str(READERS), str(frames), str(TOKENS * EVERY_S / frames), str(size)]
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.bare_event_server", *given), stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    await asyncio.gather(*[_drain(port) for _ in range(READERS)])
    said = await server.stdout.readline()
    await server.wait()
    return float(json.loads(said)["cpu_s"])


async def _drain(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while await reader.read(1 << 16):
        pass
    writer.close()
