"""A deep agent of the user's own that keeps what it learns under /memories/, on both databases, on a whole stack."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import Stack
from tests.support.databases import postgres_database

AGENT = """
from typing import Any
from uuid import uuid4

from deepagents import create_deep_agent
from deepagents.backends import CompositeBackend, StateBackend, StoreBackend
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult


class Scripted(BaseChatModel):
    \"\"\"Makes the call that the user writes as `TOOL JSON`, and says what came of it.\"\"\"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        import json

        last = messages[-1]
        if isinstance(last, HumanMessage):
            name, _, arguments = str(last.content).partition(" ")
            call = {"name": name, "args": json.loads(arguments), "id": uuid4().hex}
            return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=[call]))])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"it said: {last.text}"))])


backend = CompositeBackend(
    default=StateBackend(), routes={"/memories/": StoreBackend(namespace=lambda runtime: ("memories",))}
)
graph = create_deep_agent(Scripted(), backend=backend)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield {}
        return
    with postgres_database() as store, postgres_database() as checkpoints:
        yield {"AGENT_RUNNER_DATABASE_URL": store, "AGENT_RUNNER_CHECKPOINT_URL": checkpoints}


def test_what_an_agent_keeps_is_there_in_its_next_sessions_and_in_no_other_org(
    tmp_path: Path, databases: dict[str, str]
) -> None:
    """Written, read, edited, searched, listed and removed; from two workers, and only the org's own."""
    (tmp_path / "deep.py").write_text(AGENT)
    entry = {"graphs": {"deep": "./deep.py:graph"}, "store": {"ttl": {"default_ttl": 600}}}
    (tmp_path / "langgraph.json").write_text(json.dumps(entry))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(tmp_path / "langgraph.json"), **databases) as stack:

        def does(tool: str, org: str = "acme", **arguments: object) -> str:
            body = {"graph": "deep", "message": f"{tool} {json.dumps(arguments)}", "org": org}
            created = stack.http.post("/v1/executions", json=body)
            assert created.status_code == 201, created.text
            ended = stack.wait_for(created.json()["metadata"]["id"], within_s=60)
            assert ended["status"]["phase"] == "EXECUTION_COMPLETED", ended["status"]
            return str(ended["status"]["messages"][-1]["content"])

        stack.start_worker()
        file = "/memories/facts.md"
        does("write_file", file_path=file, content="she likes green apples\n")
        does("write_file", file_path="/notes.md", content="of this session only\n")
        stack.start_worker()
        assert "green apples" in does("read_file", file_path=file)
        assert "of this session only" not in does("read_file", file_path="/notes.md")
        assert "green apples" not in does("read_file", org="zeta", file_path=file)
        assert file not in does("ls", org="zeta", path="/memories/")
        does("write_file", org="zeta", file_path=file, content="he likes pears\n")
        does("edit_file", file_path=file, old_string="green", new_string="red")
        assert "red apples" in does("grep", pattern="apples", path="/memories/", output_mode="content")
        assert file in does("glob", pattern="*.md", path="/memories/")
        assert file in does("ls", path="/memories/")
        does("delete", file_path=file)
        assert file not in does("ls", path="/memories/")
        assert "pears" in does("read_file", org="zeta", file_path=file)
