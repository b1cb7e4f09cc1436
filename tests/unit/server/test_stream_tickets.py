"""Stream tickets: what one opens, for whom, for how long, and that no line shows it."""

import logging
from dataclasses import replace

import httpx
import pytest

from agent_runner.app.server.access.principal import Principal, acting_as
from agent_runner.app.server.access.stream_tickets import LASTS_S, StreamTickets
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.status.api_keys import Scope
from tests.support.log_lines import kept_objects
from tests.unit.server.conftest import Worker, created, http_client, sse
from tests.unit.server.identity import id_of, key
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_events import finished

SHARES_A_SERVER = True
READER = Principal(name="reader", scopes=frozenset({Scope.READ, Scope.ADMIN}), org="acme", key_id="k1")


async def ticket_of(http: httpx.AsyncClient, id: str) -> dict[str, str]:
    answer = await http.post(f"/v1/executions/{id}/stream-ticket")
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, str] = answer.json()
    return found


async def test_a_ticket_opens_the_stream_of_its_execution_without_a_key(
    server: RunningServer, http: httpx.AsyncClient, worker: Worker
) -> None:
    """As `EventSource` does it: no header, again after a cut with `Last-Event-ID`."""
    id = await finished(http, worker)
    ticket = await ticket_of(http, id)
    async with http_client(server, key="") as browser:
        del browser.headers["authorization"]
        whole = await browser.get(ticket["url"])
        assert whole.status_code == 200
        assert [name for name, _, _ in sse(whole.text)] == ["snapshot", "end"]
        rest = await browser.get(ticket["url"], headers={"Last-Event-ID": "1"})
        assert sse(rest.text)[0][0] == "update"
        from_the_first = await browser.get(f"{ticket['url']}&last_event_id=0")
        assert sse(from_the_first.text)[0][1] == "1"
        again = await browser.get(f"{ticket['url']}&last_event_id=0", headers={"Last-Event-ID": "2"})
        assert sse(again.text)[0][1] == "3", "after a cut the browser's own header counts"


async def test_a_ticket_opens_nothing_else(server: RunningServer, http: httpx.AsyncClient, worker: Worker) -> None:
    """Not another execution, no other address, no other method."""
    id, other = await finished(http, worker), await finished(http, worker)
    ticket = (await ticket_of(http, id))["ticket"]
    async with http_client(server, key="") as browser:
        del browser.headers["authorization"]
        for method, path in (
            ("GET", f"/v1/executions/{other}/events"),
            ("GET", f"/v1/executions/{id}"),
            ("POST", f"/v1/executions/{id}/cancel"),
            ("GET", "/v1/executions"),
        ):
            refused = await browser.request(method, path, params={"ticket": ticket})
            assert_problem(refused, 401, "UNAUTHENTICATED")
        forged = await browser.get(f"/v1/executions/{id}/events", params={"ticket": "not-a-ticket"})
        assert_problem(forged, 401, "UNAUTHENTICATED")
        assert "stream-ticket" in forged.json()["next_step"]


async def test_a_ticket_is_its_keys(server: RunningServer, http: httpx.AsyncClient) -> None:
    """For an execution that the key may see, with a scope that may read; a revoked key takes its tickets along."""
    theirs = await key(server, "read", "execute", org="acme")
    async with http_client(server, key=theirs) as client:
        mine = str((await created(http))["metadata"]["id"])
        assert_problem(await client.post(f"/v1/executions/{mine}/stream-ticket"), 404, "NOT_FOUND")
        id = str((await created(client))["metadata"]["id"])
        ticket = await ticket_of(client, id)
    async with http_client(server, key=await key(server, "runner")) as runner:
        assert_problem(await runner.post(f"/v1/executions/{id}/stream-ticket"), 403, "PERMISSION_DENIED")
    assert (await http.delete(f"/v1/keys/{id_of(theirs)}")).is_success
    async with http_client(server, key="") as browser:
        del browser.headers["authorization"]
        answer = await browser.get(ticket["url"])
        assert_problem(answer, 401, "UNAUTHENTICATED")
        assert "revoked" in answer.text


async def test_no_line_shows_a_ticket(
    http: httpx.AsyncClient, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the server's lines nor uvicorn's line for each request."""
    caplog.set_level(logging.DEBUG)
    id = await finished(http, worker)
    ticket = await ticket_of(http, id)
    with kept_objects(logger="", level="DEBUG") as lines:
        await http.get(ticket["url"])
    assert any(f"/v1/executions/{id}/events" in record.getMessage() for record in caplog.records)
    assert not any(ticket["ticket"] in record.getMessage() for record in caplog.records if record.name != "httpx")
    assert ticket["ticket"] not in str([line for line in lines if line.get("logger") != "httpx"])


def test_a_ticket_is_for_a_minute_and_never_longer_than_its_key() -> None:
    """By the server's clock; what the caller may do besides reading is not in it."""
    now = 1000.0
    tickets = StreamTickets(Sealing("a secret"), now=lambda: now)
    with acting_as(READER):
        ticket = tickets.issue("aex-1")
    with acting_as(replace(READER, expires_at=1010.0)):
        short = tickets.issue("aex-1")
    assert (ticket.expires_at, short.expires_at) == (1000.0 + LASTS_S, 1010.0)
    assert tickets.principal(ticket.text, "aex-1") == replace(READER, scopes=frozenset({Scope.READ}))
    now = 1010.0
    with pytest.raises(Problem, match="has expired"):
        tickets.principal(short.text, "aex-1")
    assert tickets.principal(ticket.text, "aex-1")
    with pytest.raises(Problem, match="not one of this server"):
        StreamTickets(Sealing("another secret"), now=lambda: now).principal(ticket.text, "aex-1")


def test_what_was_sealed_for_another_purpose_is_no_ticket() -> None:
    """The same secret key seals environments: their sealed form opens no stream."""
    sealing = Sealing("a secret")
    for sealed in (sealing.seal(b'{"id": "aex-1"}'), sealing.seal(b"[1]"), sealing.seal(b"text")):
        with pytest.raises(Problem, match="stream ticket"):
            StreamTickets(sealing).principal(sealed.decode(), "aex-1")
