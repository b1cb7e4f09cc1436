"""Clients that start the next run when the one before has ended."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from bench.stream_client import Client

CLIENTS = 32
RAMP_S = 1.0
FAST = '{"tokens": 20}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    runs: int
    seconds: float

    @property
    def per_s(self) -> float:
        return self.runs / self.seconds


async def closed_loop(runs: Sequence[Callable[[], Awaitable[object]]], seconds: float) -> Rate:
    """Each of `runs` is a client. Ends are counted for `seconds`, after a ramp."""
    begins = time.monotonic() + RAMP_S
    ends, counted = begins + seconds, 0

    async def client(run: Callable[[], Awaitable[object]]) -> None:
        nonlocal counted
        while time.monotonic() < ends:
            await run()
            counted += begins <= time.monotonic() < ends

    await asyncio.gather(*map(client, runs))
    return Rate(runs=counted, seconds=seconds)


async def fixed_number(runs: Sequence[Callable[[], Awaitable[object]]], number: int) -> None:
    """Each of `runs` is a client; together they make `number` runs."""
    left = iter(range(number))

    async def client(run: Callable[[], Awaitable[object]]) -> None:
        for _ in left:
            await run()

    await asyncio.gather(*map(client, runs))


@asynccontextmanager
async def connected(port: int, number: int) -> AsyncIterator[list[Client]]:
    """That many clients of the server."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client.connected(port)) for _ in range(number)]


async def our_rate(port: int, seconds: float, clients: int = CLIENTS) -> Rate:
    """Fast runs through the whole stack."""
    async with connected(port, clients) as all_of_them:
        return await closed_loop([partial(client.run, FAST, "tokens") for client in all_of_them], seconds)
