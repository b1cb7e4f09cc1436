"""The column `daytona` of the table in docs/guides/sandbox.md, asked through the real SDK."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent_runner.clients.process.threads import apart
from agent_runner.clients.sandbox.daytona.kind import DaytonaKind
from tests.support.daytona.service import DaytonaService
from tests.unit.sandbox.daytona.conftest import asked
from tests.unit.sandbox.daytona.questions import QUESTIONS, Scene
from tests.unit.sandbox.test_contract import BY_ID, ROWS

NOT_ASKED = {"by Daytona": "Daytona keeps it, and is not here", "not promised": "it depends on the sandbox's image"}


@pytest.fixture
async def scene(fresh: DaytonaService, kind_of: Callable[..., DaytonaKind]) -> AsyncIterator[Scene]:
    folder = Path(tempfile.mkdtemp(prefix="worker-"))
    kind = kind_of()
    box = await apart(kind.open, asked(), name="open")
    yield Scene(folder=folder, service=fresh, kind=kind, box=box)
    await box.close()
    shutil.rmtree(folder)


@pytest.mark.promise("6.08")
@pytest.mark.parametrize("id_", QUESTIONS)
async def test_what_a_command_can_do(scene: Scene, id_: str) -> None:
    """It is what the table says."""
    found = await QUESTIONS[id_](scene)
    assert (found if isinstance(found, str) else "yes" if found else "no") == BY_ID[id_]["daytona"]


def test_the_column_is_whole() -> None:
    """Every row has a word about Daytona; what is not asked here says whose it is."""
    assert {row["id"] for row in ROWS if row["daytona"] not in NOT_ASKED} == set(QUESTIONS)
