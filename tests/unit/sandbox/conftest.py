"""Every test of the sandbox runs walled off, where this machine can, and without, as on machines that cannot."""

import os

import pytest

from agent_runner.clients.sandbox.isolation import isolation_of
from agent_runner.clients.sandbox.own_user import OwnUsers
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


def own_users() -> OwnUsers:
    """Skips the test where this process is not root, or has not got these users."""
    users = OwnUsers.of(Settings().sandbox_users)
    if os.geteuid() or users is None:
        pytest.skip("only root can give a session a user of its own")
    return users
