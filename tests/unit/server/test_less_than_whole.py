"""An answer that is less than whole, and a question, are told by `watch` over gRPC and shown on the page."""

import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.endings import not_whole
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import NewDelta, Outcome
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.unit.server.browser import NEEDS_BROWSER, browser
from tests.unit.server.conftest import AUTHORIZED, KEY, Worker, created

SHARES_A_SERVER = True


async def ended(server: RunningServer, worker: Worker, http: httpx.AsyncClient, *, waits: bool) -> str:
    """An execution that ended with an answer that the model did not finish, or with a question."""
    id_: str = (await created(http))["metadata"]["id"]
    execution = (await worker.claim(id_)).execution
    assert execution is not None
    await settle(server, execution, waits=waits)
    return id_


async def settle(server: RunningServer, execution: Execution, *, waits: bool) -> None:
    deltas = [] if waits else not_whole("length", "", answered=True)
    told = [NewDelta(kind=delta.kind, payload=json.dumps(dict(delta.payload))) for delta in deltas]
    end = Outcome(phase=Phase.COMPLETED, waiting=waits)
    settled = await server.ctx.store.settle(execution.handle, execution.fence, 0, told, "", end)
    assert settled.accepted


@pytest.mark.parametrize("waits", [False, True], ids=["incomplete", "waiting"])
@pytest.mark.parametrize("from_seq", [0, 1])
async def test_watch_tells_it(
    server: RunningServer, worker: Worker, http: httpx.AsyncClient, waits: bool, from_seq: int
) -> None:
    """In the snapshot, and with the end, wherever the reader began; a whole answer has neither."""
    id_ = await ended(server, worker, http, waits=waits)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = own.WatchRequest(execution_id=id_, from_seq=from_seq)
        stream = ExecutionsStub(channel).watch(request, metadata=AUTHORIZED)
        events = [event async for event in stream]
    said: list[Any] = [events[-1].end] if from_seq else [events[0].snapshot, events[-1].end]
    for one in said:
        assert one.waiting_for_input is waits
        assert one.HasField("incomplete") is not waits
        assert one.incomplete.reason == ("" if waits else "length")
        assert one.incomplete.text == ("" if waits else "the model ran out of tokens")


@NEEDS_BROWSER
async def test_the_page_shows_it(
    server: RunningServer, worker: Worker, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    """While it is followed, as soon as the row comes; not before."""
    id_: str = (await created(http))["metadata"]["id"]
    execution = (await worker.claim(id_)).execution
    assert execution is not None
    async with browser(tmp_path) as page:
        await page.go(f"http://127.0.0.1:{server.http_port}/#key={KEY}")
        await page.until("document.getElementById('workers').textContent === 'No worker is online.'")
        await page.value(f"location.hash = '{id_}'")
        await page.until(f"document.getElementById('view').innerText.includes('{id_}')")
        assert not await page.value("/whole answer/.test(document.body.innerText)")
        await settle(server, execution, waits=False)
        await page.until("document.body.innerText.includes('Not a whole answer: the model ran out of tokens')")
