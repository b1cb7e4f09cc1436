"""What a model call costs: the operator's table, and nothing that the operator did not say."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from agent_runner.clients.engine.stream.messages import usage_of
from agent_runner.clients.models.prices import Prices
from agent_runner.clients.settings.settings import SettingsError, load_settings
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.events import MessageFinished
from agent_runner.status.usage.model_usage import Cost, Usage

LARGE = {"model": "large-*", "currency": "USD", "input": 3, "output": 15, "cached": 0.3}
TABLE = json.dumps(
    [
        LARGE,
        {"model": "large-2", "currency": "USD", "input": 99, "output": 99},
        {"model": "small", "currency": "USD", "input": 0.5, "output": 2},
        {"model": "house-*", "currency": "EUR", "input": 1, "output": 1},
        {"model": "own", "currency": "USD", "input": 0, "output": 0},
    ]
)


@pytest.mark.parametrize(
    ("model", "used", "amount"),
    [
        ("large-1", {"input_tokens": 1_000_000, "output_tokens": 1_000_000}, 18.0),
        ("large-2", {"input_tokens": 100, "output_tokens": 0}, 0.0003),
        ("large-1", {"input_tokens": 1000, "output_tokens": 10, "cached_tokens": 900}, 0.00072),
        ("large-1", {"input_tokens": 100, "cached_tokens": 500}, 0.00003),
        ("small", {"input_tokens": 1000, "output_tokens": 10, "cached_tokens": 900}, 0.00052),
        ("own", {"input_tokens": 1000, "output_tokens": 10}, 0.0),
    ],
)
def test_a_call(model: str, used: dict[str, int], amount: float) -> None:
    """The first row that fits counts; tokens of the cache have their own price, or that of the others."""
    cost = Prices(TABLE)(model, used)
    assert cost is not None
    assert cost.amount == pytest.approx(amount)
    assert cost.currency == "USD"


@pytest.mark.parametrize("model", ["", "unknown", "LARGE-1", "my-large-1"])
def test_no_price_is_invented(model: str) -> None:
    """A model that no row fits has no cost, and is not free."""
    assert Prices(TABLE)(model, {"input_tokens": 5}) is None
    assert Prices("")(model, {"input_tokens": 5}) is None


def test_tokens_of_the_cache_are_read() -> None:
    """LangChain counts them among those that went in."""
    details = InputTokenDetails(cache_read=900)
    used = UsageMetadata(input_tokens=1000, output_tokens=10, total_tokens=1010, input_token_details=details)
    assert usage_of(AIMessage("hi", usage_metadata=used)) == {
        "input_tokens": 1000,
        "output_tokens": 10,
        "total_tokens": 1010,
        "cached_tokens": 900,
    }


@pytest.mark.parametrize(
    ("calls", "cost"),
    [
        ([], None),
        ([("large-1", 1_000_000), ("small", 1_000_000)], Cost(amount=3.5, currency="USD")),
        ([("large-1", 1_000_000), ("unknown", 1)], None),
        ([("large-1", 1_000_000), ("large-1", 0)], None),
        ([("large-1", 1_000_000), ("house-1", 1_000_000)], None),
    ],
    ids=["no-call", "sum", "a-model-without-price", "a-call-that-counted-nothing", "two-currencies"],
)
def test_the_sum_of_a_run(calls: list[tuple[str, int]], cost: Cost | None) -> None:
    """It is told only where it is the whole; what has a price is known by its model all the same."""
    usage = Usage(Prices(TABLE))
    for model, tokens in calls:
        usage.add(model, {"input_tokens": tokens} if tokens else {})
    assert usage.cost == cost
    if calls:
        assert usage.costs["large-1"] == Cost(amount=3.0, currency="USD")


@pytest.mark.parametrize("table", ["", TABLE])
def test_a_message_has_its_cost(table: str) -> None:
    """In its metadata beside its tokens; without a table nothing is added."""
    builder = StatusBuilder(priced=Prices(table) if table else None)
    event = MessageFinished(
        scope="", message_id="a", text="hi", usage={"input_tokens": 2000, "output_tokens": 100}, model="small"
    )
    (metadata,) = [delta.payload["metadata"] for delta in builder.feed(event) if "metadata" in delta.payload]
    assert metadata["usage"] == {"input_tokens": 2000, "output_tokens": 100}
    assert metadata.get("cost") == ({"amount": 0.0012, "currency": "USD"} if table else None)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("{}", "list"),
        ("[1]", "row 1"),
        ("[", "JSON"),
        ("no/such/file.json", "file"),
        (json.dumps([{**LARGE, "outptu": 1}]), "row 1"),
        (json.dumps([LARGE, {"model": "m"}]), "row 2"),
        (json.dumps([{**LARGE, "model": ""}]), "model"),
        (json.dumps([{**LARGE, "currency": 1}]), "currency"),
        (json.dumps([{**LARGE, "currency": "dollars of us"}]), "currency"),
        (json.dumps([{**LARGE, "input": -1}]), "input"),
        (json.dumps([{**LARGE, "cached": True}]), "cached"),
        ('[{"model": "m", "currency": "USD", "input": NaN, "output": 1}]', "input"),
    ],
)
def test_a_wrong_table_is_refused_at_start(given: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text names the setting and the row."""
    monkeypatch.setenv("AGENT_RUNNER_PRICES", given)
    with pytest.raises(SettingsError, match=f"AGENT_RUNNER_PRICES must .*{word}"):
        load_settings("worker")


def test_a_file_of_prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is the table or the path of one, also one with a byte order mark."""
    file: Any = tmp_path / "prices.json"
    file.write_text(TABLE, "utf-8-sig")
    monkeypatch.setenv("AGENT_RUNNER_PRICES", str(file))
    assert Prices(load_settings("worker").prices).rows == Prices(TABLE).rows
