"""S18: what `runs.stream` of LangGraph's SDK costs beside our own event stream, for the same run of the same graph."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from bench.arithmetic import Pair, Row, percentile, row
from bench.load import CLIENTS, FAST, connected, fixed_number
from bench.scene import Scene, cpu_s, opened
from bench.sdk_client import SdkClient
from tests.integration.stack import KEY

RUNS, IDLE_RUNS, WARM_UP = 320, 60, 96
SETTLED_S = 1.0
"""What a run leaves to do after its end (acknowledgements, events) belongs to it."""
MODES = ("messages-tuple", "messages")
Run = Callable[[], Awaitable[object]]


def measure(rounds: int) -> list[Row]:
    with opened(bare=False) as scene:
        return asyncio.run(_measure(scene, rounds))


async def _measure(scene: Scene, rounds: int) -> list[Row]:
    pairs: dict[str, list[Pair]] = {}
    for number in range(rounds + 1):
        own_cpu, own_s = await _cost(scene, _own, number)
        for mode in MODES:
            cpu, seconds = await _cost(scene, partial(_sdk, mode=mode), number)
            if number:  # the first round is to warm up
                pairs.setdefault(f"cpu_{mode}", []).append(Pair(value=cpu, baseline=own_cpu))
                pairs.setdefault(f"time_{mode}", []).append(Pair(value=seconds, baseline=own_s))
    return [row("S18", part, measured) for part, measured in pairs.items()]


async def _cost(scene: Scene, clients: Callable[..., object], number: int) -> tuple[float, float]:
    """(milliseconds of the CPU of server and worker for a run under load, milliseconds of a run on an idle stack)"""
    async with clients(scene.port, CLIENTS) as runs:  # type: ignore[attr-defined]
        before = _cpu_ms(scene)
        made = RUNS if number else WARM_UP
        await fixed_number(runs, made)
        await asyncio.sleep(SETTLED_S)
        cpu = (_cpu_ms(scene) - before) / made
    async with clients(scene.port, 1) as (run,):  # type: ignore[attr-defined]
        took = [await run() for _ in range(IDLE_RUNS)]
    return cpu, 1000 * percentile([one.end_s for one in took], 50)


def _cpu_ms(scene: Scene) -> float:
    return 1000 * (cpu_s(scene.server) + cpu_s(scene.worker))


@asynccontextmanager
async def _own(port: int, number: int) -> AsyncIterator[Sequence[Run]]:
    async with connected(port, number) as clients:
        yield [partial(client.run, FAST, "tokens") for client in clients]


@asynccontextmanager
async def _sdk(port: int, number: int, *, mode: str) -> AsyncIterator[Sequence[Run]]:
    async with AsyncExitStack() as stack:
        opening = (SdkClient.connected(port, {"x-api-key": KEY}) for _ in range(number))
        clients = [await stack.enter_async_context(one) for one in opening]
        yield [partial(client.run_on_new, FAST, (mode,)) for client in clients]
