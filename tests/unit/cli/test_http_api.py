"""The HTTP client: resume, typed errors, one execution per create."""

import ssl
from typing import Any

import pytest

from agent_runner.clients.backend.http_api import ApiError, HttpApi, Unreachable
from tests.unit.cli.scripted_server import ID, KEY, ScriptedServer, rows_of


async def test_stream_resumes_where_it_broke(server: ScriptedServer) -> None:
    """A connection that breaks in the middle loses no row and repeats none (L7)."""
    server.drop_after = 4
    async with HttpApi(server.url, KEY) as api:
        events = [event async for event in api.events(ID, 0)]
    assert [e.id for e in events if e.kind == "update"] == [row.seq for row in rows_of(server.script)]
    assert events[-1].kind == "end"
    assert [last for path, last, _ in server.seen if path.endswith("/events")] == ["0", "4"]


async def test_problem_is_typed(server: ScriptedServer) -> None:
    """What the server refuses arrives with its code, detail and next step."""
    server.problem = {"status": 409, "code": "FAILED_PRECONDITION", "title": "T", "detail": "D", "next_step": "N"}
    async with HttpApi(server.url, KEY) as api:
        for call in (api.get(ID), api.create({"message": "x"}), anext(api.events(ID))):
            with pytest.raises(ApiError) as caught:
                await call
            error = caught.value
            assert (error.code, error.detail, error.next_step, error.status) == ("FAILED_PRECONDITION", "D", "N", 409)


async def test_create_carries_an_idempotency_key(server: ScriptedServer) -> None:
    """Every create has a key, so that trying it again makes no second execution."""
    async with HttpApi(server.url, KEY) as api:
        await api.create({"message": "x"})
        await api.create({"message": "x"}, idempotency_key="mine")
    first, second = (key for _, _, key in server.seen)
    assert first
    assert second == "mine"


async def test_without_tls_no_authorities_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read them is a part of what a command takes; an address with TLS trusts the system's."""
    read: list[str] = []
    default = ssl.create_default_context

    def reading(*given: Any, **named: Any) -> ssl.SSLContext:
        read.append("")
        return default(*given, **named)

    monkeypatch.setattr(ssl, "create_default_context", reading)
    await HttpApi("http://127.0.0.1:9", KEY).close()
    assert read == []
    await HttpApi("https://127.0.0.1:9", KEY).close()
    assert read


async def test_no_server_is_unreachable() -> None:
    """Without a server a call says so and what to do, and patience has an end."""
    async with HttpApi("http://127.0.0.1:9", KEY, patience_s=0.3) as api:
        with pytest.raises(Unreachable, match="No server answers") as caught:
            await api.get(ID)
        assert "agent-runner dev" in caught.value.next_step
        with pytest.raises(Unreachable):
            await api.create({"message": "x"})
        with pytest.raises(Unreachable):
            await anext(api.events(ID))
