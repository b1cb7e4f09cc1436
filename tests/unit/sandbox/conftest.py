"""Every test of the sandbox runs walled off, where this machine can, and without, as on machines that cannot."""

import pytest

from agent_runner.clients.sandbox.isolation import isolation_of
from agent_runner.clients.sandbox.walls import Walls
from agent_runner.clients.settings.settings import Settings


@pytest.fixture(params=["isolated", "not isolated"])
def walls(request: pytest.FixtureRequest) -> Walls | None:
    """For `LocalSandbox(walls=...)`."""
    return own_walls() if request.param == "isolated" else None


def own_walls() -> Walls:
    """Skips the test where commands cannot be walled off."""
    found = isolation_of(Settings(sandbox="local"))
    if found.walls is None:
        pytest.skip(found.said)
    return found.walls
