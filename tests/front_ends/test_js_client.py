"""`clients/js/agent-runner.js`, in Node: one file that reads the event streams, and goes on where they broke."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from checks.tree import ROOT
from tests.front_ends.node import packages
from tests.integration.stack import KEY, Stack

CLIENT = ROOT / "clients" / "js"
SCRIPTS = Path(__file__).parent / "js"
MAIN = """
import * as client from "./agent-runner.js";
import { resumed } from "./resumes.mjs";
console.log(JSON.stringify(await resumed(client, ...process.argv.slice(2))));
"""


def assert_resumed(told: dict[str, Any]) -> None:
    """Of `resumes.mjs`: every event once and in order, though each connection broke."""
    assert told["calls"] > 2
    assert told["told"] == told["whole"]
    assert [event["data"]["seq"] for event in told["told"][:-1]] == list(range(1, len(told["told"])))
    assert told["told"][-1]["data"]["phase"] == "EXECUTION_COMPLETED"
    assert told["refused"]["is"]
    assert told["refused"]["code"] == "NOT_FOUND"
    assert told["refused"]["next"]
    assert told["silent"] == {"calls": 3, "names": ["snapshot", "end"]}
    assert told["changed"]["streams"] == 2
    assert told["changed"]["told"][:2] == ["rows", "rows"]
    assert "ticket=" in told["ticket"]


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_a_stream_that_breaks_goes_on(served: Stack, tmp_path: Path) -> None:
    """Over a connection that breaks again and again, or is silent, every event arrives once; a refusal has its code."""
    shutil.copy(SCRIPTS / "resumes.mjs", tmp_path)
    shutil.copy(CLIENT / "agent-runner.js", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "main.mjs").write_text(MAIN)
    argv = ["node", "main.mjs", f"http://127.0.0.1:{served.http_port}", KEY]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_resumed(json.loads(done.stdout))


def test_it_is_small() -> None:
    """One file of at most 200 lines that imports nothing."""
    text = (CLIENT / "agent-runner.js").read_text()
    assert len(text.splitlines()) <= 200
    assert not re.findall(r"^\s*import\b|\bimport\(|\brequire\(", text, re.MULTILINE)


def test_what_is_published() -> None:
    """The package has the version of the server, its entries exist, and it needs nothing."""
    package = json.loads((CLIENT / "package.json").read_text())
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert package["version"] == version[1]
    assert not {"dependencies", "peerDependencies", "devDependencies"} & package.keys()
    entry = package["exports"]["."]
    shipped = {path.name for path in CLIENT.iterdir() if path.is_file() and path.name != "package.json"}
    assert {Path(entry["types"]).name, Path(entry["default"]).name} < set(package["files"]) == shipped


def test_the_types_are_those_of_the_client(tmp_path: Path) -> None:
    """By TypeScript's own compiler: right programs are accepted, wrong ones refused, and each member is declared."""
    shutil.copytree(CLIENT, tmp_path / "client")
    shutil.copy(SCRIPTS / "typed.ts", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(packages() / "node_modules")
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "--lib"]
    argv = ["node_modules/.bin/tsc", *options, "es2022,dom,dom.iterable", "typed.ts"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    declared = (CLIENT / "agent-runner.d.ts").read_text()
    written = (CLIENT / "agent-runner.js").read_text()
    members = re.findall(r"^  (?:async )?\*?(?:get )?(\w+)\(", written, re.MULTILINE)
    assert members
    assert [name for name in members if not re.search(rf"^  (?:get )?{name}\(", declared, re.MULTILINE)] == []
