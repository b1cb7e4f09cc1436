"""What a run cost by the operator's prices, in real processes: its messages, its row in lists, the metrics."""

import json
import re
from pathlib import Path

import pytest

from agent_runner.clients.models.demo import MODEL_NAME
from tests.integration.stack import Stack

PRICES = [{"model": f"{MODEL_NAME[:3]}*", "currency": "EUR", "input": 1000, "output": 5000}]


def test_a_run_says_what_it_cost(tmp_path: Path) -> None:
    """The sum of its messages is the row's cost and the metric's, and what the tokens cost by the table."""
    table = tmp_path / "prices.json"
    table.write_text(json.dumps(PRICES))
    with Stack.open(tmp_path, AGENT_RUNNER_PRICES=str(table)) as stack:
        stack.start_worker()
        id = stack.create("Say it.\n$ echo costs")["metadata"]["id"]
        done = stack.wait_for(id, "EXECUTION_COMPLETED")
        said = [m["metadata"] for m in done["status"]["messages"] if m["type"] == "MESSAGE_AI"]
        assert len(said) > 1
        for metadata in said:
            used = metadata["usage"]
            amount = used["input_tokens"] * 0.001 + used["output_tokens"] * 0.005
            assert metadata["cost"] == {"amount": pytest.approx(amount), "currency": "EUR"}
        whole = sum(metadata["cost"]["amount"] for metadata in said)
        listed = stack.http.get("/v1/executions", params={"view": "summary"}).json()["executions"]
        assert [row["cost"] for row in listed] == [{"amount": pytest.approx(whole), "currency": "EUR"}]
        told = stack.http.get("/metrics").text
    counted = re.findall(rf'^agent_runner_cost_total{{currency="EUR",model="{MODEL_NAME}"}} (\S+)$', told, re.MULTILINE)
    assert [float(amount) for amount in counted] == [pytest.approx(whole)]
