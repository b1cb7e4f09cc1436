"""`make bench-peers`: Agent Runner on SQLite and on Postgres, bare chain + graph, and Aegra, in the same rounds.

    python -m bench.peers [--rounds 3]

Each measure goes from one to the next within a round, so that all meet the same machine. Medians are printed, and what
Agent Runner is to each of the others.
"""

import argparse
import asyncio
import os
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import psutil

from bench import aegra
from bench.arithmetic import percentile, rounded
from bench.bare_client import BareClient
from bench.burst import RUNS, SLOW
from bench.load import CLIENTS, FAST, closed_loop
from bench.scene import Scene, cpu_s, opened
from bench.sdk_client import SdkClient
from bench.stream_client import Client
from tests.integration.stack import KEY
from tests.support.databases import POSTGRES, on_postgres

IDLE_RUNS, LOAD_S = 40, 6.0
OURS, ON_POSTGRES, BARE, AEGRA = "ours", "ours, Postgres", "chain + graph", "Aegra"
SDK = "SDK's wire: "
"""The measures in which we are asked as Aegra is, by the Agent Server API."""
Run = Callable[[str], Awaitable[tuple[float, float]]]
"""A run of a message: seconds to the first token (0 where nobody reads tokens) and to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`clients(n)`: that many clients, as a context. `processes`: whose CPU counts."""

    clients: Callable[[int], Any]
    processes: Sequence[psutil.Process]
    sdk_clients: Callable[[int], Any] | None = None

    def cpu_s(self) -> float:
        return sum(map(cpu_s, self.processes))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args(arguments).rounds
    if reason := aegra.absent():
        print(f"skipped: {reason}")
        return 0
    aegra.set_up()
    with ExitStack() as stack:
        own = stack.enter_context(opened(concurrency=RUNS + 50))
        url = stack.enter_context(on_postgres(os.environ[POSTGRES]))
        postgres = stack.enter_context(
            opened(bare=False, concurrency=RUNS + 50, AGENT_RUNNER_DATABASE_URL=url, AGENT_RUNNER_CHECKPOINT_URL=url)
        )
        port, process = stack.enter_context(aegra.opened())
        peers = {
            OURS: _ours(own),
            ON_POSTGRES: _ours(postgres),
            BARE: _bare(own),
            AEGRA: Peer(
                clients=partial(_sdk_clients, port, {}),
                processes=[process],
                sdk_clients=partial(_sdk_clients, port, {}),
            ),
        }
        measured = asyncio.run(_rounds(peers, rounds))
    print(table(measured))
    return 0


async def _rounds(peers: Mapping[str, Peer], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure: peer: the value of each round."""
    told: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds + 1):
        for measure in (_idle, _load, _sdk_load, _burst):
            for name, peer in peers.items():
                try:
                    values = await measure(peer)
                except (RuntimeError, OSError, EOFError) as error:  # one that fails is no reason to measure no other
                    print(f"{name}: {measure.__name__[1:]} failed: {str(error)[:300]}", flush=True)
                    continue
                for what, value in values.items():
                    if number:  # the first round is to warm up
                        told.setdefault(what, {}).setdefault(name, []).append(value)
        print(f"round {number} of {rounds}", flush=True)
    return told


async def _idle(peer: Peer) -> dict[str, float]:
    async with peer.clients(1) as (run,):
        ran = [await run(FAST) for _ in range(IDLE_RUNS)]
    firsts, ends = [1000 * first for first, _ in ran], [1000 * end for _, end in ran]
    said = {"POST to end, p50, ms": percentile(ends, 50), "POST to end, p99, ms": percentile(ends, 99)}
    return said | ({"POST to first token, p50, ms": percentile(firsts, 50)} if any(firsts) else {})


async def _load(peer: Peer) -> dict[str, float]:
    before = peer.cpu_s()
    async with peer.clients(CLIENTS) as runs:
        rate = await closed_loop([partial(run, FAST) for run in runs], LOAD_S)
    if not rate.runs:
        raise RuntimeError(f"no run ended within {LOAD_S:g} s")
    cpu_ms = 1000 * (peer.cpu_s() - before) / (rate.per_s * (rate.seconds + 1))
    return {f"runs/s, {CLIENTS} clients": rate.per_s, "CPU per run under load, ms": cpu_ms}


async def _sdk_load(peer: Peer) -> dict[str, float]:
    if peer.sdk_clients is None:
        return {}
    told = await _load(replace(peer, clients=peer.sdk_clients))
    return {f"{SDK}{what}": value for what, value in told.items()}


async def _burst(peer: Peer) -> dict[str, float]:
    async with peer.clients(RUNS) as runs:
        began = time.monotonic()
        await asyncio.gather(*[run(SLOW) for run in runs])
        return {f"{RUNS} one-second runs at once, s": time.monotonic() - began}


def _ours(scene: Scene) -> Peer:
    assert scene.worker is not None
    return Peer(
        clients=partial(_our_clients, scene.port),
        processes=[scene.server, scene.worker],
        sdk_clients=partial(_sdk_clients, scene.port, {"x-api-key": KEY}),
    )


@asynccontextmanager
async def _our_clients(port: int, number: int) -> Any:
    async def run(client: Client, message: str) -> tuple[float, float]:
        stream = await client.run(message, "tokens")
        return stream.first_text_s, stream.end_s

    async with AsyncExitStack() as stack:
        yield [partial(run, await stack.enter_async_context(Client.connected(port))) for _ in range(number)]


def _bare(scene: Scene) -> Peer:
    assert scene.bare is not None
    return Peer(clients=partial(_bare_clients, scene), processes=[scene.bare])


@asynccontextmanager
async def _bare_clients(scene: Scene, number: int) -> Any:
    async with BareClient.connected(scene.settings) as bare:

        async def run(message: str) -> tuple[float, float]:
            return 0.0, await bare.run("tokens", message)

        yield [run] * number


@asynccontextmanager
async def _sdk_clients(port: int, headers: Mapping[str, str], number: int) -> Any:
    async def run(client: SdkClient, message: str) -> tuple[float, float]:
        ran = await client.run(message)
        return ran.first_text_s, ran.end_s

    async with AsyncExitStack() as stack:
        yield [partial(run, await stack.enter_async_context(SdkClient.connected(port, headers))) for _ in range(number)]


def table(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A line for each measure: the medians, then ours / chain + graph, ours / Aegra, Postgres / SQLite."""
    ratios = ((OURS, BARE), (OURS, AEGRA), (ON_POSTGRES, OURS))
    head = ["", OURS, ON_POSTGRES, BARE, AEGRA, *(f"{a} / {b}" for a, b in ratios)]
    lines = [head]
    for what, of_peer in measured.items():
        middle = {name: median(values) for name, values in of_peer.items()}
        cells = [f"{rounded(middle[name]):g}" if name in middle else "-" for name in head[1:5]]
        cells += [f"{middle[a] / middle[b]:.2f}" if a in middle and b in middle else "-" for a, b in ratios]
        lines.append([what, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
