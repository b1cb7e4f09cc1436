"""RabbitMQ goes away in mid-run, refuses, forgets: every tool runs once (L4), and publishing works again by itself."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator

import amqp
import pytest

from agent_runner.app.cli.checks import check_broker
from agent_runner.clients.broker.publisher import Publisher, PublishError
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Step
from agent_runner.status.timeouts import Timeouts
from tests.integration.messages import left_behind
from tests.integration.rabbitmq import RabbitNode
from tests.integration.shared import SharedStacks
from tests.integration.stack import Stack
from tests.integration.test_one_start import Witnessed, settle_down
from tests.support.waiting import eventually

QUEUE = "publishing"
OLD_ENOUGH_S = 2.0
"""A node that is killed within a second of declaring a quorum queue has lost the queue for good (3.10)."""


@pytest.fixture
def stack(servers: SharedStacks, node: RabbitNode) -> Iterator[Stack]:
    """Each test has a worker of its own; the server has lived through what earlier tests did to the node."""
    with servers.lent(node.url) as lent:
        yield lent


def serves_on(stack: Stack) -> None:
    """A broker that has just started may need a moment; until then nothing is accepted."""

    def create() -> str | None:
        answer = stack.http.post("/v1/executions", json={"message": "$ echo again"})
        assert answer.status_code in (201, 503), answer.text
        return str(answer.json()["metadata"]["id"]) if answer.status_code == 201 else None

    assert stack.wait_for(eventually(create))["status"]["phase"] == "EXECUTION_COMPLETED"


def let_pass(seconds: float) -> None:
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= until, within_s=seconds + 20)


@pytest.mark.parametrize(
    ("how", "down_s", "pool"),
    [(signal.SIGKILL, 0.2, "async"), (signal.SIGTERM, 3.0, "async"), (signal.SIGKILL, 0.2, "prefork")],
)
def test_the_node_is_restarted_in_mid_run(
    node: RabbitNode, stack: Stack, how: signal.Signals, down_s: float, pool: str
) -> None:
    """Killed or stopped: the worker process lives, the run completes with one start, and the next execution runs."""
    worker = stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2").child()
    witnessed = Witnessed(stack, pause_s=4 + OLD_ENOUGH_S)
    id = witnessed.start()
    eventually(witnessed.started)
    let_pass(OLD_ENOUGH_S)
    node.end(how)
    let_pass(down_s)
    node.start()
    settle_down(stack, id, witnessed)
    serves_on(stack)
    assert worker.is_running()
    assert left_behind(stack) == 0
    assert witnessed.lines() == ["first", "second"]


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_every_connection_is_closed_by_an_operator(node: RabbitNode, stack: Stack, pool: str) -> None:
    """The message comes again while its run goes on, and starts nothing."""
    worker = stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2").child()
    witnessed = Witnessed(stack, pause_s=4)
    id = witnessed.start()
    eventually(witnessed.started)
    node.close_connections()
    settle_down(stack, id, witnessed)
    assert witnessed.lines() == ["first", "second"]
    serves_on(stack)
    assert worker.is_running()
    assert left_behind(stack) == 0


def test_a_run_is_longer_than_the_brokers_consumer_timeout(node: RabbitNode, stack: Stack) -> None:
    """RabbitMQ before 3.12 knows no timeout per queue and closes the channel: the worker lives, the run completes."""
    worker = stack.start_worker()
    child = worker.child()
    witnessed = Witnessed(stack, pause_s=16)
    id = witnessed.start()
    settle_down(stack, id, witnessed)
    if not node.version >= (3, 12):
        assert "delivery acknowledgement on channel" in worker.output()
    assert child.is_running()
    serves_on(stack)
    assert left_behind(stack) == 0


@pytest.fixture
def publisher(node: RabbitNode) -> Iterator[Publisher]:
    publisher = Publisher(Settings(broker_url=node.url, redis_url="redis://127.0.0.1:1/0"))
    yield publisher
    publisher.close()
    node.delete_queue(QUEUE)


async def publish(publisher: Publisher, times: int = 1) -> None:
    sent = (publisher.publish(f"exec-{n}", Step.EXECUTE, QUEUE, QUEUE, Timeouts()) for n in range(times))
    await asyncio.gather(*sent)


async def publish_soon(publisher: Publisher) -> None:
    """A broker that has just started may need a moment."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(PublishError):
            return await publish(publisher)
    raise AssertionError("not published within 30 s")


