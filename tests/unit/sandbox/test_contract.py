"""The table in docs/guides/sandbox.md: what a command can do, asked on a real sandbox, walled off and without."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_runner.clients.sandbox.walls import Walls
from tests.unit.sandbox.questions import QUESTIONS, Scene, sandbox_of

ROWS = json.loads(Path(__file__).with_name("contract.json").read_text())
BY_ID = {row["id"]: row for row in ROWS}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks by way of /proc")


@pytest.fixture
async def scene(tmp_path: Path, walls: Walls | None) -> AsyncIterator[Scene]:
    (tmp_path / "mine" / "app").mkdir(parents=True)
    (tmp_path / "mine" / "app" / "a.py").write_text("1\n")
    (tmp_path / "mine" / ".hidden").write_text("not shown")
    box = sandbox_of(tmp_path, walls)
    yield Scene(folder=tmp_path, box=box, walls=walls)
    await box.close()


@pytest.mark.parametrize("id_", QUESTIONS)
async def test_what_a_command_can_do(scene: Scene, id_: str) -> None:
    """It is what the table says."""
    told = BY_ID[id_]["isolated" if scene.walls else "not isolated"]
    if told == "not promised":
        pytest.skip("it depends on the machine")
    assert ("yes" if await QUESTIONS[id_](scene) else "no") == told


def test_the_table_is_whole() -> None:
    """Every row has its question, and walled off every promise is kept."""
    assert list(BY_ID) == list(QUESTIONS)
    assert [row["id"] for row in ROWS if row["isolated"] != row["promised"]] == []
