"""S9: 1,000 readers of 50 runs: what a delivered event costs the server, and that none is lost."""

import asyncio
import json
import sys
from dataclasses import dataclass

from bench.arithmetic import Pair, Row, row
from bench.load import connected
from bench.scene import Scene, cpu_s, opened
from bench.stream_client import Client, Stream

RUNS, READERS_EACH = 50, 20
READERS = RUNS * READERS_EACH
TOKENS, EVERY_S = 160, 0.05
SLOW = json.dumps({"tokens": TOKENS, "every_s": EVERY_S})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """`size` is the mean size of an event, in bytes."""

    cpu_s: float
    events: int
    lost: int
    size: int


def measure(rounds: int) -> list[Row]:
    cpu, lost = [], []
    with opened(bare=False, concurrency=RUNS + 10) as scene:
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
    """CPU of the server from before the runs are created until all readers have left."""
    before = cpu_s(scene.server)
    async with connected(scene.port, READERS) as clients:
        ids = await asyncio.to_thread(_create, scene)
        streams = await asyncio.gather(*[_read(client, ids[n % RUNS]) for n, client in enumerate(clients)])
    used_s = cpu_s(scene.server) - before
    read = [stream for stream in streams if isinstance(stream, Stream)]
    last = {id: scene.stack.get(id)["status"] for id in ids}
    unfinished = [id for id, status in last.items() if status["phase"] != "EXECUTION_COMPLETED"]
    if unfinished:
        raise RuntimeError(f"{len(unfinished)} runs did not complete")
    delivered = sum(len(stream.frames) for stream in read)
    due = max((len(stream.frames) for stream in read), default=0)
    short = [stream for stream in read if not stream.is_complete()]
    lost = due * (READERS - len(read)) + sum(max(1, due - len(stream.frames)) for stream in short)
    size = sum(len(frame) for stream in read for frame in stream.frames) // max(1, delivered)
    return Delivered(cpu_s=used_s, events=delivered, lost=lost, size=size)


def _create(scene: Scene) -> list[str]:
    return [scene.stack.create(SLOW, graph="tokens")["metadata"]["id"] for _ in range(RUNS)]


async def _read(client: Client, id: str) -> Stream | None:
    try:
        return await client.follow(id, after=0)
    except (OSError, RuntimeError, asyncio.IncompleteReadError):
        return None


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