async def refused(publisher: Publisher) -> None:
    began = time.monotonic()
    with pytest.raises(PublishError):
        await publish(publisher)
    assert time.monotonic() - began < 20  # the deadline is 5 s, and nobody waits for ever


async def test_publishing_works_again_after_the_broker_was_away(node: RabbitNode, publisher: Publisher) -> None:
    """No stale connection stays in the pool, and what was confirmed survives the kill of the node."""
    await publish(publisher, 8)
    await asyncio.sleep(OLD_ENOUGH_S)
    await asyncio.to_thread(node.kill)
    for _ in range(5):
        await refused(publisher)
    with pytest.raises(PublishError):
        await publisher.queue_length(QUEUE)
    await asyncio.to_thread(node.start)
    await publish_soon(publisher)
    waiting = await publisher.queue_length(QUEUE)
    assert waiting >= 9
    await asyncio.to_thread(node.close_connections)
    assert await publisher.queue_length(QUEUE) == waiting
    await asyncio.to_thread(node.close_connections)
    await publish(publisher, 8)
    assert await publisher.queue_length(QUEUE) == waiting + 8


async def test_a_broker_that_stands_still_or_takes_nothing_is_told_in_time(
    node: RabbitNode, publisher: Publisher
) -> None:
    """Frozen, or out of memory: PublishError within the deadline, and at once well again afterwards."""
    await publish(publisher)
    node.signal(signal.SIGSTOP)
    try:
        await refused(publisher)
        await refused(publisher)
    finally:
        node.signal(signal.SIGCONT)
    await publish_soon(publisher)
    await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.00001")
    try:
        await refused(publisher)
    finally:
        await asyncio.to_thread(node.ctl, "set_vm_memory_high_watermark", "0.4")
    await publish_soon(publisher)


async def test_a_deleted_queue_is_declared_again(node: RabbitNode, publisher: Publisher) -> None:
    """A message to a queue that is gone does not vanish."""
    await publish(publisher)
    node.delete_queue(QUEUE)
    assert await publisher.queue_length(QUEUE) == 0
    await publish(publisher)
    assert await publisher.queue_length(QUEUE) == 1


async def test_queues_are_quorum_queues_and_doctor_knows_the_others(
    node: RabbitNode, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that was declared otherwise is used as it is, and said so."""
    settings = Settings(broker_url=node.url, redis_url="redis://h/0", runner_queue=QUEUE, orchestrator_queue="absent")
    await publish(publisher)
    assert node.type_of(QUEUE) == "quorum"
    check = await asyncio.to_thread(check_broker, settings)
    assert check.up
    assert "RabbitMQ 3." in check.why or "RabbitMQ 4." in check.why
    assert "declared otherwise" not in check.why
    assert "guest:guest" not in check.why
    node.delete_queue(QUEUE)
    with amqp.Connection(f"127.0.0.1:{node.port}") as connection:
        connection.channel().queue_declare(QUEUE, durable=True, auto_delete=False)
    node.close_connections()
    await publish(publisher)
    assert node.type_of(QUEUE) == "classic"
    assert await publisher.queue_length(QUEUE) == 1
    assert f"the queue {QUEUE} stays as it is" in caplog.text
    check = await asyncio.to_thread(check_broker, settings)
    assert check.up
    assert f"queue {QUEUE} was declared otherwise" in check.why
    assert node.type_of("absent") == ""


def test_a_broker_that_is_down_is_red(node: RabbitNode) -> None:
    """`doctor` says where it looked, without the password."""
    check = check_broker(Settings(broker_url="amqp://user:secret@127.0.0.1:1//", redis_url="redis://h/0"))
    assert not check.up
    assert "127.0.0.1:1" in check.why
    assert "secret" not in check.why
