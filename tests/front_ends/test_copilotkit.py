"""CopilotKit's own runtime in front of our server, as its guide starts it."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.front_ends.node import COPILOTKIT, COPILOTKIT_INSTALL_S, packages
from tests.integration.guides import blocks
from tests.integration.stack import KEY, Stack
from tests.support.ports import free_port, listens
from tests.support.waiting import eventually

ASKED = "AGENT_RUNNER_TEST_COPILOTKIT"
pytestmark = [
    pytest.mark.skipif(ASKED not in os.environ, reason=f"it installs 250 packages: set {ASKED}=1"),
    pytest.mark.timeout(COPILOTKIT_INSTALL_S + 120),
]
Events = list[dict[str, Any]]


@contextmanager
def runtime(served: Stack, folder: Path, agent: str = "agent-runner") -> Iterator[str]:
    """The address of the guide's program for this agent."""
    text = next(text for _, text in blocks("copilotkit.md") if text.startswith("// copilot.mjs"))
    assert "/v1/agui/agent-runner" in text
    (folder / "node_modules").symlink_to(packages(COPILOTKIT, COPILOTKIT_INSTALL_S) / "node_modules")
    (folder / "copilot.mjs").write_text(text.replace("/v1/agui/agent-runner", f"/v1/agui/{agent}"))
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "AGENT_RUNNER_URL": f"http://127.0.0.1:{served.http_port}",
        "STIGMER_API_KEY": KEY,
        "COPILOTKIT_TELEMETRY_DISABLED": "true",
    }
    with subprocess.Popen(["node", "copilot.mjs"], cwd=folder, env=env) as process:
        try:
            eventually(lambda: listens(port), within_s=60, what="CopilotKit's runtime")
            yield f"http://127.0.0.1:{port}/api/copilotkit"
        finally:
            process.terminate()


def run(address: str, thread: str, *messages: dict[str, Any], **more: Any) -> Events:
    """What a page is told of a new run in this thread."""
    body = {
        "threadId": thread,
        "runId": str(uuid.uuid4()),
        "messages": messages,
        "state": {},
        "tools": [],
        "context": [],
    }
    sent = {**body, "forwardedProps": {}, **more}
    told = httpx.post(f"{address}/agent/default/run", json=sent, timeout=60, trust_env=False).text
    return [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]


def user(text: str) -> dict[str, Any]:
    return {"id": "u1", "role": "user", "content": text}


def test_the_start_with_copilotkit(served: Stack, tmp_path: Path) -> None:
    """A page's run goes through the runtime: text, a tool call with its result, the end."""
    with runtime(served, tmp_path) as address:
        events = run(address, "t1", user("$ echo hello"))
    (result,) = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert result.startswith("hello")
    assert (events[0]["type"], events[-1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")


def test_a_question_through_copilotkit(served: Stack, tmp_path: Path) -> None:
    """The run ends with it; the next one brings the answer, and the graph goes on."""
    with runtime(served, tmp_path, "asks_back") as address:
        asked = run(address, "t2", user("hello"))
        assert asked[-1]["type"] == "RUN_FINISHED"
        assert asked[-1]["outcome"]["type"] == "interrupt"
        (question,) = asked[-1]["outcome"]["interrupts"]
        resume = [{"interruptId": question["id"], "status": "resolved", "payload": "left"}]
        answered = run(address, "t2", user("hello"), resume=resume)
    assert "you said left" in "".join(event.get("delta", "") for event in answered)
    assert answered[-1]["type"] == "RUN_FINISHED"


def test_a_failure_through_copilotkit(served: Stack, tmp_path: Path) -> None:
    """A page sees our code and the next step."""
    with runtime(served, tmp_path, "breaks") as address:
        end = run(address, "t3", user("hello"))[-1]
    assert (end["type"], end["code"]) == ("RUN_ERROR", "E301")
    assert end["metadata"]["next_step"]
