"""CopilotKit's own runtime in front of our server, as its guide starts it."""

import json
import os
import subprocess
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


@pytest.mark.skipif(ASKED not in os.environ, reason=f"it installs 250 packages: set {ASKED}=1")
@pytest.mark.timeout(COPILOTKIT_INSTALL_S + 120)
def test_the_start_with_copilotkit(served: Stack, tmp_path: Path) -> None:
    """A page's run goes through the runtime: text, a tool call with its result, the end."""
    text = next(text for _, text in blocks("copilotkit.md") if text.startswith("// copilot.mjs"))
    (tmp_path / "node_modules").symlink_to(packages(COPILOTKIT, COPILOTKIT_INSTALL_S) / "node_modules")
    (tmp_path / "copilot.mjs").write_text(text)
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "AGENT_RUNNER_URL": f"http://127.0.0.1:{served.http_port}",
        "STIGMER_API_KEY": KEY,
        "COPILOTKIT_TELEMETRY_DISABLED": "true",
    }
    with subprocess.Popen(["node", "copilot.mjs"], cwd=tmp_path, env=env) as process:
        try:
            eventually(lambda: listens(port), within_s=60, what="CopilotKit's runtime")
            message = {"id": "u1", "role": "user", "content": "$ echo hello"}
            rest: dict[str, Any] = {"state": {}, "tools": [], "context": [], "forwardedProps": {}}
            body = {"threadId": "t1", "runId": "r1", "messages": [message], **rest}
            address = f"http://127.0.0.1:{port}/api/copilotkit/agent/default/run"
            told = httpx.post(address, json=body, timeout=60, trust_env=False).text
        finally:
            process.terminate()
    events = [json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")]
    (result,) = [event["content"] for event in events if event["type"] == "TOOL_CALL_RESULT"]
    assert result.startswith("hello")
    assert (events[0]["type"], events[-1]["type"]) == ("RUN_STARTED", "RUN_FINISHED")
