"""The one loop of a server's services: rounds that fail, starts and stops in any order, and a start that fails."""

import asyncio
import logging
import random
import socket
import threading
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from agent_runner.app.server.composition import running_server
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.errors import StoreUnavailable

ERRORS: list[BaseException | None] = [
    None, StoreUnavailable("away"), RuntimeError("broken"), TimeoutError(), asyncio.CancelledError(),
    ExceptionGroup("several", [OSError()]),
]  # fmt: skip


class Rounds(Background):
    NAME = "the service of this test"

    def __init__(self, errors: list[BaseException | None], *, takes_s: float = 0.0) -> None:
        super().__init__(0.001)
        self._errors, self._takes_s = errors, takes_s
        self.begun = self.ended = self.at_once = self.most_at_once = 0
        self.told = asyncio.Event()
        self.wanted = 0

    async def round(self) -> None:
        self.begun += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self._takes_s)
            if (error := self._errors[self.begun % len(self._errors)]) is not None:
                raise error
            self.ended += 1
        finally:
            self.at_once -= 1
            if self.begun >= self.wanted:
                self.told.set()

    async def after(self, rounds: int) -> None:
        self.wanted = self.begun + rounds
        self.told.clear()
        await asyncio.wait_for(self.told.wait(), 20)


async def test_the_next_round_comes_whatever_a_round_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Each error is logged with the service's name; the store's absence without a traceback."""
    async with Rounds(ERRORS) as service:
        await service.after(3 * len(ERRORS))
    assert service.ended >= 3
    told = [record for record in caplog.records if service.NAME in record.getMessage()]
    assert {bool(record.exc_info) for record in told} == {True, False}
    assert all(record.levelno == logging.ERROR for record in told)
    assert any("cannot reach the store: away" in record.getMessage() for record in told)


verbs = st.lists(st.sampled_from(["start", "stop", "stop twice", "rounds", "yield", "cancel a stop"]), max_size=25)


@given(verbs=verbs, seed=st.integers(0, 2**16))
@examples(max_examples=60, deadline=None)
def test_starts_and_stops_in_any_order_leave_nothing(verbs: list[str], seed: int) -> None:
    """One round at a time, none after a stop, no task left over; a stop that is cancelled stops all the same."""

    async def all_of_it() -> None:
        errors = random.Random(seed).choices(ERRORS, k=7)
        service = Rounds(errors, takes_s=0.0005)
        running = False
        for verb in verbs:
            match verb:
                case "start":
                    service.start()
                    running = True
                case "stop":
                    await service.stop()
                case "stop twice":
                    await asyncio.gather(service.stop(), service.stop())
                case "cancel a stop":
                    stopping = asyncio.create_task(service.stop())
                    await asyncio.sleep(0)
                    stopping.cancel()
                    await asyncio.gather(stopping, return_exceptions=True)
                    await service.stop()
                case "rounds" if running:
                    await service.after(2)
                case _:
                    await asyncio.sleep(0)
            if "stop" in verb:
                running = False
                done = service.begun
                await asyncio.sleep(0.002)
                assert service.begun == done
                assert asyncio.all_tasks() == {asyncio.current_task()}
        await service.stop()
        assert service.most_at_once <= 1
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(all_of_it())


async def test_a_stop_lets_the_round_end_and_cancels_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within LAST_ROUND_S."""
    async with Rounds([None], takes_s=0.05) as service:
        await service.after(1)
        while service.at_once == 0:
            await asyncio.sleep(0)
    assert service.ended == service.begun
    monkeypatch.setattr(Rounds, "LAST_ROUND_S", 0.01)
    slow = Rounds([None], takes_s=3600)
    slow.start()
    while slow.at_once == 0:
        await asyncio.sleep(0)
    await asyncio.wait_for(slow.stop(), 20)
    assert (slow.begun, slow.ended, slow.at_once) == (1, 0, 0)


@pytest.mark.parametrize("taken", ["http_port", "grpc_port"])
async def test_a_port_in_use_leaves_nothing_running(settings: Settings, taken: str) -> None:
    """No task, no thread and no open port of the server that could not start; the next one on a free port does."""

    def left_threads() -> list[str]:
        """Those that are there since and do not end now."""
        new = [t for t in threading.enumerate() if t not in threads and not t.name.startswith("asyncio_")]
        for thread in new:
            thread.join(10)
        return [thread.name for thread in new if thread.is_alive()]

    def listening() -> set[Any]:
        return {c.laddr for c in psutil.Process().net_connections("tcp") if c.status == psutil.CONN_LISTEN}

    async with running_server(settings):
        pass
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads, ports = set(threading.enumerate()), listening()
        broken = settings.model_copy(update={taken: listener.getsockname()[1]})
        with pytest.raises((OSError, RuntimeError)):
            async with running_server(broken):
                pass
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (left_threads(), listening()) == ([], ports)
    async with running_server(settings) as server:
        assert server.http_port
