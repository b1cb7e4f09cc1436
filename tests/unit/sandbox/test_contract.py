"""The table in docs/guides/sandbox.md: what a command can do, asked on a real sandbox, walled off and without."""

import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.sandbox import questions
from tests.unit.sandbox.conftest import own_users, own_walls
from tests.unit.sandbox.questions import QUESTIONS, Scene, sandbox_of

ROWS = json.loads(Path(__file__).with_name("contract.json").read_text())
BY_ID = {row["id"]: row for row in ROWS}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks by way of /proc")


@pytest.fixture(params=["isolated", "a user of its own", "not isolated"])
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
        box = sandbox_of(path, walls, users=users)
        yield Scene(folder=path, box=box, walls=walls, users=users)
        await box.close()


@pytest.mark.parametrize("id_", QUESTIONS)
async def test_what_a_command_can_do(scene: Scene, column: str, id_: str) -> None:
    """It is what the table says."""
    told = BY_ID[id_][column]
    if told == "not promised":
        pytest.skip("it depends on the machine")
    assert ("yes" if await QUESTIONS[id_](scene) else "no") == told


def test_the_table_is_whole() -> None:
    """Every row has its question, and walled off every promise is kept."""
    assert list(BY_ID) == list(QUESTIONS)
    assert [row["id"] for row in ROWS if row["isolated"] != row["promised"]] == []
