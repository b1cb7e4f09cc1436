"""Pages of lists and of streams are bounded in bytes, whatever their entries hold; JSON of any size holds up nobody."""

import asyncio
import json
import random
import time
from typing import Any

import httpx
import pytest
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.http.events import event_stream
from agent_runner.app.server.http.large_json import json_text
from agent_runner.status.log.bounds import MAX_PAGE_BYTES
from tests.unit.server.conftest import Worker, created
from tests.unit.server.identity import agent

SHARES_A_SERVER = True
LARGE = 100_000
LARGE_MESSAGES = 60
OF_A_PAGE = -(-MAX_PAGE_BYTES // LARGE)
"""The last one begins below the limit."""
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


async def walked(http: httpx.AsyncClient, path: str) -> list[list[str]]:
    """The ids of each page, from the first to the last."""
    found: list[list[str]] = []
    token = ""
    while token or not found:
        page = (await http.get(path, params={"page_size": 50, "page_token": token, "view": "full"})).json()
        found.append([entry["metadata"]["id"] for entry in page["entries"]])
        token = page["next_page_token"]
    return found


async def test_a_page_of_executions(http: httpx.AsyncClient, worker: Worker) -> None:
    """It ends where it is heavy enough and not where fifty are; going on from its token misses nothing."""
    ids = []
    for _ in range(2 * OF_A_PAGE - 1):
        made = await created(http)
        await worker.say(await worker.claim(made["metadata"]["id"]), "x" * LARGE, number=0)
        ids.append(made["metadata"]["id"])
    pages = await walked(http, "/v1/executions")
    assert [len(page) for page in pages] == [OF_A_PAGE, OF_A_PAGE - 1]
    assert [id for page in pages for id in page] == ids[::-1]


async def test_a_page_of_resources(http: httpx.AsyncClient) -> None:
    """The same for what callers wrote."""
    for number in range(OF_A_PAGE + 1):
        body = agent(f"Agent {number}")
        body["spec"]["instructions"] = "i" * LARGE
        assert (await http.post("/v1/agents", json=body)).status_code == 201
    pages = await walked(http, "/v1/agents")
    assert [len(page) for page in pages] == [OF_A_PAGE, 1]
    assert len({id for page in pages for id in page}) == OF_A_PAGE + 1


async def test_a_piece_of_a_stream(http: httpx.AsyncClient, server: RunningServer, worker: Worker) -> None:
    """A reader that begins at the beginning of a heavy log gets it in pieces: nothing is missing, none is large."""
    id = (await created(http))["metadata"]["id"]
    claimed = await worker.claim(id)
    for number in range(12):
        await worker.say(claimed, f"{number} " + "x" * LARGE, number=number)
    await worker.settle(claimed, number=12)
    with acting_as(SERVER):
        pieces = [piece async for piece in event_stream(server.ctx, id, "0") if not piece.startswith(":")]
    assert max(map(len, pieces)) < MAX_PAGE_BYTES + 2 * LARGE
    seqs = [int(line[4:]) for line in "".join(pieces).split("\n") if line.startswith("id: ")]
    assert seqs[:-1] == list(range(1, seqs[-1] + 1))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=st.dictionaries(TEXT, JSON, max_size=6))  # larger ones take six seconds to make
async def test_json_in_parts_is_the_same_json(content: dict[str, Any]) -> None:
    """Byte for byte what the library's own answer holds."""
    assert (await json_text(content)).encode() == bytes(JSONResponse(content).body)


async def test_what_is_no_json_is_refused() -> None:
    """As the library does: no answer with a NaN in it."""
    with pytest.raises(ValueError, match="JSON"):
        await json_text({"a": [float("nan")]})
    assert json.loads(await json_text({"deep": [[[[[[1]]]]]]})) == {"deep": [[[[[[1]]]]]]}


async def test_a_large_answer_holds_up_nobody(http: httpx.AsyncClient, worker: Worker) -> None:
    """It is written and compressed beside the loop, which has its turn again and again while that goes on."""
    made = await created(http)
    run = await worker.claim(made["metadata"]["id"])
    for number in range(LARGE_MESSAGES):
        await worker.say(run, random.Random(number).randbytes(LARGE // 2).hex(), number=number)
    turns = asyncio.create_task(longest_wait())
    began = time.monotonic()
    answer = await http.get(f"/v1/executions/{made['metadata']['id']}", headers={"Accept-Encoding": "gzip"})
    took = time.monotonic() - began
    turns.cancel()
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.content) > LARGE_MESSAGES * LARGE
    assert await turns < took / 3


async def longest_wait() -> float:
    """How long the loop has kept a task waiting that only wants its turn; seconds, when it is cancelled."""
    longest, last = 0.0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
    except asyncio.CancelledError:
        return longest
