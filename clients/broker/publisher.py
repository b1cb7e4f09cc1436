"""The publisher: turns decisions of the server into messages on the queues.

    PublishError     the message was not handed to the broker in time

A message carries only the execution's id. Messages are hints: the rows in the database are the real queue. Sending a
message twice does no harm, because only one copy gets the claim.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from celery import chain
from celery.canvas import Signature
from kombu.exceptions import ChannelError

from agent_runner.clients.broker.celery_config import PUBLISH_THREADS, is_redis, new_celery, queue_named
from agent_runner.clients.broker.task_names import (
    CLEANUP_SANDBOX,
    ENSURE_THREAD,
    EXECUTE_GRAPHTON,
    PRUNE_THREAD,
    QUERY_GRAPH,
    REPORT_FAILURE,
    STEP_OF_TASK,
    task_id,
)
from agent_runner.status.phases import Step
from agent_runner.status.timeouts import SETTLE_BACKSTOP_HARD_S, SETTLE_BACKSTOP_SOFT_S, Timeouts

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

PUBLISH_DEADLINE_S = 5.0
RUBBISH_AFTER_S = 3600.0
"""A message is thrown away this long after schedule-to-start. Rubbish collection only: it uses a worker's clock."""
REMOVAL_EXPIRES_S = 86_400.0
"""The server sends a removal that nobody confirmed again once a day: workers that are away find one of each."""


class PublishError(Exception):
    """The broker did not take the message in time; the text says why."""


