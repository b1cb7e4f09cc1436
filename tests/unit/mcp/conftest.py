"""Servers run walled off, where this machine can, and without, as on machines that cannot."""

import pytest

from agent_runner.clients.sandbox.walls import Walls
from tests.unit.sandbox.conftest import own_walls


@pytest.fixture(params=["isolated", "not isolated"])
def walls(request: pytest.FixtureRequest) -> Walls | None:
    return own_walls() if request.param == "isolated" else None
