"""LangSmith gets nothing that nobody asked for, and what it gets has been through the mask of its run."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langsmith import traceable

from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.user_graphs import run_environment
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.tracing.langsmith_traces import LangSmithTraces
from agent_runner.clients.tracing.switches import without_switches
from tests.support.langsmith_receiver import Receiver, receiver

SPELLINGS = ["LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGCHAIN_TRACING"]
CANARY = 'canary-7c1f2-"quoted"-é-$HOME'
CORE = "canary-7c1f2"
OTHER = "other-run-91ab3"


class State(TypedDict):
    messages: Annotated[list[Any], add_messages]


@tool
def look(name: str) -> str:
    """Look it up."""
    return f"found {name} under {CANARY}"


def model(state: State) -> State:
    if len(state["messages"]) > 2:
        raise ValueError(f"the model broke over {CANARY}")
    return {
        "messages": [AIMessage(f"{CANARY} I say", tool_calls=[{"id": "1", "name": "look", "args": {"name": CANARY}}])]
    }


@traceable(name=f"of the user {CANARY}", tags=[CANARY])
def own_function(given: str) -> dict[str, str]:
    return {given: given}


def second(state: State) -> State:
    own_function(CANARY)
    return model({"messages": [1, 2, 3]})


def graph() -> Any:
    made = StateGraph(State)
    made.add_node("model", model)
    made.add_node("tools", ToolNode([look]))
    made.add_node("second", second)
    made.add_edge(START, "model")
    made.add_edge("model", "tools")
    made.add_edge("tools", "second")
    made.add_edge("second", END)
    return made.compile()


async def run(mask: Mask, text: str = CANARY, env: dict[str, str] | None = None) -> None:
    with running(CurrentRun(thread_id="t", mask=mask, env=without_switches(env or {}))):
        config = RunnableConfig(tags=[f"tag {text}"], metadata={f"key {text}": f"value {text}"}, run_name=f"run {text}")
        with pytest.raises(ValueError, match="the model broke"):
            await graph().ainvoke({"messages": [("user", f"please use {text}")]}, config)


@pytest.fixture
def langsmith() -> Iterator[Receiver]:
    with receiver() as kept:
        yield kept


def traces_to(langsmith: Receiver, monkeypatch: pytest.MonkeyPatch, **variables: str) -> LangSmithTraces | None:
    for name in [*SPELLINGS, "LANGSMITH_PROJECT"]:
        monkeypatch.delenv(name, raising=False)
    given = {"LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_API_KEY": "ls-key-123456", **variables}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    for name in given:
        monkeypatch.delenv(name)
    return LangSmithTraces.start(settings)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_spelling_is_followed_and_masked(
    langsmith: Receiver, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    """On by each of the four; inputs, outputs, errors, names, tags and metadata have asterisks for the secret."""
    traces = traces_to(langsmith, monkeypatch, **{spelling: "true", "LANGSMITH_PROJECT": "mine"})
    assert traces is not None
    await run(Mask([CANARY]))
    await asyncio.to_thread(traces.close, 10)
    sent = langsmith.everything.decode()
    for told in (
        "please use ",
        " I say",
        "found ",
        "the model broke over ",
        "of the user ",
        "tag ",
        "value ",
        '"mine"',
    ):
        assert told in sent, told
    assert "********" in sent
    assert CORE not in sent
    assert {headers["x-api-key"] for headers in langsmith.headers} == {"ls-key-123456"}


async def test_each_run_has_its_own_mask(langsmith: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs at the same time are masked by their own secrets, though one client sends for both."""
    traces = traces_to(langsmith, monkeypatch, LANGSMITH_TRACING="true")
    assert traces is not None
    await asyncio.gather(*(run(Mask([CANARY, OTHER])) for _ in range(3)), run(Mask([CANARY, OTHER]), text=OTHER))
    await asyncio.to_thread(traces.close, 10)
    assert CORE.encode() not in langsmith.everything
    assert OTHER.encode() not in langsmith.everything
    assert b"please use" in langsmith.everything


async def test_outside_of_a_run_nothing_is_sent(langsmith: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run there is no mask."""
    traces = traces_to(langsmith, monkeypatch, LANGSMITH_TRACING="true")
    assert traces is not None
    own_function("hello")
    await asyncio.to_thread(traces.close, 10)
    assert langsmith.bodies == []


@pytest.mark.parametrize("said", [{}, {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "true"}])
async def test_off_unless_asked_for(langsmith: Receiver, monkeypatch: pytest.MonkeyPatch, said: dict[str, str]) -> None:
    """By default, and when the first spelling says no."""
    assert traces_to(langsmith, monkeypatch, **said) is None


async def test_without_a_key_the_service_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangSmith's own address needs a key: what would only be refused is not sent."""
    for name in (*SPELLINGS, "LANGSMITH_API_KEY", "LANGCHAIN_API_KEY", "LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert LangSmithTraces.start(Settings(langsmith_tracing=True)) is None


async def test_a_run_changes_nothing_for_others(langsmith: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an execution neither sends its traces elsewhere, nor those of the runs after it."""
    run_environment.install()
    with receiver() as strange:
        env = {
            "LANGSMITH_ENDPOINT": strange.url,
            "LANGSMITH_RUNS_ENDPOINTS": f'{{"{strange.url}": "key"}}',
            "LANGSMITH_PROJECT": "theirs",
            "LANGSMITH_API_KEY": "their-key-123",
            "LANGCHAIN_NOTE": "note-canary-5521",
        }
        traces = traces_to(langsmith, monkeypatch, LANGSMITH_TRACING="true", LANGSMITH_PROJECT="mine")
        assert traces is not None
        await run(Mask([CANARY, "note-canary-5521"]), env=env)
        await run(Mask([OTHER]), text=OTHER)
        await asyncio.to_thread(traces.close, 10)
        assert strange.bodies == []
    sent = langsmith.everything.decode()
    assert "theirs" not in sent
    assert "note-canary-5521" not in sent
    assert {headers["x-api-key"] for headers in langsmith.headers} == {"ls-key-123456"}


ASKED = """
import os, sys
sys.argv = ["worker"]
from agent_runner.tasks.worker.__main__ import _settings
print(_settings(ROLE).langsmith_tracing)
from langsmith.utils import get_env_var, tracing_is_enabled
from langchain_core.tracers.context import _tracing_v2_is_enabled
print(tracing_is_enabled(), _tracing_v2_is_enabled(), get_env_var("OTEL_ENABLED"), get_env_var("OTEL_ONLY"))
os.environ["LANGCHAIN_TRACING_V2"] = os.environ["LANGSMITH_TRACING"] = "true"
get_env_var.cache_clear()
print(tracing_is_enabled(), _tracing_v2_is_enabled())
"""
OTHERS = ["LANGSMITH_OTEL_ENABLED", "LANGSMITH_OTEL_ONLY", "LANGCHAIN_OTEL_ENABLED", "langchain_tracing_v2"]


@pytest.mark.parametrize("asked", [True, False])
def test_only_our_settings_count(tmp_path: Path, asked: bool) -> None:
    """The libraries find no switch in a worker's environment, also when a graph's module sets one later."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("STIGMER", "AGENT_RUNNER", "LANG"))
    }
    environment |= dict.fromkeys(OTHERS, "true") | ({"LANGCHAIN_TRACING": "1"} if asked else {})
    done = subprocess.run(
        [sys.executable, "-c", ASKED.replace("ROLE", "'worker'")],
        env={**environment, "AGENT_RUNNER_DATA_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    said = [str(asked), "False False false None", "False False"]
    assert done.stdout.strip().splitlines() == said, done.stderr[-2000:]
