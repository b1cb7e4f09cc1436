"""Tells the server that this worker has removed what the server asked it to remove."""

from typing import TYPE_CHECKING

from agent_runner.clients.reporting.native import BackendError
from agent_runner.status.event_logger import event_logger
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def confirm(process: "RunnerProcess", what: pb.RemovedRequest) -> None:
    """A server that does not get the confirmation asks again; the worker then finds nothing to remove."""
    try:
        await process.backend.removed(what)
    except BackendError as exc:
        log.warning("removal.not_confirmed", what=what.sandbox_id or what.thread_id, error=exc)
