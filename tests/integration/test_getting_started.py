"""The guide for newcomers, word by word: its shell blocks are run as they stand, its files written as shown."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checks.tree import ROOT

GUIDE = ROOT / "docs" / "guides" / "getting-started.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"^# ([\w.-]+)\n")
STAYS = "agent-runner dev\n"
PORTS = (8080, 50051, 5555)
READY_S, STOP_S = 90, 30


def blocks() -> list[tuple[str, str]]:
    """Language and text of each code block, in the order of the guide."""
    return BLOCK.findall(GUIDE.read_text())


@dataclass
class Newcomer:
    """Somebody with a checkout, a shell, and this guide."""

    place: Path
    env: dict[str, str]
    said: list[str] = field(default_factory=list)
    stack: subprocess.Popen[str] | None = None

    def does(self, language: str, text: str) -> None:
        """What the guide says next. What it leaves open, an id, is the last one that was shown."""
        if language == "yaml":
            named = NAMED.match(text)
            assert named, f"a file without a name:\n{text}"
            (self.place / named[1]).write_text(text)
        elif text == STAYS:
            self.starts_the_stack()
        else:
            self.runs(self.filled_in(text))

    def runs(self, script: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=self.place, env=self.env, timeout=100,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        self.said.append(done.stdout + done.stderr)

    def filled_in(self, text: str) -> str:
        for prefix in ("aex", "ses"):
            if f"{prefix}-..." in text:
                seen = re.findall(rf"\b{prefix}-[0-9a-z]{{26}}\b", "\n".join(self.said))
                assert seen, f"nothing has shown a {prefix}-... yet"
                text = text.replace(f"{prefix}-...", seen[-1])
        return text

    def starts_the_stack(self) -> None:
        log = self.place / "dev.log"
        with log.open("w") as out:
            self.stack = subprocess.Popen(
                ["agent-runner", "dev"], cwd=self.place, env=self.env, stdout=out, stderr=out, text=True
            )
        deadline = time.monotonic() + READY_S
        while not re.search(r"^READY http=", log.read_text(), re.MULTILINE):
            assert self.stack.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)

    def leaves(self) -> None:
        if self.stack:
            self.stack.send_signal(signal.SIGINT)
            self.stack.wait(STOP_S)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """In a folder with all files of this checkout, so that what is written stays out of it; no model's key is set."""
    for port in PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"port {port}, which the guide names, is taken")
    place = tmp_path / "agent-runner"
    place.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".agent-runner", "execution.json", "agent.yaml"):
            (place / path.name).symlink_to(path)
    env = {"HOME": str(tmp_path), "PATH": f"{place}/.venv/bin:{os.environ['PATH']}", "MAKEFLAGS": "STALE="}
    somebody = Newcomer(place=place, env=env)
    yield somebody
    somebody.leaves()


@pytest.mark.timeout(600)
def test_the_guide_works_word_by_word(newcomer: Newcomer) -> None:
    """Every command of the guide ends well, in its order, and does what is said of it."""
    for language, text in blocks():
        newcomer.does(language, text)
    said = "\n".join(newcomer.said)
    assert said.count("COMPLETED") >= 5
    assert json.loads((newcomer.place / "execution.json").read_text())["status"]["phase"] == "EXECUTION_COMPLETED"
    assert "Agent release-notes applied" in said
    assert newcomer.stack
    newcomer.leaves()
    assert newcomer.stack.returncode == 0
