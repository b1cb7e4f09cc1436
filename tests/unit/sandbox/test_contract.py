"""The table in docs/guides/sandbox.md: what a command can do, asked on a real sandbox, walled off and without."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_runner.clients.sandbox.docker.kind import DockerKind
from tests.unit.sandbox import questions
from tests.unit.sandbox.conftest import own_users, own_walls
from tests.unit.sandbox.docker_scene import ENGINE, docker_scene, remove_all, settings_of, some_engine
from tests.unit.sandbox.questions import QUESTIONS, Scene, local_scene

ROWS = json.loads(Path(__file__).with_name("contract.json").read_text())
BY_ID = {row["id"]: row for row in ROWS}

NEEDS_WALLS = frozenset({
    "other-session", "data-directory", "host-files", "processes", "signal", "ports", "sockets", "network", "privileges",
    "daemon",
})  # fmt: skip
"""What a fake engine does not do: it starts the commands of containers as local processes."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks by way of /proc")


@pytest.fixture(params=["isolated", "a user of its own", "not isolated", "docker"])
def column(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def scene(column: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    walls = own_walls() if column == "isolated" else None
    users = own_users() if column == "a user of its own" else None
    if users and (python := shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        monkeypatch.setattr(questions, "PYTHON", python)
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:  # pytest's own lets no other user through
        path = Path(folder)
        path.chmod(0o711)
        (path / "data").mkdir(mode=0o700)
        (path / "mine" / "app").mkdir(parents=True)
        (path / "mine" / "app" / "a.py").write_text("1\n")
        (path / "mine" / ".hidden").write_text("not shown")
        if column == "docker":
            with some_engine(path) as engine:
                kind = DockerKind(settings_of(path, engine))
                if ENGINE:
                    monkeypatch.setattr(questions, "PYTHON", "python3")
                scene = docker_scene(path, kind)
                try:
                    yield scene
                finally:
                    await scene.box.close()
                    remove_all(kind)
            return
        scene = local_scene(path, walls, users)
        yield scene
        await scene.box.close()


@pytest.mark.parametrize("id_", QUESTIONS)
async def test_what_a_command_can_do(scene: Scene, column: str, id_: str) -> None:
    """It is what the table says."""
    told = BY_ID[id_][column]
    if told == "not promised":
        pytest.skip("it depends on the machine")
    if column == "docker" and not ENGINE and id_ in NEEDS_WALLS:
        pytest.skip("only a real engine keeps it apart; AGENT_RUNNER_TEST_DOCKER_HOST names one")
    if column == "docker" and ENGINE and id_ == "shown-entries" and os.geteuid() == 0:
        pytest.skip("entries of root are not writable for the user that commands of a worker of root run as")
    assert ("yes" if await QUESTIONS[id_](scene) else "no") == told


def test_the_table_is_whole() -> None:
    """Every row has its question, and walled off every promise is kept."""
    assert list(BY_ID) == list(QUESTIONS)
    assert [row["id"] for row in ROWS if row["isolated"] != row["promised"]] == []
