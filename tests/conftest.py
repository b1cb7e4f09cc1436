"""What holds for every test: a proxy of whoever runs them is none of theirs, as it is none of our channels'.

Compiled bytecode is kept. Without it, every process that a test starts compiles all that it imports: 5 s instead of 1.
How long Hypothesis takes for an example is no law: on a machine full of work it is anything.
What the collection makes stays until the end, so the garbage collector does not look at it.
Other threads may make loggers while pytest looks through all of them.
"""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.order import by_module, in_parts, part_count
from tests.support import logger_names

for _name in [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")]:
    del os.environ[_name]  # before anything is imported: clients read them when they are made

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")  # before any test takes the default over
logger_names.install()
gc.disable()  # all tests and all that they import: to look through it again and again was half of the collection


@pytest.hookimpl(trylast=True)  # after the order was made random
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With xdist: slow tests first, in each process."""
    if parts := part_count():
        root = Path(__file__).parent
        items[:] = in_parts(by_module(items, lambda item: os.path.relpath(item.path, root)), parts)


@pytest.fixture(params=["callbacks", "astream_events"])
def both_sources(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's events come from our callbacks, then from LangGraph's `astream_events`. The second run also checks, event
    by event, that callbacks tell the same of it."""
    if request.param == "astream_events":
        from agent_runner.clients.engine.stream import event_stream
        from tests.support.event_sources import compared

        monkeypatch.setattr(event_stream, "read_events", compared)


def pytest_collection_finish() -> None:
    """From now on objects come and go."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """Databases that were kept for one more test go with the last one."""
    if databases := sys.modules.get("tests.support.databases"):
        databases.drop_all()
