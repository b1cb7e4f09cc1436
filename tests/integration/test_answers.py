"""People answer what graphs ask, on the real stack: over HTTP and on the command line, in both pools."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.shared import SharedStacks
from tests.integration.stack import KEY
from tests.integration.test_command_line import PROGRAM

SOURCE = """
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

def check(state):
    return {"messages": [AIMessage("checked")]}

def approve(state):
    amount = int(interrupt({"question": "How much?", "options": ["40", "60"]}))
    return {"messages": [AIMessage(f"decision: {amount}")]}

def done(state):
    return {"messages": [AIMessage("paid")]}

plan = StateGraph(MessagesState)
plan.add_node("check", check).add_node("approve", approve).add_node("done", done)
plan.add_edge(START, "check").add_edge("check", "approve").add_edge("approve", "done").add_edge("done", END)
refund = plan.compile(interrupt_before=["done"])
"""


def said(execution: dict[str, Any]) -> list[str]:
    return [m.get("content", "") for m in execution["status"]["messages"] if m["type"] == "MESSAGE_AI"]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    (folder / "refunds.py").write_text(SOURCE)
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {"refund": "./refunds.py:refund"}}))
    return folder / "langgraph.json"


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_a_question_a_bad_answer_an_answer_and_a_breakpoint(servers: SharedStacks, graphs: Path, pool: str) -> None:
    """The question stands until an answer fits it; each step runs once; the session needs no graph again."""
    with servers.lent(AGENT_RUNNER_GRAPHS=str(graphs)) as stack:
        stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2")

        def send(**body: Any) -> dict[str, Any]:
            made = stack.http.post("/v1/executions", json=body)
            assert made.status_code == 201, made.text
            return stack.wait_for(made.json()["metadata"]["id"])

        asked = send(graph="refund", message="refund order 7")
        session = asked["spec"]["session_id"]
        assert asked["waiting_for_input"] is True
        assert said(asked) == ["checked", "How much?\n- 40\n- 60"]
        assert asked["questions"][0]["node"] == "approve"

        bad = send(session_id=session, message="two")
        assert bad["status"]["phase"] == "EXECUTION_FAILED"
        assert "The question is still open" in bad["status"]["messages"][-1]["metadata"]["next_step"]
        waits = stack.http.get("/v1/executions", params={"waiting_for_input": "true"}).json()["entries"]
        assert [one["metadata"]["id"] for one in waits] == [asked["metadata"]["id"]]

        def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
            argv = [sys.executable, str(PROGRAM), "executions", "--server", str(stack.http.base_url), *arguments]
            env = stack.environment({"STIGMER_API_KEY": KEY})
            return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)

        listed = cli("answer", asked["metadata"]["id"])
        assert asked["questions"][0]["id"] in listed.stdout
        answered = cli("answer", "--session", session, "--id", f"{asked['questions'][0]['id']}=40")
        assert answered.returncode == 0, answered.stderr
        assert "decision: 40" in answered.stdout
        assert "checked" not in answered.stdout
        assert "WAITING" in cli("list", "--waiting").stdout

        ended = send(session_id=session, message="go on")
        assert said(ended) == ["paid"]
        assert ended["waiting_for_input"] is False
        assert stack.http.get("/v1/executions", params={"waiting_for_input": "true"}).json()["entries"] == []
        assert cli("answer", "--session", session, "again").returncode == 1
