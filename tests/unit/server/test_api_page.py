"""/docs and /openapi.json: whole, true where a test can say so cheaply, and without any address but this server's."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest_asyncio

from agent_runner.app.server.agent_server.edge_paths import is_edge, is_guarded
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.contract.create_limits import ESCAPED, SPEC_ROOM_BYTES
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True


@pytest_asyncio.fixture(loop_scope="module")
async def described(http: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get("/openapi.json")).json()
    return found


async def test_the_api_page_names_no_outside_host(http: httpx.AsyncClient) -> None:
    """The page is one file: no address with a host, nothing loaded, and its policy allows nothing else."""
    page = await http.get("/docs")
    assert page.status_code == 200
    assert "//" not in re.sub(r"^\s*// .*$|  // .*$", "", page.text, flags=re.MULTILINE)
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(?!data:,)", page.text)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "connect-src 'self'" in policy
    assert "http" not in policy


async def test_every_reference_of_the_description_leads_somewhere(described: dict[str, Any]) -> None:
    """No schema and no answer refers to something that the document does not hold; nothing in it is unused."""
    used = set(references(described))
    for reference in used:
        at: Any = described
        for part in reference.removeprefix("#/").split("/"):
            assert part in at, reference
            at = at[part]
    held = {
        f"#/components/{sort}/{name}" for sort in ("schemas", "responses") for name in described["components"][sort]
    }
    assert held - used == set()


def references(part: Any) -> Iterator[str]:
    match part:
        case dict():
            for name, inner in part.items():
                if name == "$ref":
                    yield inner
                else:
                    yield from references(inner)
        case list():
            for inner in part:
                yield from references(inner)


async def test_every_route_says_how_it_refuses(described: dict[str, Any]) -> None:
    """Behind the key each answer may be 400, 401, 403, 413, 429 or 503, as problem+json; 422 is never answered. The
    routes of the Agent Server API refuse as its clients expect: 422 for a body, and JSON with `detail`."""
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            if not is_edge(path):
                assert "422" not in statuses, (method, path)
            if path.startswith("/v1/") or is_guarded(path):
                assert {"400", "401", "403", "413", "429", "503"} <= statuses, (method, path)
                assert operation["security"], (method, path)
    kinds = [list(refusal["content"]) for refusal in described["components"]["responses"].values()]
    assert all(kind in (["application/problem+json"], ["application/json"]) for kind in kinds)


async def test_a_wrong_method_says_which_are_right(http: httpx.AsyncClient) -> None:
    """405 lists all methods of the address in Allow, though several routes share it."""
    for path, allowed in (("/v1/executions", "GET, POST"), ("/v1/agents/a", "DELETE, GET, PUT"), ("/docs", "GET")):
        answer = await http.patch(path)
        assert_problem(answer, 405, "UNIMPLEMENTED")
        assert answer.headers["allow"] == allowed


async def test_a_message_that_is_too_large_names_the_setting(http: httpx.AsyncClient, settings: Settings) -> None:
    """413 names the limit and AGENT_RUNNER_MAX_MESSAGE_BYTES, whether the body or only the message is too long."""
    most = settings.max_message_bytes
    for length in (most + 1, ESCAPED * most + SPEC_ROOM_BYTES + 1):
        body = assert_problem(
            await http.post("/v1/executions", json={"message": "x" * length}), 413, "RESOURCE_EXHAUSTED"
        )
        assert f"{most}" in body["detail"]
        assert "AGENT_RUNNER_MAX_MESSAGE_BYTES" in body["detail"]


async def test_answers_are_not_held_back(server: RunningServer) -> None:
    """TCP_NODELAY is on where connections are accepted: without it every second packet waits for an acknowledgement."""
    (listener,) = (one for accepting in server.http.servers for one in accepting.sockets)
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
