"""Lists choose in the whole table, page by page, and what a page token is good for."""

import asyncio
import base64
from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.paging import COUNTED, MAX_PAGE
from tests.control_plane.caller import Caller, execution_of, resource_of
from tests.control_plane.listings import Listing, agents_over_http, executions, executions_over_http, sessions
from tests.control_plane.model import COMPLETED, IN_PROGRESS, PENDING, Report
from tests.control_plane.seen import status_of
from tests.store.test_tags_upgrade import Database, execution
from tests.unit.server.identity import code_of, key

FILLING = 3
"""So many others between two that match."""


@pytest.fixture
def caller(channel: grpc.aio.Channel, http: httpx.AsyncClient) -> Caller:
    return Caller(channel, http)


async def made(caller: Caller, agent_id: str = "", session_id: str = "", tags: tuple[str, ...] = ()) -> str:
    new = await caller.execute("do it", agent_id=agent_id, session_id=session_id, tags=tags)
    return new.metadata.id


async def agent(caller: Caller) -> str:
    found = await caller.call(caller.commands["Agent"].apply, resource_of("Agent", "Helper"))
    return str(found.metadata.id)


async def walked(caller: Caller, listing: Listing, size: int) -> list[str]:
    """The ids of all pages; each page but the last is full."""
    ids: list[str] = []
    token = ""
    while True:
        page = await listing.read(caller, size, token)
        ids += [entry["id"] for entry in page.entries]
        if not (token := page.next_token):
            return ids
        assert len(page.entries) == size


async def test_tags_and_phases_choose_in_the_whole_table(caller: Caller) -> None:
    """What matches is found on full pages however much lies between; several tags mean all of them."""
    agent_id = await agent(caller)
    both, one, running = [], [], []
    for number in range(5):
        both.append(await made(caller, agent_id, tags=("red", "blue")))
        one.append(await made(caller, agent_id, tags=("red",)))
        for _ in range(FILLING):
            await made(caller, agent_id)
        if number % 2:
            running.append(both[-1])
            await caller.report(both[-1], status_of(Report(phase=IN_PROGRESS)))
    red = sorted(both + one, reverse=True)
    for size in (1, 2, 3, 50):
        assert await walked(caller, executions(0, ["red"]), size) == red
        assert await walked(caller, executions(0, ["red", "blue"]), size) == both[::-1]
        assert await walked(caller, executions(IN_PROGRESS, []), size) == running[::-1]
        assert await walked(caller, executions(IN_PROGRESS, ["blue", "red"]), size) == running[::-1]
        assert await walked(caller, executions_over_http(PENDING, ["blue"], agent_id), size) == [
            id for id in both[::-1] if id not in running
        ]
        assert await walked(caller, executions(0, ["green"]), size) == []
        assert await walked(caller, executions(COMPLETED, ["red"]), size) == []
    page = await executions(0, ["blue"]).read(caller, 2, "")
    assert page.pages == 3


async def test_tags_choose_among_resources(caller: Caller, http: httpx.AsyncClient) -> None:
    """Sessions by the contract and agents by HTTP; a tag of one kind says nothing about another."""
    instance = (await caller.call(caller.commands["Agent"].create, resource_of("Agent", "One", tags=["x"]))).status
    tagged = []
    for number in range(7):
        tags = ["x"] if number % 3 == 0 else ["y"]
        request = resource_of("Session", f"s {number}", parent_id=instance.default_instance_id, tags=tags)
        session = await caller.call(caller.commands["Session"].create, request)
        tagged += [session.metadata.id] * (number % 3 == 0)
    assert await walked(caller, sessions(["x"]), 2) == tagged[::-1]
    assert len(await walked(caller, agents_over_http(["x"]), 1)) == 1
    assert (await caller.get("/v1/environments", [("tag", "x")]))["entries"] == []
    assert (await caller.get("/v1/sessions", [("tag", "x"), ("tag", "y")]))["total"] == 0


async def test_a_token_is_good_for_its_list_only(caller: Caller, http: httpx.AsyncClient) -> None:
    """What we did not make for this list is INVALID_ARGUMENT; a token survives the row that it was made of."""
    agent_id = await agent(caller)
    ids = [await made(caller, agent_id) for _ in range(4)]
    page = await executions(0, []).read(caller, 2, "")
    assert not any(id in page.next_token for id in ids)
    await caller.report(ids[2], status_of(Report(phase=COMPLETED)))
    await caller.delete(ids[2])
    assert [e["id"] for e in (await executions(0, []).read(caller, 2, page.next_token)).entries] == ids[1::-1]
    of_sessions = (await sessions([]).read(caller, 2, "")).next_token
    forged = base64.urlsafe_b64encode(b"executions nonsense").decode().rstrip("=")
    huge = base64.urlsafe_b64encode(b"executions 99999999999999999999").decode().rstrip("=")
    for token in (of_sessions, forged, huge, "nonsense", "-1", page.next_token + "=", "ü", " ", "1001", "9" * 40):
        for method, request in (
            (caller.query.list, io_pb2.ListAgentExecutionsRequest(page_token=token)),
            (caller.queries["Session"].list, session_io.ListSessionsRequest(page_token=token)),
        ):
            if token is of_sessions and isinstance(request, session_io.ListSessionsRequest):
                continue
            code, text = await code_of(caller.call(method, request))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "page_token" in text
    assert (await http.get("/v1/agents", params={"page_token": page.next_token})).status_code == 400


