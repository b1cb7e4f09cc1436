"""A worker that is told to leave takes nothing along."""

import signal

import pytest

from tests.integration.messages import waiting
from tests.integration.rabbitmq import EVERY_BROKER
from tests.integration.stack import Stack
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER

IN_THE_HANDLER = "Hitting Ctrl+C again"
"""What Celery prints first when SIGQUIT arrives; from then on, and for seconds, its main thread is in the handler."""


@pytest.mark.parametrize("pool", ["async", "prefork"])
def test_what_is_sent_during_a_cold_stop_stays_on_the_queue(shared_server: Stack, pool: str) -> None:
    """SIGQUIT in mid-tool: the worker lingers for seconds, and meanwhile no message is in its hands."""
    stack = shared_server
    worker = stack.start_worker(AGENT_RUNNER_POOL=pool, AGENT_RUNNER_CONCURRENCY="2")
    id = stack.create("$ sleep 60")["metadata"]["id"]
    stack.wait_text(id, "TOOL_CALL_RUNNING")
    worker.kill(signal.SIGQUIT)
    eventually(lambda: IN_THE_HANDLER in worker.output(), what="the worker to begin its cold stop")
    later = stack.create("$ echo later")["metadata"]["id"]
    eventually(lambda: waiting(stack) == 1, what="the message on the queue")
    assert worker.popen.poll() is None
    assert stack.wait_for(id)["status"]["error"].endswith("[E106 WORKER_SHUTDOWN]")
    worker.popen.wait(30)
    # Next to the message of the run that was ended, perhaps: it is not acknowledged, and refused where it comes again.
    assert waiting(stack) >= 1
    stack.start_worker()
    assert stack.wait_for(later)["status"]["phase"] == "EXECUTION_COMPLETED"
