"""CleanupSandbox: removes the sandbox of a session that was deleted, or was not used for long.

The server never names a sandbox here that a run uses or may get: a session that continues has a new one by then.
"""

from typing import TYPE_CHECKING, Any

from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.kinds.local import remove_dir, session_dir
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.kinds.registry import kinds_of
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.removals import confirm
from agent_runner.tasks.run.setup import sandbox_name
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)


async def cleanup_sandbox(process: "RunnerProcess", session_id: str, sandbox_id: str) -> dict[str, Any]:
    """`{session_id, removed}`. A missing sandbox is no error. Raises ExecutionError when some files stay."""
    if not session_id and not sandbox_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Session ID is required for CleanupSandbox")
    name = sandbox_name(sandbox_id or session_id)
    there = False
    # The directory on this machine may be of a time when the worker offered another kind.
    removals = [kind.remove for kind in kinds_of(process.settings).values()]
    for remove in (*removals, lambda name: remove_dir(session_dir(process.settings, name))):
        try:
            there = await own(remove, name) or there
        except SandboxError as error:
            raise ExecutionError.of(Code.SANDBOX, str(error)) from None
    if there:
        log.info("sandbox.removed", sandbox=name, session_id=session_id)
    await confirm(process, pb.RemovedRequest(sandbox_id=sandbox_id))
    return {"session_id": session_id, "removed": there}
