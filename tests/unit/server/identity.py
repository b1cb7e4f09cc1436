"""Keys for tests: made over HTTP by the key of the environment, used over HTTP and gRPC."""

from typing import Any

import grpc
import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from tests.unit.server.conftest import http_client


async def key(server: RunningServer, *scopes: str, org: str = "") -> str:
    """A new key with these scopes."""
    async with http_client(server) as http:
        made = await http.post("/v1/keys", json={"name": f"test {' '.join(scopes)}", "scopes": scopes, "org": org})
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


def id_of(key: str) -> str:
    return key.split("_")[1]


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


def agent(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "api_version": "agentic.stigmer.ai/v1",
        "kind": "Agent",
        "metadata": {"name": name, "owner_scope": "organization", **metadata},
        "spec": {"instructions": "Help people with their code."},
    }


async def made(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(path, json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
