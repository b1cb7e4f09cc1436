"""An answer that is less than whole, and a question, are told by `watch` over gRPC and shown on the page."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.status.endings import not_whole
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import NewDelta, Outcome
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.unit.server.conftest import AUTHORIZED, Worker, created

PAGE = Path("app/server/http/static/index.html")
SHIM = """
const element = () => ({children: [], style: {}, dataset: {}, append(...more) { this.children.push(...more); },
  replaceChildren(...more) { this.children = more; }, setAttribute() {},
  scrollHeight: 0, scrollTop: 0, clientHeight: 0});
const byId = {};
globalThis.document = {getElementById: id => byId[id] ||= element(), createElement: element, hidden: true};
globalThis.sessionStorage = {getItem: () => "key", setItem() {}};
globalThis.location = {hash: ""};
globalThis.history = {replaceState() {}};
globalThis.addEventListener = () => {};
globalThis.setInterval = () => {};
globalThis.fetch = async () => ({ok: true, json: async () => ({entries: [], workers: [], startup_failures: {}})});
"""
SHOW = """
const words = at => [at.textContent, ...(at.children || []).flatMap(words)].filter(Boolean);
const mine = current = {id: "x", execution: JSON.parse(process.argv[2])};
const payload = JSON.parse(process.argv[3]);
index(mine); show(mine);
const before = words($("view"));
apply(mine, {kind: "incomplete", payload}); show(mine);
console.log(JSON.stringify({before, after: words($("view")), entry: words(entry(mine.execution))}));
"""


async def ended(server: RunningServer, worker: Worker, http: httpx.AsyncClient, *, waits: bool) -> str:
    """An execution that ended with an answer that the model did not finish, or with a question."""
    id_: str = (await created(http))["metadata"]["id"]
    execution = (await worker.claim(id_)).execution
    assert execution is not None
    deltas = [] if waits else not_whole("length", "", answered=True)
    told = [NewDelta(kind=delta.kind, payload=json.dumps(dict(delta.payload))) for delta in deltas]
    end = Outcome(phase=Phase.COMPLETED, waiting=waits)
    settled = await server.ctx.store.settle(execution.handle, execution.fence, 0, told, "", end)
    assert settled.accepted
    return id_


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


@pytest.mark.skipif(shutil.which("node") is None, reason="the page's script is run by node")
async def test_the_page_shows_it(http: httpx.AsyncClient, tmp_path: Path) -> None:
    """In the list, in the execution, and while it is followed, as soon as the row comes."""
    shown: dict[str, Any] = await created(http)
    script = PAGE.read_text().partition("<script>")[2].partition("</script>")[0]
    (tmp_path / "page.js").write_text(SHIM + script.replace('"use strict";', "") + SHOW)
    payload = {"reason": "length", "text": "the model ran out of tokens"}
    argv = ["node", str(tmp_path / "page.js"), json.dumps(shown), json.dumps(payload)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Not a whole answer: the model ran out of tokens" in told["after"]
    assert not any("whole" in words for words in told["before"])
    assert any("not a whole answer" in words for words in told["entry"])
