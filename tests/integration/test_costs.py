"""What a run cost by the prices of the operator, in real processes: messages, a row of lists, metrics, the page."""

import json
import re
from collections.abc import Iterator

import pytest

from agent_runner.clients.models.demo import MODEL_NAME
from tests.integration.browser import browser
from tests.integration.stack import KEY, Json, Stack
from tests.support.waiting import eventually

PRICES = [{"model": f"{MODEL_NAME[:3]}*", "currency": "EUR", "input": 1000, "output": 5000}]
Run = tuple[Stack, Json]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A stack with a file of prices, and what its one run came to."""
    folder = tmp_path_factory.mktemp("costs")
    table = folder / "prices.json"
    table.write_text(json.dumps(PRICES))
    with Stack.open(folder, AGENT_RUNNER_PRICES=str(table)) as stack:
        stack.start_worker()
        id = stack.create("Say it.\n$ echo costs")["metadata"]["id"]
        yield stack, stack.wait_for(id, "EXECUTION_COMPLETED")


def whole(done: Json) -> float:
    return float(sum(m["metadata"]["cost"]["amount"] for m in done["status"]["messages"] if m["type"] == "MESSAGE_AI"))


def test_a_run_says_what_it_cost(run: Run) -> None:
    """The sum of its messages is the row's cost and the metric's, and what the tokens cost by the table."""
    stack, done = run
    said = [m["metadata"] for m in done["status"]["messages"] if m["type"] == "MESSAGE_AI"]
    assert len(said) > 1
    for metadata in said:
        used = metadata["usage"]
        amount = used["input_tokens"] * 0.001 + used["output_tokens"] * 0.005
        assert metadata["cost"] == {"amount": pytest.approx(amount), "currency": "EUR"}
    listed = stack.http.get("/v1/executions", params={"view": "summary"}).json()["executions"]
    (own,) = (row["cost"] for row in listed if row["id"] == done["metadata"]["id"])
    assert own == {"amount": pytest.approx(whole(done)), "currency": "EUR"}
    told = stack.http.get("/metrics").text
    counted = re.findall(rf'^agent_runner_cost_total{{currency="EUR",model="{MODEL_NAME}"}} (\S+)$', told, re.MULTILINE)
    assert [float(amount) for amount in counted] == [pytest.approx(sum(row["cost"]["amount"] for row in listed))]


def test_streams_for_front_ends_say_it(run: Run) -> None:
    """At the end of both, beside the tokens: the cost of the run that they told."""
    stack, _ = run
    parts = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Say it."}]}
    said = {"id": "u1", "role": "user", "content": "Say it."}
    names = {"threadId": "t1", "runId": "r1", "protocolVersion": "1.0"}
    sent = {
        "/v1/agui/agent-runner": {**names, "messages": [said], "state": {}, "tools": [], "context": []},
        "/v1/ai-sdk/agent-runner": {"id": "c1", "messages": [parts]},
    }
    for path, body in sent.items():
        answer = stack.http.post(path, json=body)
        frames = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        last = frames[-1]
        facts = last.get("metadata") or last["messageMetadata"]
        listed = stack.http.get("/v1/executions", params={"view": "summary", "page_size": 1}).json()["executions"]
        assert facts["cost"] == listed[0]["cost"], (path, last)
        assert facts["cost"]["amount"] > 0


def test_the_page_shows_it(run: Run) -> None:
    """A column of the list, and a fact at the head of the execution."""
    stack, done = run
    said = re.compile(r"([\d.,]+) EUR")
    with browser() as page:
        page.open(f"{stack.http.base_url}/#key={KEY}")
        page.shows("EUR")
        id = done["metadata"]["id"]
        cell = str(page.run(f"document.querySelector(`#list tr[data-id='{id}'] td.c-cost`).textContent"))
        page.run(f"location.hash = {json.dumps(id)}")
        eventually(
            lambda: "EUR" in str(page.run("document.querySelector('dl.facts')?.innerText")),
            what="the head of the execution",
        )
        head = str(page.run("document.querySelector('dl.facts').innerText"))
    for text in (cell, head):
        found = said.search(text)
        assert found, text
        assert float(found[1]) == pytest.approx(whole(done), rel=0.01)
    assert "Cost" in head
