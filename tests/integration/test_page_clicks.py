"""The page's buttons in a real browser: what a person clicks is what happens."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.browser import Browser, browser
from tests.integration.stack import KEY, Stack
from tests.support.waiting import eventually

SOURCE = """
from pathlib import Path
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

HERE = Path(__file__).parent

def note(line):
    with (HERE / "done").open("a") as file:
        file.write(line + " ")

def ask(state):
    amount = interrupt({"question": "How much?", "options": ["40", "60"]})
    reason = interrupt({"question": "And why?"})
    return {"messages": [AIMessage(f"paid {amount} since {reason}")]}

def first(state):
    note("first")
    return {"messages": [AIMessage("first is done")]}

def second(state):
    if (HERE / "broken").exists():
        raise ValueError("the printer has no paper")
    note("second")
    return {"messages": [AIMessage("second is done")]}

asks = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
fails = StateGraph(MessagesState).add_node("first", first).add_node("second", second)
fails = fails.add_edge(START, "first").add_edge("first", "second").add_edge("second", END).compile()
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Browser]]:
    folder = tmp_path_factory.mktemp("page")
    with browser() as page:
        (folder / "graphs.py").write_text(SOURCE)
        graphs = {name: f"./graphs.py:{name}" for name in ("asks", "fails")}
        (folder / "langgraph.json").write_text(json.dumps({"graphs": graphs}))
        with Stack.open(folder, AGENT_RUNNER_GRAPHS=str(folder / "langgraph.json")) as stack:
            stack.start_worker()
            yield stack, page


def opened(stack: Stack, page: Browser, id: str) -> None:
    page.open("about:blank").open(f"{stack.http.base_url}/#key={KEY}")
    eventually(lambda: page.run("sessionStorage.getItem('key')") == KEY, what="the page to take its key")
    page.run(f"location.hash = {json.dumps(id)}")
    page.shows(id)


def latest(stack: Stack, session: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.http.get("/v1/executions", params={"session_id": session}).json()["entries"][0]
    return found


def test_an_answer_is_clicked_and_one_is_written(town: tuple[Stack, Browser]) -> None:
    """An option fills its field, `Answer` sends it, and the page follows what comes: the next question, the end."""
    stack, page = town
    made = stack.create("pay", graph="asks")
    stack.wait_for(made["metadata"]["id"])
    opened(stack, page, made["metadata"]["id"])
    page.shows("How much?")
    page.click("form.answers label button", "60")
    page.click("form.answers > button", "Answer")
    page.shows("And why?")
    page.type("form.answers input", "it was late")
    page.click("form.answers > button", "Answer")
    page.shows("paid 60 since it was late")
    ended = stack.wait_for(latest(stack, made["spec"]["session_id"])["metadata"]["id"])
    assert (ended["status"]["phase"], ended["waiting_for_input"]) == ("EXECUTION_COMPLETED", False)


@pytest.mark.parametrize(
    ("button", "steps"),
    [("Redrive from the failed step", "first second"), ("Redrive from before it", "first first second")],
)
def test_a_redrive_is_clicked(town: tuple[Stack, Browser], button: str, steps: str) -> None:
    """From the failed step what was done is kept; from before it everything is made again. The page follows it."""
    stack, page = town
    (stack.folder / "broken").touch()
    (stack.folder / "done").write_text("")
    made = stack.create("print", graph="fails")
    stack.wait_for(made["metadata"]["id"])
    opened(stack, page, made["metadata"]["id"])
    page.shows("the printer has no paper")
    page.shows("graphs.py:")
    page.click("summary", "Traceback")
    page.shows('raise ValueError("the printer has no paper")')
    (stack.folder / "broken").unlink()
    page.click("header button", button)
    page.shows("second is done")
    assert (stack.folder / "done").read_text().split() == steps.split()
    assert latest(stack, made["spec"]["session_id"])["metadata"]["id"] != made["metadata"]["id"]


def test_a_run_is_sent_and_cancelled(town: tuple[Stack, Browser]) -> None:
    """`Run` sends what was written, and `Cancel` ends it."""
    stack, page = town
    page.open("about:blank").open(f"{stack.http.base_url}/#key={KEY}")
    page.click("#bar a", "Start")
    page.type("#new textarea[name=message]", "$ sleep 100")
    page.click("#new button", "Run")
    page.shows("in progress")
    page.shows("sleep 100")
    page.click("#view header button", "Cancel")
    page.shows("cancelled")
