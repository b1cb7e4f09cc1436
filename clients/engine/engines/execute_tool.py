"""Our tool `execute`. Its message is an error if the exit code is not 0; the agent reads it and goes on."""

from typing import Annotated

from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from agent_runner.clients.engine.current import CurrentRun, current_run
from agent_runner.clients.sandbox.kinds.port import CommandResult, Sandbox, SandboxError

EXECUTE_DESCRIPTION = (
    "Run a shell command (/bin/sh) in the sandbox and get its output (stdout and stderr) and exit code. Quote paths"
    " with spaces. Join commands that depend on each other with &&. Output beyond the size limit is cut in the middle"
    " and kept whole in a file that the result names. A command without a timeout may run as long as the run may."
)


class ExecuteArguments(BaseModel):
    """The arguments of `execute`."""

    command: Annotated[str, Field(description="the shell command")]
    timeout: Annotated[int | None, Field(description="seconds after which it is killed; none by default", ge=1)] = None


def current() -> CurrentRun:
    """Raises SandboxError outside a run."""
    run = current_run()
    if run is None:
        raise SandboxError("this is outside of a run")
    return run


def current_sandbox() -> Sandbox:
    """Raises SandboxError outside a run or in a run without a sandbox."""
    sandbox = current().sandbox
    if sandbox is None:
        raise SandboxError("this run has no sandbox")
    return sandbox


def execute_tool() -> BaseTool:
    async def execute(command: str, runtime: ToolRuntime, timeout: int | None = None) -> ToolMessage:
        return _told(await current_sandbox().execute(command, timeout), runtime.tool_call_id)

    def execute_blocking(command: str, runtime: ToolRuntime, timeout: int | None = None) -> ToolMessage:
        return _told(current_sandbox().execute_blocking(command, timeout), runtime.tool_call_id)

    return StructuredTool.from_function(
        name="execute",
        description=EXECUTE_DESCRIPTION,
        func=execute_blocking,
        coroutine=execute,
        infer_schema=False,
        args_schema=ExecuteArguments,
    )


def _told(result: CommandResult, tool_call_id: str | None) -> ToolMessage:
    ended = "succeeded" if result.exit_code == 0 else "failed"
    return ToolMessage(
        content=f"{result.output.rstrip(chr(10))}\n[Command {ended} with exit code {result.exit_code}]",
        name="execute",
        tool_call_id=tool_call_id or "",
        artifact={"exit_code": result.exit_code, "truncated": result.truncated},
        status="success" if result.exit_code == 0 else "error",
    )
