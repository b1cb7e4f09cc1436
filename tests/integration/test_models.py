"""Models as they behave, in the whole product: every scenario of every wire, from the create to what a user reads."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tests.integration import model_wire
from tests.integration.model_wire import EXECUTE, model_name
from tests.integration.stack import Stack
from tests.unit.models_wire.scenarios import scenarios
from tests.unit.models_wire.scenes import SOURCES, WIRES
from tests.unit.models_wire.test_goldens import PACKAGES

GOLDENS = Path(__file__).parent / "goldens" / "models"
AT_ONCE = 10


def test_every_scenario_looks_as_its_golden_says_and_keeps_the_laws(tmp_path: Path) -> None:
    """On a real stack, all three wires at once; made anew with AGENT_RUNNER_WRITE_GOLDENS=1."""
    every = scenarios(EXECUTE)
    mine = [(wire, name) for wire in WIRES for name, scenario in every.items() if wire in scenario.only]
    with model_wire.served({model_name(wire, name): every[name] for wire, name in mine}) as server:
        with Stack.open(tmp_path, **model_wire.settings(server), AGENT_RUNNER_CONCURRENCY=str(AT_ONCE)) as stack:
            stack.start_worker()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                ended = list(pool.map(lambda one: model_wire.run(stack, *one), mine))
        requests = [server.asked[model_name(wire, name)] for wire, name in mine]
    broken = {
        f"{wire}: {name}": told for (wire, name), e in zip(mine, ended, strict=True) if (told := model_wire.wrong(e))
    }
    assert not broken
    for wire in WIRES:
        seen = {
            name: {**model_wire.looks(execution), "requests": asked}
            for (of, name), execution, asked in zip(mine, ended, requests, strict=True)
            if of == wire
        }
        packages = {package: version(package) for package in (*PACKAGES[wire], "deepagents")}
        file = GOLDENS / f"{wire}.json"
        if os.environ.get("AGENT_RUNNER_WRITE_GOLDENS"):
            file.parent.mkdir(parents=True, exist_ok=True)
            found = {"packages": packages, "source": SOURCES[wire], "seen": seen}
            file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        assert json.loads(file.read_text())["seen"] == seen
