import os
import pathlib
from collections.abc import Iterator

import pytest

from tests.integration.rabbitmq import VARIABLE, RabbitNode, a_node
from tests.integration.shared import SharedStacks
from tests.integration.stack import Stack


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> str:
    """The URL of RabbitMQ, or nothing: the stack's own Redis. See `EVERY_BROKER`."""
    return os.environ[VARIABLE] if getattr(request, "param", "redis") == "rabbitmq" else ""


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A RabbitMQ that a test may restart; it leaves it running."""
    with a_node(tmp_path_factory.mktemp("rabbitmq")) as started:
        yield started


@pytest.fixture
def stack(tmp_path: pathlib.Path, broker: str) -> Iterator[Stack]:
    """Redis and a server; the test starts its workers."""
    with Stack.open(tmp_path, broker) as opened:
        yield opened


@pytest.fixture
def served(stack: Stack) -> Stack:
    """Redis, a server and one worker."""
    stack.start_worker()
    return stack


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStacks]:
    """With one worker each."""
    with SharedStacks(lambda: tmp_path_factory.mktemp("shared"), Stack.start_worker) as opened:
        yield opened


@pytest.fixture
def shared(stacks: SharedStacks, broker: str) -> Iterator[Stack]:
    """As `served`, but other tests of the module have it before and after: 12 s less on a full machine."""
    with stacks.lent(broker) as stack:
        yield stack


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStacks]:
    """Without workers."""
    with SharedStacks(lambda: tmp_path_factory.mktemp("server")) as opened:
        yield opened


@pytest.fixture
def shared_server(servers: SharedStacks, broker: str) -> Iterator[Stack]:
    """As `stack`, but other tests of the module have it before and after. Workers that a test starts end with it."""
    with servers.lent(broker) as stack:
        yield stack
