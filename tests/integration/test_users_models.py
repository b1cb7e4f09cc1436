"""Graphs of the user's own, whose models are their own too: a cut call is never run there either."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration import model_wire
from tests.integration.model_wire import model_name
from tests.integration.stack import Json, Stack
from tests.unit.models_wire.scenes import NOTE, PROTOCOLS, WHOLE_ARGS, CallWords
from tests.unit.models_wire.scenes_called import called
from tests.unit.models_wire.server import WireServer

AT_ONCE = 8
CALLS = called(NOTE)
MINE = [(wire, name) for wire in PROTOCOLS for name, scenario in CALLS.items() if wire in scenario.only]
GOLDEN = Path(__file__).parent / "goldens" / "users_models.json"
LINE = json.loads(WHOLE_ARGS)["line"]
GRAPHS = '''
import os
from pathlib import Path

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import RetryPolicy
from pydantic import BaseModel

URL = os.environ["WIRE_URL"]


def model_of(config):
    name = config["configurable"]["scenario"]
    if name.startswith("openai"):
        return ChatOpenAI(model=name, api_key="k", base_url=f"{URL}/v1", max_retries=0, use_responses_api=False)
    return ChatAnthropic(model_name=name, api_key="k", base_url=URL, max_retries=0)


def tools_of(config):
    witness = Path(config["configurable"]["witness"])

    @tool
    def note(line: str) -> str:
        """Write a line down."""
        with witness.open("a") as out:
            out.write(f"{line}\\n")
        return f"noted: {line}"

    @tool
    def look() -> str:
        """Look around."""
        return "nothing"

    return [note, look]


def agent(config):
    return create_agent(model_of(config), tools_of(config))


def edges(config, retry=None):
    tools = tools_of(config)
    model = model_of(config).bind_tools(tools)

    async def ask(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask, retry_policy=retry)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph


class Verdict(BaseModel):
    """What you think of it."""

    reason: str


def structured(config):
    model = model_of(config).with_structured_output(Verdict, method="function_calling")

    async def judge(state):
        return {"messages": [AIMessage((await model.ainvoke(state["messages"])).reason)]}

    return StateGraph(MessagesState).add_node("judge", judge).add_edge(START, "judge")


def asks_again(config):
    return edges(config, RetryPolicy(max_attempts=2, initial_interval=0.01))
'''


def opened(folder: Path, url: str) -> Stack:
    (folder / "made.py").write_text(GRAPHS)
    names = ("agent", "edges", "asks_again", "structured")
    entries = {name: {"path": f"./made.py:{name}", "configurable": ["scenario", "witness"]} for name in names}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": entries}))
    (folder / "seen").mkdir()
    return Stack.open(
        folder,
        AGENT_RUNNER_GRAPHS=str(folder / "langgraph.json"),
        AGENT_RUNNER_CONCURRENCY=str(AT_ONCE),
        WIRE_URL=url,
    )


def run(stack: Stack, graph: str, wire: str, scenario: str) -> tuple[Json, list[str]]:
    """The execution at its end, and the lines of the calls that ran."""
    witness = stack.folder / "seen" / f"{graph}-{model_name(wire, scenario)}"
    config = {"configurable": {"scenario": model_name(wire, scenario), "witness": str(witness)}}
    created = stack.create("go", graph=graph, config=config)
    ended = stack.wait_for(created["metadata"]["id"], within_s=90)
    return ended, witness.read_text().splitlines() if witness.exists() else []


@pytest.fixture(scope="module")
def models() -> Iterator[WireServer]:
    with model_wire.served({}) as server:
        yield server


@pytest.fixture(scope="module")
def stack(models: WireServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with opened(tmp_path_factory.mktemp("users"), models.url) as started:
        started.start_worker()
        yield started


def all_of(stack: Stack, models: WireServer, graph: str) -> dict[tuple[str, str], tuple[Json, list[str]]]:
    """Every scenario with calls, by wire and name, from its first answer on."""
    models.asked.clear()
    models.scenarios = {model_name(wire, name): CALLS[name] for wire, name in MINE}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(MINE, pool.map(lambda one: run(stack, graph, *one), MINE), strict=True))


@pytest.mark.parametrize("graph", ["agent", "edges"])
def test_a_cut_call_runs_in_no_form_of_a_graph(stack: Stack, models: WireServer, graph: str) -> None:
    """With a witness file, on both protocols: nothing of a message that was cut runs and the run says why; whole calls
    run as often as the model made them; the rest is as the golden file tells (AGENT_RUNNER_WRITE_GOLDENS=1)."""
    seen: Json = {wire: {} for wire in PROTOCOLS}
    for (wire, name), (ended, lines) in all_of(stack, models, graph).items():
        status = ended["status"]
        if "cut" in name or "out of tokens" in name:
            assert lines == [], (wire, name)
            assert status["phase"] == "EXECUTION_FAILED", (wire, name)
            assert status["error"].endswith("[E301 APPLICATION]")
            assert status["messages"][-1]["metadata"]["next_step"]
            assert not any("COMPLETED" in call["status"] for call in status.get("tool_calls", ()))
        told = {"phase": status["phase"], "ran": sorted(lines), "error": status.get("error", "")}
        seen[wire][name] = {**told, "calls": Counter(call["status"] for call in status.get("tool_calls", ()))}
    for wire in PROTOCOLS:
        assert seen[wire]["call"]["ran"] == [LINE]
        assert (
            len(seen[wire]["two with one id"]["ran"]) == seen[wire]["two with one id"]["calls"]["TOOL_CALL_COMPLETED"]
        )
    if os.environ.get("AGENT_RUNNER_WRITE_GOLDENS"):
        GOLDEN.write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")
    assert json.loads(GOLDEN.read_text()) == json.loads(json.dumps(seen))


def test_a_retry_of_the_graph_asks_the_model_again(stack: Stack, models: WireServer) -> None:
    """A retry policy on the node that asks: after a cut call it asks once more, and the run ends with that answer."""
    for (wire, name), (ended, lines) in all_of(stack, models, "asks_again").items():
        if name in ("cut, no end", "cut, and a reason that ends calls", "whole and cut"):
            assert (ended["status"]["phase"], lines) == ("EXECUTION_COMPLETED", []), (wire, name)
            assert models.asked[model_name(wire, name)] == 2
            assert ended["status"]["messages"][-1]["content"] == "All is done."


def test_a_structured_answer_within_a_node_has_an_end(stack: Stack, models: WireServer) -> None:
    """`with_structured_output`: its call is COMPLETED where it was whole; a cut one ends the run and is not open."""
    verdict = called(CallWords(tool="Verdict", key="reason", text="it is fine"))
    names = ("call", "cut, and a reason that ends calls")
    models.asked.clear()
    models.scenarios = {model_name(wire, name): verdict[name] for wire in PROTOCOLS for name in names}
    for wire in PROTOCOLS:
        whole, cut = (run(stack, "structured", wire, name)[0]["status"] for name in names)
        assert whole["phase"] == "EXECUTION_COMPLETED", whole
        assert whole["messages"][-1]["content"] == "it is fine"
        assert [call["status"] for call in whole["tool_calls"]] == ["TOOL_CALL_COMPLETED"]
        assert cut["error"].endswith("[E301 APPLICATION]"), cut
        assert not any("COMPLETED" in call["status"] for call in cut.get("tool_calls", ()))
        assert not any("PENDING" in call["status"] or "RUNNING" in call["status"] for call in cut.get("tool_calls", ()))
