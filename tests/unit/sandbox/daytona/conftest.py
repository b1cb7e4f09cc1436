"""The Daytona for tests, one per module; the real SDK talks to it. Without the SDK: `make test-daytona`."""

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.daytona.kind import DaytonaKind
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.settings.settings import Settings
from tests.support.daytona.service import DaytonaService

SECRET = "s3cret-of-the-run"


@pytest.fixture(scope="module")
def service() -> Iterator[DaytonaService]:
    if importlib.util.find_spec("daytona") is None:
        pytest.skip("the SDK of Daytona is not installed here: make test-daytona")
    if shutil.which("bwrap") is None:
        pytest.skip("its sandboxes are made by bubblewrap, which is not installed")
    folder = Path(tempfile.mkdtemp(prefix="daytona-"))
    try:
        with DaytonaService(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh(service: DaytonaService) -> Iterator[DaytonaService]:
    """Without sandboxes of tests before, and without their failures."""
    yield service
    service.refuse.clear()
    service.settles_in = "started"
    for box in list(service.boxes.values()):
        service.delete(box)
    service.requests.clear()


@pytest.fixture
def kind_of(fresh: DaytonaService) -> Callable[..., DaytonaKind]:
    """A worker's kind, with a client of its own."""

    def made(**settings: Any) -> DaytonaKind:
        given = {"daytona_api_key": fresh.key, "daytona_api_url": fresh.url, **settings}
        return DaytonaKind(Settings(sandbox="local", **given))

    return made


def asked(name: str = "ses-1", **given: Any) -> SandboxRequest:
    return SandboxRequest(name=name, env={"TOKEN": SECRET}, mask=Mask([SECRET]), max_result_bytes=20_000, **given)
