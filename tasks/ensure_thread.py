"""EnsureThread: gives the execution its thread, the session's or a new one."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ulid import ULID

from agent_runner.clients.broker.task_names import ENSURE_THREAD
from agent_runner.clients.reporting.native import BackendError
from agent_runner.status.event_logger import bound, event_logger
from agent_runner.status.failures import Code
from agent_runner.status.timeouts import ENSURE_THREAD_ATTEMPTS, ENSURE_THREAD_BACKOFF_FACTOR
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.worker.run_spans import task_span
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def ensure_thread(
    process: "RunnerProcess", execution_id: str, carried: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """`{execution_id, thread_id}`; the thread id is empty if another delivery has it. Raises ExecutionError.

    All attempts are made in here: a retry by Celery would wait in the memory of this one worker.
    """
    if not execution_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Execution ID is required")
    span = task_span(process, ENSURE_THREAD, execution_id, carried)
    with bound(execution_id=execution_id, worker=process.name), span:
        return await _attempts(process, execution_id)


async def _attempts(process: "RunnerProcess", execution_id: str) -> dict[str, Any]:
    begin_id = uuid.uuid4().hex
    pause_s = process.settings.ensure_thread_backoff_s
    for left in reversed(range(ENSURE_THREAD_ATTEMPTS)):
        try:
            async with asyncio.timeout(process.settings.ensure_thread_timeout_s):
                return await _attempt(process, execution_id, begin_id)
        except (BackendError, TimeoutError) as exc:
            cause = str(exc) or f"the server did not answer within {process.settings.ensure_thread_timeout_s:g} s"
            if not left:
                text = f"no thread after {ENSURE_THREAD_ATTEMPTS} attempts: {cause}"
                raise ExecutionError.of(Code.SYSTEM, text) from None
            log.warning("thread.retry", execution_id=execution_id, cause=cause, pause_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s *= ENSURE_THREAD_BACKOFF_FACTOR
    raise AssertionError("unreachable")


async def _attempt(process: "RunnerProcess", execution_id: str, begin_id: str) -> dict[str, Any]:
    begun = await process.backend.begin(
        pb.BeginRequest(
            execution_id=execution_id,
            begin_id=begin_id,
            incarnation=process.incarnation,
            new_thread_id=new_thread_id(""),
        )
    )
    if not begun.granted:
        log.info("thread.not_ours", execution_id=execution_id, refusal=begun.refusal)
        return {"execution_id": execution_id, "thread_id": ""}
    thread_id = begun.thread_id or new_thread_id(begun.session_id)
    if not begun.done:  # an older server
        done = pb.DoneRequest(execution_id=execution_id, begin_id=begin_id, thread_id=thread_id)
        await process.backend.done(done)
    log.info(
        "thread.ready",
        execution_id=execution_id,
        session_id=begun.session_id,
        session_empty=not begun.session_id,
        thread_id=thread_id,
    )
    return {"execution_id": execution_id, "thread_id": thread_id}


def new_thread_id(session_id: str) -> str:
    """A session has one thread; without a session the thread is used once."""
    return f"thread-{session_id}" if session_id else f"ephemeral-{str(ULID()).lower()}"
