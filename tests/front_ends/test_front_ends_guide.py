"""The starts of the guide, copied and run as they stand there."""

import os
import re
import subprocess
from pathlib import Path

from tests.front_ends.node import RUN_S, packages
from tests.integration.guides import blocks
from tests.integration.stack import KEY, Stack

NAME = re.compile(r"// ([\w.-]+)\n")


def ran(name: str, served: Stack, place: Path) -> str:
    """What the file of the guide prints."""
    files = {found[1]: text for _, text in blocks("front-ends.md") if (found := NAME.match(text))}
    (place / "node_modules").symlink_to(packages() / "node_modules")
    (place / name).write_text(files[name])
    env = {"AGENT_RUNNER_URL": f"http://127.0.0.1:{served.http_port}", "STIGMER_API_KEY": KEY}
    done = subprocess.run(
        ["node", name],
        cwd=place,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_start_with_ag_ui(served: Stack, tmp_path: Path) -> None:
    """It shows the text, the tool's result and the number of messages."""
    said = ran("chat.mjs", served, tmp_path)
    assert "[tool] hello" in said
    assert re.search(r"\d messages", said)


def test_the_start_with_the_ai_sdk(served: Stack, tmp_path: Path) -> None:
    """It shows the tool's output and the text."""
    said = ran("sdk.mjs", served, tmp_path)
    assert "[tool] hello" in said
    assert "the offline demo model" in said
