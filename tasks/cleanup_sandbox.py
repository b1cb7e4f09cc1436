"""CleanupSandbox: removes a session's sandbox when the session is deleted."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from clients.sandbox.local import LocalSandbox
from status.failures import Code
from tasks.failing import ExecutionError
from tasks.run.setup import sandbox_dir

if TYPE_CHECKING:
    from tasks.process import RunnerProcess

log = logging.getLogger(__name__)


async def cleanup_sandbox(process: "RunnerProcess", session_id: str, sandbox_id: str) -> dict[str, Any]:
    """`{session_id, removed}`. Removing what is not there is fine."""
    if not session_id and not sandbox_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Session ID is required for CleanupSandbox")
    directory = sandbox_dir(process.settings, sandbox_id or session_id)
    if not directory.exists():
        return {"session_id": session_id, "removed": False}
    await asyncio.to_thread(LocalSandbox(directory).remove)
    log.info("sandbox of session %s is removed", session_id)
    return {"session_id": session_id, "removed": not directory.exists()}
