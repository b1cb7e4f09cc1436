"""What a user sees of every scenario, on every wire: kept as golden files, which are the tables of the guide."""

import asyncio
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.unit.models_wire.scenarios import SCENARIOS
from tests.unit.models_wire.scenes import ANTHROPIC, OLLAMA, OPENAI, SOURCES, WIRES
from tests.unit.models_wire.server import serving
from tests.unit.models_wire.told import model_at, told

GOLDENS = Path(__file__).parent / "goldens"
PACKAGES = {
    OPENAI: ("langchain-openai", "openai"),
    ANTHROPIC: ("langchain-anthropic", "anthropic"),
    OLLAMA: ("langchain-ollama", "ollama"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_runner.clients.models.whole.PAUSE_S", 0.0)
    monkeypatch.setenv("LANGSMITH_TRACING", "false")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of a client whose server breaks its protocol
@pytest.mark.parametrize("wire", WIRES)
async def test_every_scenario_looks_as_its_golden_says(wire: str) -> None:
    """No scenario ends otherwise than the golden file of its wire says; made anew with AGENT_RUNNER_WRITE_GOLDENS=1."""
    mine = {name: scenario for name, scenario in SCENARIOS.items() if wire in scenario.only}
    seen: dict[str, Any] = {}

    async def one(server: Any, name: str) -> None:
        ran: list[str] = []
        looks = await told(model_at(wire, server.url, name), ran)
        seen[name] = {**looks, "ran": sorted(ran), "requests": server.asked[name]}

    async with serving(mine) as server:
        await asyncio.gather(*(one(server, name) for name in mine))
    file = GOLDENS / f"{wire}.json"
    found = {
        "packages": {p: version(p) for p in PACKAGES[wire]},
        "source": SOURCES[wire],
        "seen": {name: seen[name] for name in mine},
    }
    if os.environ.get("AGENT_RUNNER_WRITE_GOLDENS"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    kept = json.loads(file.read_text())
    assert kept["seen"] == found["seen"]
