"""`clients/js/agent-runner.js`, in Node: one file that reads the event stream, and goes on where it broke."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from checks.tree import ROOT
from tests.integration.stack import KEY, Stack

CLIENT = ROOT / "clients" / "js" / "agent-runner.js"


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_a_stream_that_breaks_goes_on(served: Stack, tmp_path: Path) -> None:
    """Over a connection that breaks again and again every event arrives once, in order; a refusal has its code."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(CLIENT, tmp_path)
    shutil.copy(Path(__file__).parent / "js" / "resumes.mjs", tmp_path)
    argv = ["node", "resumes.mjs", f"http://127.0.0.1:{served.http_port}", KEY, "broken"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["calls"] > 2
    assert told["told"] == told["whole"]
    assert [event["data"]["seq"] for event in told["told"][:-1]] == list(range(1, len(told["told"])))
    assert told["told"][-1]["data"]["phase"] == "EXECUTION_COMPLETED"
    assert told["refused"]["code"] == "NOT_FOUND"
    assert told["refused"]["next"]


def test_it_is_small() -> None:
    """One file of at most 200 lines that imports nothing."""
    text = CLIENT.read_text()
    assert len(text.splitlines()) <= 200
    assert "import " not in text
