"""Wake-ups between servers over a real Redis: heard by the others, never needed, and back after every kind of cut."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from agent_runner.app.server.log_feed import wakeups
from agent_runner.app.server.log_feed.wakeups import Wakeups
from tests.faults.tcp_proxy import TcpProxy
from tests.support.ports import free_port


@pytest.fixture
def link(redis_url: str) -> Iterator[TcpProxy]:
    port = urlsplit(redis_url).port
    assert port is not None
    with TcpProxy(free_port(), port) as opened:
        yield opened


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Wakeups]:
    one = Wakeups(url)
    await one.start()
    try:
        await connected(one)
        yield one
    finally:
        await one.stop()


async def connected(one: Wakeups, wanted: bool = True) -> None:
    async with asyncio.timeout(20):
        while one.connected is not wanted:
            await asyncio.sleep(0.01)


async def heard(woken: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await woken.wait()
    woken.clear()


async def test_the_others_are_woken_and_oneself_once(redis_url: str) -> None:
    """A notification wakes here at once, there soon, nobody twice, and not who waits for something else."""
    async with listening(redis_url) as here, listening(redis_url) as there:
        with (
            here.subscribe("a") as mine,
            there.subscribe("a") as theirs,
            there.subscribe("a") as another,
            there.subscribe("b") as foreign,
        ):
            here.notify("a")
            assert mine.is_set()
            mine.clear()
            await heard(theirs)
            await heard(another)
            here.notify("b")  # what comes after it has come
            await heard(foreign)
            assert not mine.is_set()
            assert not theirs.is_set()


async def test_many_wake_ups_of_one_execution_are_one_while_redis_is_away(link: TcpProxy) -> None:
    """What waits to be published is one name per execution, however long and often it grows meanwhile."""
    async with listening(f"redis://127.0.0.1:{link.port}/0") as one:
        link.reset()
        await connected(one, False)
        for number in range(5_000):
            one.notify(f"execution-{number % 3}")
            if number % 1_000 == 0:
                await asyncio.sleep(0.01)
        assert len(one._grown) <= 3
        link.heal()
        await connected(one)


@pytest.mark.parametrize("cut", ["reset", "silent"])
async def test_a_link_that_was_cut_is_made_again(
    redis_url: str, link: TcpProxy, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    """Also one that died without a word: nobody closes it, nothing comes any more."""
    monkeypatch.setattr(wakeups, "SILENT_S", 1.0)
    monkeypatch.setattr(wakeups, "RETRY_S", 0.05)
    async with listening(redis_url) as here, listening(f"redis://127.0.0.1:{link.port}/0") as there:
        with here.subscribe("met") as met:  # from here on they know that they are two
            there.notify("met")
            await heard(met)
        with there.subscribe("a") as woken:
            if cut == "reset":
                link.reset()
            else:
                link.mute()
            await connected(there, False)
            here.notify("a")
            link.heal()
            await connected(there)
            assert not woken.is_set(), "it was lost: nobody keeps wake-ups"
            here.notify("a")
            await heard(woken)


async def test_a_quiet_link_is_kept(link: TcpProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence alone is no failure: it is asked, and it answers."""
    monkeypatch.setattr(wakeups, "SILENT_S", 0.5)
    async with listening(f"redis://127.0.0.1:{link.port}/0") as one:
        async with asyncio.timeout(20):
            while link.accepted < 2:  # the listener's, and the one over which it said that it listens
                await asyncio.sleep(0.01)
        accepted, forwarded = link.accepted, link.forwarded
        async with asyncio.timeout(20):
            while link.forwarded < forwarded + 10:  # five questions and their answers
                await asyncio.sleep(0.02)
        assert one.connected
        assert link.accepted == accepted


async def test_a_server_alone_publishes_now_and_then_and_one_that_comes_hears_all(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What grows while nobody else listens is published together. Somebody who begins to listen waits for nothing."""
    monkeypatch.setattr(wakeups, "ALONE_EVERY_S", 600.0)
    async with listening(redis_url) as here:
        async with asyncio.timeout(20):
            while here._others.is_set():
                await asyncio.sleep(0.01)
        for number in range(100):
            here.notify(f"execution-{number}")
            await asyncio.sleep(0)
        assert len(here._grown) == 100
        async with listening(redis_url) as there:
            async with asyncio.timeout(20):
                while here._grown:
                    await asyncio.sleep(0.01)
            with there.subscribe("a") as woken:
                here.notify("a")
                await heard(woken)
                there.notify("b")
                assert here._others.is_set()
