import pathlib
from collections.abc import Iterator

import pytest

from tests.integration.stack import Stack


@pytest.fixture
def stack(tmp_path: pathlib.Path) -> Iterator[Stack]:
    """Redis and a server; the test starts its workers."""
    with Stack.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def served(stack: Stack) -> Stack:
    """Redis, a server and one worker."""
    stack.start_worker()
    return stack
