"""Models as they behave, in the whole product: every scenario of every wire, from the create to what a user reads."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from tests.integration import model_wire
from tests.integration.model_wire import EXECUTE, model_name
from tests.integration.stack import KEY, Stack
from tests.integration.test_command_line import PROGRAM
from tests.unit.models_wire.scenarios import scenarios
from tests.unit.models_wire.scenes import OPENAI, SOURCES, WIRES
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


def test_the_command_line_says_that_an_answer_is_not_whole(tmp_path: Path) -> None:
    """`run`, `executions list`, `get` and `watch`, of an answer that ran out of tokens and of a whole one."""
    every = scenarios(EXECUTE)
    names = {name: model_name(OPENAI, name) for name in ("out of tokens", "whole")}
    with (
        model_wire.served({model: every[name] for name, model in names.items()}) as server,
        Stack.open(tmp_path, **model_wire.settings(server)) as stack,
    ):
        stack.start_worker()
        url = f"http://127.0.0.1:{stack.http_port}"

        def told(*arguments: str) -> str:
            environment = {**os.environ, "STIGMER_API_KEY": KEY, "AGENT_RUNNER_HTTP_URL": url}
            done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=environment, timeout=60)
            assert done.returncode == 0, done.stderr
            return done.stdout

        for name, less in (("out of tokens", True), ("whole", False)):
            ran = told("run", "go", "--model", f"openai:{names[name]}", "--server", url)
            id_ = stack.http.get("/v1/executions").json()["entries"][0]["metadata"]["id"]
            row = next(line for line in told("executions", "list").splitlines() if id_ in line)
            for text in (ran, row, told("executions", "watch", id_)):
                assert ("not a whole answer: the model ran out of tokens" in text) is less, text
            got = json.loads(told("executions", "get", id_))
            assert ("incomplete" in got) is less