class Publisher:
    """Sends messages from an event loop without blocking it: kombu blocks, so it gets a few threads of its own."""

    def __init__(self, settings: "Settings", *, deadline_s: float = PUBLISH_DEADLINE_S) -> None:
        self._app = new_celery(settings, main="agent_runner.publisher")
        self._deadline_s = deadline_s
        options = dict(self._app.conf.broker_transport_options)
        if is_redis(settings.broker_url):
            options |= {"socket_timeout": deadline_s * 0.8, "socket_connect_timeout": deadline_s * 0.6}
        else:
            # Time for a second try, on a new connection.
            options |= {"reply_timeout": deadline_s * 0.4}
        self._app.conf.update(
            # With a result backend the publisher would subscribe to every result, although it reads none. It would
            # unsubscribe when the result object is collected, which blocks the event loop.
            result_backend=None,
            broker_transport_options=options,
            broker_connection_timeout=deadline_s * 0.6,
            broker_pool_limit=PUBLISH_THREADS,
            task_publish_retry_policy={"max_retries": 2, "interval_start": 0.05, "interval_step": 0.2},
        )
        self._broker_url, self._unacked_for_s = settings.broker_url, 2 * settings.max_run_s
        self._threads = ThreadPoolExecutor(PUBLISH_THREADS, thread_name_prefix="publish")
        self._first = Lock()

    async def publish(
        self,
        execution_id: str,
        step: Step,
        runner_queue: str,
        orchestrator_queue: str,
        timeouts: Timeouts,
        carried: Mapping[str, str] | None = None,
        *,
        attempt: int = 1,
    ) -> None:
        """Send the message for `step`: the whole chain, or ExecuteGraphton alone. Raises `PublishError`.

        `carried`: headers besides the identity, which hold the trace that the execution belongs to.
        """
        message = self._message(execution_id, step, runner_queue, orchestrator_queue, timeouts, carried or {}, attempt)
        await self._in_time(message.apply_async)

    async def publish_cleanup(self, session_id: str, sandbox_id: str, queue: str) -> None:
        """Have a worker remove a session's sandbox. Raises `PublishError`."""
        await self._publish_removal(CLEANUP_SANDBOX, session_id, sandbox_id, queue)

    async def publish_prune(self, thread_id: str, head_checkpoint_id: str, queue: str) -> None:
        """Have a worker remove the checkpoints of a thread that the head does not need; without a head, all of them.

        Raises `PublishError`.
        """
        await self._publish_removal(PRUNE_THREAD, thread_id, head_checkpoint_id, queue)

    async def publish_query(self, query_id: str, queue: str, within_s: float) -> None:
        """Have a worker answer a question about a graph; it is of no use after `within_s`. Raises `PublishError`."""
        self._know(queue)
        options = {"queue": queue, "ignore_result": True, "expires": within_s}
        await self._in_time(self._signature(QUERY_GRAPH, query_id, **options).apply_async)

    async def _publish_removal(self, task: str, first: str, second: str, queue: str) -> None:
        self._know(queue)
        options = {"queue": queue, "ignore_result": True, "expires": REMOVAL_EXPIRES_S}
        await self._in_time(self._signature(task, first, second, **options).apply_async)

    async def queue_length(self, queue: str) -> int:
        """Messages that wait on the broker's queue; 0 when it does not exist. Raises `PublishError`."""
        return cast(int, await self._in_time(lambda: self._length(queue)))

    def close(self) -> None:
        """Does not wait for a broker that does not answer."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._app.close()

    async def _in_time(self, send: Any) -> Any:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, self._sent, send)
        except TimeoutError as exc:
            raise PublishError(f"the broker did not answer within {self._deadline_s:g} s") from exc
        except Exception as exc:
            raise PublishError(f"{type(exc).__name__}: {exc}") from exc

    def _sent(self, send: Callable[[], Any]) -> Any:
        with self._first:
            # Celery makes its pool with the first message, and its limit after it. A second thread that has taken a
            # connection by then would make the first one fail: "Can't shrink pool when in use".
            _ = self._app.amqp.producer_pool
        return send()

    def _message(
        self,
        execution_id: str,
        step: Step,
        runner_queue: str,
        orchestrator_queue: str,
        timeouts: Timeouts,
        carried: Mapping[str, str],
        attempt: int,
    ) -> Signature[Any]:
        for queue in (runner_queue, orchestrator_queue):
            self._know(queue)
        # Options are set on each task: set on the chain, expiry, limits and headers would reach the first task only.
        report = self._signature(REPORT_FAILURE, execution_id, queue=orchestrator_queue, ignore_result=True)
        close_s = timeouts.start_to_close_s
        rest: dict[str, Any] = {
            "queue": runner_queue,
            "expires": timeouts.start_within_s + RUBBISH_AFTER_S,
            "link_error": [report],
        }
        execute = self._signature(
            EXECUTE_GRAPHTON,
            execution_id,
            **_identity(execution_id, EXECUTE_GRAPHTON, carried, attempt),
            soft_time_limit=close_s + SETTLE_BACKSTOP_SOFT_S,
            time_limit=close_s + SETTLE_BACKSTOP_HARD_S,
            **rest,
        )
        if step is Step.EXECUTE:
            return execute
        ensure = self._signature(
            ENSURE_THREAD,
            execution_id,
            **_identity(execution_id, ENSURE_THREAD, carried, attempt),
            soft_time_limit=timeouts.ensure_thread_s + SETTLE_BACKSTOP_SOFT_S,
            time_limit=timeouts.ensure_thread_s + SETTLE_BACKSTOP_HARD_S,
            **rest,
        )
        return chain(ensure, execute, app=self._app)

    def _know(self, queue: str) -> None:
        """Add a queue of another name, with the same arguments as its workers declare it with."""
        if queue not in self._app.amqp.queues:
            self._app.amqp.queues.add(queue_named(queue, self._broker_url, self._unacked_for_s))

    def _signature(self, task: str, *args: str, **options: Any) -> Signature[Any]:
        return Signature(task, args=args, options=options, immutable=True, app=self._app)

    def _length(self, queue: str) -> int:
        with self._app.connection_or_acquire() as connection:

            def look(channel: Any) -> int:
                try:
                    return int(channel.queue_declare(queue, passive=True).message_count)
                except (ChannelError, *connection.channel_errors):
                    return 0

            # The broker may have closed a connection of the pool.
            return int(connection.autoretry(look, max_retries=1)()[0])


def _identity(execution_id: str, task: str, carried: Mapping[str, str], attempt: int = 1) -> dict[str, Any]:
    later = {"attempt": attempt} if attempt > 1 else {}
    return {
        "task_id": task_id(execution_id, task, attempt),
        "headers": {**carried, "execution_id": execution_id, "step": STEP_OF_TASK[task], **later},
    }
