"""What a worker does before its first run comes."""

import gc
import sys
from collections.abc import Iterator

import pytest

from agent_runner.tasks.worker.process import warm_up


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """As in a process that begins; what tests/conftest.py had frozen is frozen afterwards."""
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def test_the_collector_does_not_look_at_what_was_imported() -> None:
    """The engine's modules make hundreds of thousands of objects that stay; each look at them would stop all runs."""
    gc.collect()
    assert len(gc.get_objects()) > gc.get_freeze_count()
    warm_up("deepagents")
    assert {"langgraph.pregel", "deepagents"} <= sys.modules.keys()
    assert len(gc.get_objects()) < gc.get_freeze_count() / 10


def test_an_engine_that_cannot_be_imported_is_the_first_runs_failure() -> None:
    """Warming up raises nothing."""
    try:
        warm_up("there is no such engine")
    except Exception as error:
        pytest.fail(f"raised {error!r}")
