"""CleanupSandbox: removes the sandbox of a session that was deleted, or was not used for long.

The server never names a sandbox here that a run uses or may get: a session that continues has a new one by then.
"""

from typing import TYPE_CHECKING, Any

from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.removals import confirm
from agent_runner.tasks.run.setup import sandbox_dir
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def cleanup_sandbox(process: "RunnerProcess", session_id: str, sandbox_id: str) -> dict[str, Any]:
    """`{session_id, removed}`. A missing sandbox is no error. Raises ExecutionError when some files stay."""
    if not session_id and not sandbox_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Session ID is required for CleanupSandbox")
    directory = sandbox_dir(process.settings, sandbox_id or session_id)
    there = directory.exists()
    if there:
        await own(LocalSandbox(directory).remove)
        if directory.exists():
            raise ExecutionError.of(Code.SANDBOX, f"not all of {directory} can be removed")
        log.info("sandbox.removed", sandbox=directory.name, session_id=session_id)
    await confirm(process, pb.RemovedRequest(sandbox_id=sandbox_id))
    return {"session_id": session_id, "removed": there}
