"""A kind of sandbox of another package, in a run of a real stack: installed as packages are, chosen by an agent."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack import Stack
from tests.support.waiting import eventually

SECRET = "s3cret-of-the-run"
BACKEND = '''
"""Keeps a folder per session and runs commands in it, as a package would that has no idea of Agent Runner."""

import os
import shutil
from pathlib import Path

from deepagents.backends import LocalShellBackend

ROOT = Path(os.environ["TINY_ROOT"])


class TinyBackend(LocalShellBackend):
    def close(self) -> None:
        with (ROOT / "closed").open("a") as file:
            file.write("closed\\n")


def backend(request):
    folder = ROOT / request.name
    folder.mkdir(parents=True, exist_ok=True)
    env = {"PATH": os.environ["PATH"], "TINY": f"for {request.session_id}", **request.env}
    return TinyBackend(root_dir=folder, virtual_mode=True, env=env)


def remove(name):
    there = (ROOT / name).exists()
    shutil.rmtree(ROOT / name, ignore_errors=True)
    return there


backend.remove = remove
'''


def installed(folder: Path) -> Path:
    """A directory of packages with one in it, as pip leaves it there."""
    package, info = folder / "tiny_sandbox", folder / "tiny_sandbox-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text(BACKEND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-sandbox\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[agent_runner.sandboxes]\ntiny = tiny_sandbox:backend\n")
    return folder


@pytest.mark.promise("6.09")
def test_a_run_uses_the_backend_of_another_package(stack: Stack, tmp_path: Path) -> None:
    """Commands, files of the turn before, the masked environment, the end of a run and of a session. An agent without a
    wish gets the worker's own kind, one with a wish that the worker does not offer ends E305."""
    root = tmp_path / "kept"
    root.mkdir()
    extra = {"PYTHONPATH": str(installed(tmp_path / "packages")), "TINY_ROOT": str(root)}
    stack.start_worker(AGENT_RUNNER_SANDBOX_KINDS="tiny", **extra)

    def agent(wish: str) -> str:
        metadata: dict[str, Any] = {"name": f"Wishes {wish or 'nothing'}", "owner_scope": "organization"}
        metadata |= {"annotations": {"agent-runner/sandbox": wish}} if wish else {}
        body = {"api_version": "agentic.stigmer.ai/v1", "kind": "Agent", "metadata": metadata}
        made = stack.http.post("/v1/agents", json={**body, "spec": {"instructions": "Do what you are told."}})
        return str(made.raise_for_status().json()["metadata"]["id"])

    def run(message: str, **given: Any) -> dict[str, Any]:
        return stack.wait_for(stack.create(message, env={"TOKEN": SECRET}, **given)["metadata"]["id"])

    tiny = agent("tiny")
    first = run("$ echo $TINY; echo $TOKEN | tee note; exit 3", agent=tiny)
    session = first["spec"]["session_id"]
    (call,) = first["status"]["tool_calls"]
    assert f"for {session}" in call["error"] + call["result"]
    assert SECRET not in str(first)
    (note,) = root.glob("*/note")
    assert note.read_text() == f"{SECRET}\n"
    second = run("$ wc -c note", session_id=session)
    assert second["status"]["tool_calls"][0]["result"].startswith(f"{len(SECRET) + 1} note")
    eventually(lambda: (root / "closed").read_text().count("closed") == 2, what="the backend to be closed twice")

    plain = run("$ echo ${TINY:-none of it}", agent=agent(""))
    assert "none of it" in plain["status"]["tool_calls"][0]["result"]
    refused = run("$ true", agent=agent("modal"))
    assert refused["status"]["phase"] == "EXECUTION_FAILED"
    assert "[E305 SANDBOX]" in refused["status"]["error"]
    assert "this worker offers local, tiny" in refused["status"]["error"]

    stack.http.delete(f"/v1/sessions/{session}").raise_for_status()
    eventually(lambda: not note.parent.exists(), what="the session's folder to be removed by the package")