async def put(rows: Database, table: str, values: list[dict[str, Any]]) -> None:
    """In a thread: this loop's server may hold the writer at this moment, and must go on to let it go."""
    await asyncio.to_thread(rows.put, table, values)


@pytest.mark.parametrize("size", [0, -3])
async def test_without_a_size_a_page_has_fifty(caller: Caller, settings: Settings, size: int) -> None:
    """A page size of none or below is the default; the number of pages is that of pages of this size."""
    rows = Database(settings.database_url)
    await put(rows, "executions", [execution(n, f"aex-{n:06d}", []) | {"org": "local"} for n in range(1, 102)])
    rows.close()
    page = await executions(0, []).read(caller, size, "")
    assert (len(page.entries), page.pages) == (50, 3)


async def test_totals_are_counted_up_to_ten_thousand(caller: Caller, settings: Settings) -> None:
    """Beyond that there are more pages than the count says, and tokens and filters reach them all the same."""
    await agent(caller)
    rows = Database(settings.database_url)
    rare = {1: ["rare"], COUNTED: ["rare"], COUNTED + 700: ["rare"]}
    await put(
        rows, "executions", [execution(n, f"aex-{n:06d}", []) | {"org": "local"} for n in range(1, COUNTED + 701)]
    )
    await put(rows, "execution_tags", [{"handle": n, "tag": tag} for n, tags in rare.items() for tag in tags])
    rows.close()
    page = await executions(0, []).read(caller, 10_000, "")
    assert len(page.entries) == MAX_PAGE
    assert page.pages == COUNTED // MAX_PAGE
    assert await walked(caller, executions(0, ["rare"]), 1) == [f"aex-{n:06d}" for n in sorted(rare, reverse=True)]
    last = await executions(0, []).read(caller, MAX_PAGE, str(COUNTED // MAX_PAGE + 2))
    assert [entry["id"] for entry in last.entries] == [f"aex-{n:06d}" for n in range(200, 0, -1)]
    assert (await caller.get("/v1/executions", {"page_size": 1}))["total"] == COUNTED


async def test_lists_keep_orgs_apart(server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
    """Tags, totals and the tokens of another org show nothing of it."""
    a, b = [Caller(channel, http, await key(server, "admin", org=org)) for org in ("a", "b")]
    ids: dict[Caller, list[str]] = {}
    for caller in (a, b, a, b, a):
        ids.setdefault(caller, []).append(await made(caller, await agent(caller), tags=("shared",)))
    for caller in (a, b):
        assert await walked(caller, executions(0, ["shared"]), 1) == ids[caller][::-1]
        assert (await executions(0, ["shared"]).read(caller, 1, "")).pages == len(ids[caller])
    of_a = (await executions(0, []).read(a, 2, "")).next_token
    assert {e["id"] for e in (await executions(0, []).read(b, 5, of_a)).entries} <= set(ids[b])
    assert len(await walked(Caller(channel, http), executions(0, ["shared"]), 2)) == 5
    theirs = session_io.ListSessionsByAgentRequest(agent_id=await agent(a))
    assert not (await b.call(b.queries["Session"].listByAgent, theirs)).entries


async def test_an_agent_has_more_instances_than_a_page(caller: Caller) -> None:
    """listByAgent and getByAgent look at all instances of the agent."""
    agent_id = await agent(caller)
    own: list[str] = []
    for number in range(4):
        request = resource_of("AgentInstance", f"i {number}", parent_id=agent_id)
        instance = await caller.call(caller.commands["AgentInstance"].create, request)
        session = resource_of("Session", f"s {number}", parent_id=instance.metadata.id)
        own.append((await caller.call(caller.commands["Session"].create, session)).metadata.id)
    by_agent = session_io.ListSessionsByAgentRequest(agent_id=agent_id, page_size=3)
    answer, token = await caller.listed(caller.queries["Session"].listByAgent, by_agent)
    assert [s.metadata.id for s in answer.entries] == own[:0:-1]
    by_agent.page_token = token
    answer, token = await caller.listed(caller.queries["Session"].listByAgent, by_agent)
    assert ([s.metadata.id for s in answer.entries], token) == (own[:1], "")
    over_http: dict[str, Any] = await caller.get("/v1/sessions", {"agent": "helper", "page_size": 4})
    assert [s["metadata"]["id"] for s in over_http["entries"]] == own[::-1]


async def test_redelivered_tags_are_one(caller: Caller) -> None:
    """A tag that is given twice is kept as it was given, and found once."""
    request = execution_of("do it", agent_id=await agent(caller), tags=["x", "x", ""])
    new = await caller.call(caller.command.create, request)
    assert list(new.metadata.tags) == ["x", "x", ""]
    for tags in (["x"], ["x", "x"], ["", "x"]):
        assert await walked(caller, executions(0, tags), 1) == [new.metadata.id]
