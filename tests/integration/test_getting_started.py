"""The guide for newcomers, word by word: its shell blocks are run as they stand, its files written as shown."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from checks.tree import ROOT
from tests.integration.guides import Reader, blocks

STAYS = "agent-runner dev\n"
PORTS = (8080, 50051, 5555)
READY_S, STOP_S = 90, 30


@dataclass
class Newcomer(Reader):
    """Somebody with a checkout, a shell, and this guide."""

    stack: subprocess.Popen[str] | None = None

    def does(self, language: str, text: str) -> None:
        """What the guide says next."""
        if language == "yaml":
            self.writes(text)
        elif text == STAYS:
            self.starts_the_stack()
        else:
            self.runs(text)

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
    for language, text in blocks("getting-started.md"):
        newcomer.does(language, text)
    said = "\n".join(newcomer.said)
    assert said.count("COMPLETED") >= 5
    assert json.loads((newcomer.place / "execution.json").read_text())["status"]["phase"] == "EXECUTION_COMPLETED"
    assert "Agent release-notes applied" in said
    assert newcomer.stack
    newcomer.leaves()
    assert newcomer.stack.returncode == 0
