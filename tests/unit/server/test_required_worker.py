"""With AGENT_RUNNER_REQUIRE_WORKER a create says at once that no worker is there, and makes nothing."""

from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import created, http_client
from tests.unit.server.test_create import assert_problem


async def arrives(server: RunningServer, incarnation: str, queue: str, role: str = "worker") -> None:
    its: dict[str, Any] = {"hostname": "h", "pid": 1, "slots": 1, "name": incarnation, "version": "1"}
    await server.ctx.store.hello(incarnation=incarnation, queue=queue, role=role, **its)


async def refused(http: httpx.AsyncClient) -> str:
    answer = await http.post("/v1/executions", json={"message": "a"})
    return str(assert_problem(answer, 503, "NO_WORKER")["detail"])


@pytest.mark.promise("3.34")
async def test_without_a_worker_a_create_is_refused(settings: Settings) -> None:
    """Only one of its own queue counts, and only while it is there; what could not start is told; the same key gives
    the same execution as before."""
    required = settings.model_copy(update={"require_worker": True})
    queue = settings.runner_queue
    async with running_server(required) as server, http_client(server) as http:
        store = server.ctx.store
        assert queue in await refused(http)
        await arrives(server, "other", "another-queue")
        await arrives(server, "orchestrator", queue, role="orchestrator")
        await store.startup_failed(queue, "worker", "no module named 'refunds'")
        assert "no module named 'refunds'" in await refused(http)
        assert (await http.get("/v1/sessions")).json()["total"] == 0
        await arrives(server, "w1", queue)
        headers = {"Idempotency-Key": "k"}
        first = await http.post("/v1/executions", json={"message": "a"}, headers=headers)
        assert first.status_code == 201, first.text
        await store.goodbye("w1")
        await refused(http)
        again = await http.post("/v1/executions", json={"message": "a"}, headers=headers)
        assert again.json()["metadata"]["id"] == first.json()["metadata"]["id"]


async def test_without_the_setting_it_waits(http: httpx.AsyncClient) -> None:
    """As ever: a worker may come."""
    assert (await created(http))["status"]["phase"] == "EXECUTION_PENDING"
