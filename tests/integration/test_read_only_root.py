"""What the image promises: every role without root, on a root file system that cannot be written, in production."""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from checks.tree import ROOT
from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually

EXAMPLE = ROOT / "docs" / "examples" / "own-graph"
UID = "10001"
pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


class Contained(Stack):
    """Its roles see the machine read-only, with a /tmp of their own, and write into the data directory alone."""

    def spawn(self, name: str, argv: list[str], extra: Mapping[str, str] | None = None) -> Process:
        if name == "redis":
            return super().spawn(name, argv, extra)
        walls = ["bwrap", "--unshare-user", "--uid", UID, "--gid", UID, "--die-with-parent", "--ro-bind", "/", "/"]
        walls += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--bind", str(self.folder), str(self.folder)]
        return super().spawn(name, [*walls, "--", *argv], {"HOME": "/home/agent-runner", **(extra or {})})


def image(folder: Path) -> dict[str, str]:
    """The example's image as far as it can be made here: its files in their places, its variables."""
    variables: dict[str, str] = {}
    for line in (EXAMPLE / "Dockerfile").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name == "COPY":
            *sources, target = shlex.split(rest)
            place = folder / target.strip("/")
            place.mkdir(parents=True)
            for source in sources:
                shutil.copy(EXAMPLE / source, place)
        elif name == "ENV":
            key, _, value = rest.partition("=")
            variables[key] = str(folder / value.strip("/"))
    return variables


def test_an_image_with_graphs_of_ones_own(tmp_path: Path) -> None:
    """Server, worker, orchestrator and Flower start; the example's graph runs to its end; nothing wanted to write."""
    variables = image(tmp_path / "data" / "image")
    settings = {"MODE": "production", "AGENT_RUNNER_SANDBOX": "none", "FLOWER_PORT": "0", **variables}
    with Contained.open(tmp_path / "data", **settings) as stack:
        others = [stack.start("orchestrator"), stack.start("flower", AGENT_RUNNER_FLOWER_PASSWORD="x" * 32)]
        stack.start_worker()
        id = stack.create("four words are here", graph="word-count")["metadata"]["id"]
        done = stack.wait_for(id, "EXECUTION_COMPLETED")
        assert "4" in str(done["status"]["messages"][-1].get("content") or done["status"].get("output"))
        roles = {worker["role"] for worker in stack.http.get("/v1/workers").json()["workers"]}
        assert "worker" in roles
        eventually(lambda: "Visit me at" in others[1].output(), what="Flower")
        said = {process.name: process.output() for process in stack.processes}
    for name, text in said.items():
        assert "Read-only file system" not in text, f"{name} wrote:\n{text[-2000:]}"
        assert "STARTUP FAILURE" not in text, f"{name} did not start:\n{text[-2000:]}"
