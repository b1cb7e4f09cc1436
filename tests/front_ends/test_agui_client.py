"""AG-UI's own client, in Node, drives runs: its verifier accepts the streams, and its messages are the conversation."""

from pathlib import Path
from typing import Any

import pytest

from tests.front_ends.node import node
from tests.integration.stack import KEY, Stack

SCRIPT = (Path(__file__).parent / "js" / "agui.mjs").read_text()
CLIENT, OF_COPILOTKIT = "@ag-ui/client", "ag-ui-of-copilotkit"


@pytest.mark.parametrize("client", [CLIENT, OF_COPILOTKIT])
def test_the_clients_own_runs(served: Stack, tmp_path: Path, client: str) -> None:
    """Tools and a sub-agent, a second message, a question and its answer, a failure, a state that goes to and fro; the
    same with the older client that CopilotKit's runtime has."""
    script, address = SCRIPT.replace(CLIENT, client), f"http://127.0.0.1:{served.http_port}"
    told: dict[str, Any] = {one["name"]: one for one in node(script, tmp_path, address, KEY)}
    tools = told["tools"]
    assert tools["outcome"] == "success"
    assert {"TOOL_CALL_RESULT", "SUBAGENT_STARTED", "STATE_SNAPSHOT"} <= set(tools["types"])
    call = next(one for one in tools["messages"] if one.get("toolCalls"))["toolCalls"][0]
    result = next(one for one in tools["messages"] if one["role"] == "tool" and one["toolCallId"] == call["id"])
    assert (call["function"]["name"], call["function"]["arguments"]) == ("execute", '{"command": "echo hi"}')
    assert result["content"].startswith("hi\n")
    assert [todo["status"] for todo in tools["state"]["todos"]] == ["TODO_COMPLETED"] * 3
    assert "echo hi" in told["second"]["messages"][-1]["content"]
    assert (told["asked"]["outcome"], len(told["asked"]["pending"])) == ("interrupt", 1)
    answered = told["answered"]
    assert (answered["outcome"], answered["pending"]) == ("success", [])
    assert answered["messages"][-1]["content"] == "done: sent to bob"
    mailed = [call for one in answered["messages"] for call in one.get("toolCalls", ())]
    assert [call["function"]["arguments"] for call in mailed] == ['{"to": "bob"}']
    assert told["fails"]["code"] == "E301"
    assert told["fails"]["next_step"]
    assert told["sums"]["state"] == {"n": 18, "ran": ["add", "double", "add", "double"]}
    assert [one["content"] for one in told["edits"]["messages"]] == ["hello", "something better"]
