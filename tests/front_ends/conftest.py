"""A server and a worker with the graphs of `graphs/`, for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.front_ends.front_end import FrontEnd
from tests.integration.stack import Stack

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("front_ends")
    with Stack.open(folder, AGENT_RUNNER_GRAPHS=str(GRAPHS)) as stack:
        stack.start_worker()
        yield stack


@pytest.fixture
def front_end(served: Stack) -> FrontEnd:
    return FrontEnd(served)
