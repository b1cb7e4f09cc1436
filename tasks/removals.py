"""What the server asked this worker to remove is gone, and it is told so."""

from typing import TYPE_CHECKING

from agent_runner.clients.reporting.native import BackendError
from agent_runner.status.event_logger import event_logger
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def confirm(process: "RunnerProcess", what: pb.RemovedRequest) -> None:
    """A server that does not hear it asks again, and there is nothing to do then."""
    try:
        await process.backend.removed(what)
    except BackendError as exc:
        log.warning("removal.not_confirmed", what=what.sandbox_id or what.thread_id, error=exc)
