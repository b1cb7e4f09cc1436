"""The AI SDK's own chat and transport, in Node, drive runs: they check every chunk, and build the messages."""

from pathlib import Path
from typing import Any

from tests.front_ends.node import node
from tests.integration.stack import KEY, Stack

SCRIPT = (Path(__file__).parent / "js" / "ai_sdk.mjs").read_text()
Json = dict[str, Any]


def words(message: Json) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def parts(message: Json, kind: str) -> list[Json]:
    return [part for part in message["parts"] if part["type"] == kind]


def test_the_sdks_own_chats(served: Stack, tmp_path: Path) -> None:
    """Tools and a sub-agent, a second message, another answer, approvals given and refused, a question in words, a
    failure, reasoning, and a page that is loaded again in the middle of an answer."""
    told = {one["name"]: one for one in node(SCRIPT, tmp_path, f"http://127.0.0.1:{served.http_port}", KEY)}
    tools = told["tools"]
    assert (tools["status"], len(tools["messages"])) == ("ready", 2)
    answer = tools["messages"][1]
    calls = {part["toolName"]: part for part in parts(answer, "dynamic-tool")}
    assert (calls["execute"]["state"], calls["execute"]["input"]) == ("output-available", {"command": "echo hi"})
    assert calls["execute"]["output"].startswith("hi\n")
    (sub_agent,) = parts(answer, "data-subagent")
    assert (sub_agent["data"]["name"], sub_agent["data"]["status"]) == ("researcher", "completed")
    (state,) = parts(answer, "data-state")
    assert [todo["status"] for todo in state["data"]["todos"]] == ["TODO_COMPLETED"] * 3
    assert answer["metadata"]["execution_id"] == answer["id"]
    assert answer["metadata"]["usage"]
    assert "echo hi" in words(told["second"]["messages"][-1])
    again = told["regenerated"]["messages"]
    assert len(again) == len(told["second"]["messages"])
    assert words(again[-1]) == words(told["second"]["messages"][-1])
    assert again[-1]["id"] != told["second"]["messages"][-1]["id"]

    (asked,) = parts(told["asked"]["messages"][-1], "dynamic-tool")
    assert (asked["state"], asked["toolName"]) == ("approval-requested", "send_mail")
    approved = told["approved"]["messages"]
    assert len(approved) == 2, "the answer goes on in the message that asked"
    assert parts(approved[-1], "dynamic-tool")[0]["state"] == "output-available"
    assert words(approved[-1]) == "done: sent to bob"
    assert parts(told["denied"]["messages"][-1], "dynamic-tool")[0]["state"] == "output-denied"

    (question,) = parts(told["question"]["messages"][-1], "data-interrupt")
    assert question["data"]["text"] == "which one?"
    assert words(told["answer"]["messages"][-1]) == "you said left"

    fails = told["fails"]
    assert fails["status"] == "error"
    assert "the answer is not right" in fails["error"]
    (error,) = parts(fails["messages"][-1], "data-error")
    assert error["data"]["code"] == "E301"
    assert error["data"]["next_step"] in fails["error"]

    assert [part["text"] for part in parts(told["thinks"]["messages"][-1], "reasoning")] == ["two and two"]

    first, second = told["resumed"]["first"], told["resumed"]["second"]
    assert words(first["messages"][-1]) == "one two three four five six seven eight"
    assert first["messages"] == second["messages"]
    assert told["nothing"]["messages"] == []
