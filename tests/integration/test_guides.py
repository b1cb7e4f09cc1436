"""The guides about graphs of one's own and about people who answer: each block is done, in its order, as it stands.

getting-started.md has a test of its own. A new block without something that does it fails the test of its guide.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_runner.app.cli.store_check import described
from agent_runner.clients.engine.user_graphs.user_graphs import UserGraphs
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.requests.approvals import rules_of
from checks.tree import ROOT
from tests.integration.guides import Reader, blocks
from tests.integration.stack import KEY, Stack

GRAPHS = """
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt


@dataclass
class Context:
    tenant: str


def greet(state: MessagesState, config, runtime: Runtime[Context]):
    model = config["configurable"]["model"]
    return {"messages": [AIMessage(f"{runtime.context.tenant} {model} {sorted(config['tags'])}")]}


desk = StateGraph(MessagesState, context_schema=Context).add_node("greet", greet).add_edge(START, "greet")


class Writer(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "writer"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        results = [m.text for m in messages if isinstance(m, ToolMessage)]
        calls = [{"name": "mail", "args": {"to": to}, "id": to} for to in ("Ann", "Bob")]
        said = AIMessage("; ".join(results)) if results else AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


def mail(to: str) -> str:
    "Send a mail."
    return f"sent to {to}"


mails = create_agent(Writer(), [mail], middleware=[HumanInTheLoopMiddleware(interrupt_on={"mail": True})])


def first(state):
    return {"messages": [AIMessage(f"first {interrupt('first?')}", id="first")]}


def second(state):
    return {"messages": [AIMessage(f"second {interrupt('second?')}", id="second")]}


two = StateGraph(MessagesState).add_node("first", first).add_node("second", second)
two = two.add_edge(START, "first").add_edge(START, "second")
"""


def opened(folder: Path, **graphs: Any) -> Stack:
    (folder / "of_the_guides.py").write_text(GRAPHS)
    named: dict[str, Any] = {name: f"./of_the_guides.py:{name}" for name in ("mails", "two")}
    named["desk"] = {"path": "./of_the_guides.py:desk", "configurable": ["model"]}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": named | graphs}))
    return Stack.open(folder, AGENT_RUNNER_GRAPHS=str(folder / "langgraph.json"))


def ended(stack: Stack, body: dict[str, Any]) -> dict[str, Any]:
    created = stack.http.post("/v1/executions", json=body)
    assert created.status_code == 201, created.text
    found: dict[str, Any] = stack.wait_for(created.json()["metadata"]["id"])
    assert found["status"]["phase"] == "EXECUTION_COMPLETED", found["status"]
    return found


def texts(execution: dict[str, Any]) -> str:
    return "\n".join(str(message["content"]) for message in execution["status"]["messages"])


@pytest.mark.timeout(300)
async def test_your_own_graphs(tmp_path: Path) -> None:
    """langgraph.json as shown, the example run as shown, a body with context and config, the store's entry."""
    (listed, example, body, store) = blocks("your-own-graphs.md")
    assert [language for language, _ in (listed, example, body, store)] == ["json", "sh", "json", "json"]
    (tmp_path / "word_count.py").write_text((ROOT / "docs/examples/own-graph/word_count.py").read_text())
    for _, text in (listed, store):
        (tmp_path / "langgraph.json").write_text(text)
        graphs = UserGraphs(tmp_path / "langgraph.json")
        assert graphs.names() == ["word-count"]
        assert await graphs.load("word-count")
    said = described(Settings(graphs=tmp_path / "langgraph.json", checkpoint_url=f"sqlite:///{tmp_path}/c.db"))
    assert "items live 1440 minutes" in said
    assert "openai:text-embedding-3-small" in said
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    shown = Reader(tmp_path, {"AGENT_RUNNER_DATA_DIR": str(tmp_path / "data")}).runs(example[1])
    assert "5 words" in shown
    stacks = tmp_path / "stack"
    stacks.mkdir()
    with opened(stacks) as stack:
        stack.start_worker()
        assert texts(ended(stack, json.loads(body[1]))).endswith("acme small ['trial']")


@pytest.mark.timeout(300)
def test_people_who_answer(tmp_path: Path) -> None:
    """The graph as written, each command as shown, and each form of an answer over HTTP."""
    (graph, commands, approvals, edit, answers, token) = blocks("people-who-answer.md")
    kinds = [language for language, _ in (graph, commands, approvals, edit, answers, token)]
    assert kinds == ["python", "sh", "yaml", "json", "json", "sh"]
    reader = Reader(tmp_path, {})
    assert reader.writes(graph[1]) == "refund.py"
    with opened(tmp_path, refund="./refund.py:graph") as stack:
        stack.start_worker()
        reader.env |= {"AGENT_RUNNER_HTTP_URL": str(stack.http.base_url), "STIGMER_API_KEY": KEY}
        shown = [reader.runs(line) for line in commands[1].splitlines()]
        assert "refund order 7?" in shown[0]
        assert "WAITING" in shown[1]
        assert "? " in shown[2]
        assert "expected:" in shown[2]
        assert "the answer was yes" in shown[3]
        assert "COMPLETED" in shown[4]
        message, decisions, by_id = answers[1].splitlines()
        asked = ended(stack, {"graph": "refund", "message": "again"})
        assert texts(answered(stack, asked, message)).endswith("the answer was yes")
        said = texts(answered(stack, ended(stack, {"graph": "mails", "message": "write"}), decisions))
        assert "sent to Ann" in said
        assert "sent to Bob" not in said
        assert "not Bob" in said
        asked = ended(stack, {"graph": "two", "message": "ask"})
        for question, shown_id in zip(asked["questions"], ("0c2e...", "7b1d..."), strict=True):
            by_id = by_id.replace(shown_id, question["id"])
        said = texts(answered(stack, asked, by_id))
        assert {"first False", "second {'amount': 40}"} <= set(said.splitlines())
        by_token(stack, reader, token[1])
        edited(stack, yaml.safe_load(approvals[1])["metadata"]["annotations"]["agent-runner/interrupt-on"], edit[1])


def by_token(stack: Stack, reader: Reader, commands: str) -> None:
    """As they stand: a token with a key, and then the question and its answer without one."""
    asked = ended(stack, {"graph": "refund", "message": "a last time"})
    shown = commands.replace("http://127.0.0.1:8080", str(stack.http.base_url)).replace(
        "aex-...", asked["metadata"]["id"]
    )
    make, _, *rest = shown.splitlines()
    made = json.loads(reader.runs(make.replace("curl", "curl -s")).splitlines()[-1])
    look, answer = (line.replace("ant_...", made["token"]).replace("curl", "curl -s") for line in rest)
    assert json.loads(reader.runs(look))["question"]["id"] == asked["questions"][0]["id"]
    brought = stack.wait_for(json.loads(reader.runs(answer))["execution_id"])
    assert texts(brought).endswith("the answer was reject: not now")


def edited(stack: Stack, annotation: str, answer: str) -> None:
    """The rules as shown can be read; the command that they stop runs as the answer has it. An agent has none of the
    other tools that they name."""
    assert {rule.tool for rule in rules_of(annotation)} == {"execute", "files__*", "delete"}
    rules = json.dumps({"execute": json.loads(annotation)["execute"]})
    metadata = {"name": "Careful", "owner_scope": "organization", "annotations": {"agent-runner/interrupt-on": rules}}
    body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata}
    made = stack.http.post("/v1/agents", json={**body, "spec": {"instructions": "Do what you are told."}})
    asked = ended(stack, {"agent": made.json()["metadata"]["slug"], "message": "$ git push origin main"})
    done = answered(stack, asked, answer)
    ran = [call for call in done["status"]["tool_calls"] if call["name"] == "execute"]
    assert [call["args"]["command"] for call in ran] == ["git push --dry-run"]


def answered(stack: Stack, asked: dict[str, Any], body: str) -> dict[str, Any]:
    """The execution that brings the answer, as the guide has it, to the session that waits."""
    assert asked["waiting_for_input"]
    return ended(stack, json.loads(body.replace("ses-...", asked["spec"]["session_id"])))
