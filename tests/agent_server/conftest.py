"""A server and a worker with the graphs of `graphs/`, for all tests of this folder; each test makes its own threads."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

from agent_runner.app.server.agent_server.uuids import session_of
from tests.integration.stack import KEY, Stack
from tests.support.databases import postgres_database

WEBHOOKS = {"AGENT_RUNNER_WEBHOOK_PRIVATE": "1", "AGENT_RUNNER_WEBHOOK_SECRET": "a secret for webhooks"}
GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


ON = "AGENT_RUNNER_TEST_AGENT_SERVER_ON"
"""`postgres`: store and memory of these tests are databases there, instead of SQLite files."""


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as opened:
        settings = {"AGENT_RUNNER_GRAPHS": str(GRAPHS), **WEBHOOKS}
        if os.environ.get(ON) == "postgres":
            for name in ("AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_CHECKPOINT_URL"):
                settings[name] = opened.enter_context(postgres_database())
        stack = opened.enter_context(Stack.open(tmp_path_factory.mktemp("agent_server"), **settings))
        stack.start_worker()
        yield stack


@pytest.fixture
async def client(served: Stack) -> AsyncIterator[Any]:
    async with get_client(url=f"http://127.0.0.1:{served.http_port}", api_key=KEY) as opened:
        yield opened


def run(stack: Stack, thread_id: str, graph: str, **body: Any) -> dict[str, Any]:
    """An execution by /v1 in the thread's session, at its end."""
    sent = {"graph": graph, "session_id": session_of(thread_id), **body}
    made = stack.http.post("/v1/executions", json=sent)
    assert made.status_code == 201, made.text
    ended: dict[str, Any] = stack.wait_for(made.json()["metadata"]["id"])
    return ended
