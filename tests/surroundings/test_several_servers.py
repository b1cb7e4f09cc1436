"""Two servers, a worker and the nginx of the guide before them, asked by LangGraph's own client."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from tests.agent_server.conftest import GRAPHS
from tests.integration.replicas import two_servers
from tests.integration.stack import KEY, Stack
from tests.support.code_blocks import one_block
from tests.support.databases import postgres_database
from tests.support.nginx import NEEDS_NGINX, nginx_of
from tests.support.ports import free_port

pytestmark = NEEDS_NGINX
READERS = 4
PNG = b"\x89PNG\r\n\x1a\n" + bytes(2 << 20)
"""More than nginx alone would take."""


@pytest.mark.timeout(240)
async def test_the_nginx_of_the_guide(tmp_path: Path) -> None:
    """Whatever server a request reaches: a run that one began is streamed whole to readers at both, its state is read
    at both, and a picture is taken."""
    text, port = one_block("docs/guides/operating.md", "upstream agent_runner").text, free_port()
    with postgres_database() as store, postgres_database() as memory:
        settings = {"AGENT_RUNNER_DATABASE_URL": store, "AGENT_RUNNER_CHECKPOINT_URL": memory}
        with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(GRAPHS), **settings) as stack, two_servers(stack) as servers:
            stack.start_worker()
            for shown, server in zip(("10.0.0.1:8080", "10.0.0.2:8080"), servers, strict=True):
                text = text.replace(shown, f"127.0.0.1:{server.http_port}")
            with nginx_of(tmp_path / "nginx", text.replace("listen 80", f"listen 127.0.0.1:{port}"), port):
                async with get_client(url=f"http://127.0.0.1:{port}", api_key=KEY) as client:
                    thread = (await client.threads.create())["thread_id"]
                    steps: dict[str, Any] = {"left": 4, "seconds": 0.4, "tag": "a"}
                    run = await client.runs.create(thread, "steps", input=steps, stream_mode="values")

                    async def followed() -> list[str]:
                        parts = client.runs.join_stream(thread, run["run_id"], last_event_id="-1")
                        return [part.event async for part in parts]

                    seen = await asyncio.gather(*(followed() for _ in range(READERS)))
                    assert seen == [["metadata", *["values"] * 5]] * READERS
                    for _ in range(READERS):
                        state: Any = await client.threads.get_state(thread)
                        assert state["values"]["ran"] == ["a0", "a1", "a2", "a3"]
                    picture = {"type": "image", "mime_type": "image/png", "base64": base64.b64encode(PNG).decode()}
                    said: dict[str, Any] = {
                        "messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]
                    }
                    answered: Any = await client.runs.wait(None, "talk", input=said)
                    assert answered["messages"][-1]["content"]
            counted = [server.http.get("/metrics", params={"format": "json"}).json()["api"] for server in servers]
            assert all(one["http_requests_total"] for one in counted)
