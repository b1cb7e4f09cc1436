"""The deepagents backend over the sandbox of the current run, so that concurrent runs share one compiled graph."""

import asyncio
from dataclasses import fields
from typing import Any, TypeVar

from deepagents.backends.protocol import (
    DeleteResult,
    EditResult,
    ExecuteResponse,
    FileDownloadResponse,
    FileUploadResponse,
    GlobResult,
    GrepResult,
    LsResult,
    ReadResult,
    SandboxBackendProtocol,
    WriteResult,
)

from agent_runner.clients.engine.engines.execute_tool import current, current_sandbox
from agent_runner.clients.sandbox.kinds.port import Files


class CurrentSandboxBackend(SandboxBackendProtocol):
    """Has no state: every call finds the run's sandbox. Raises SandboxError outside a run or in a run without a
    sandbox."""

    @property
    def id(self) -> str:
        return current_sandbox().name

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        result = current_sandbox().execute_blocking(command, timeout)
        return ExecuteResponse(output=result.output, exit_code=result.exit_code, truncated=result.truncated)

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        result = await current_sandbox().execute(command, timeout)
        return ExecuteResponse(output=result.output, exit_code=result.exit_code, truncated=result.truncated)

    def ls(self, path: str) -> LsResult:
        return _as(LsResult, _files().ls(path))

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        return _as(ReadResult, _files().read(file_path, offset, limit))

    def write(self, file_path: str, content: str) -> WriteResult:
        with current().file_changes:
            return _as(WriteResult, _files().write(file_path, content))

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        with current().file_changes:
            return _as(EditResult, _files().edit(file_path, old_string, new_string, replace_all))

    def delete(self, file_path: str) -> DeleteResult:
        return _as(DeleteResult, _files().delete(file_path))

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        return _as(GlobResult, _files().glob(pattern, path))

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        return _as(GrepResult, _files().grep(pattern, path, glob, max_count=max_count))

    async def agrep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        return await asyncio.to_thread(self.grep, pattern, path, glob, max_count=max_count)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [_as(FileUploadResponse, one) for one in _files().upload_files(files)]

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [_as(FileDownloadResponse, one) for one in _files().download_files(paths)]


R = TypeVar("R")


def _as(kind: type[R], result: Any) -> R:
    """The same answer as a record of deepagents."""
    return kind(**{field.name: getattr(result, field.name) for field in fields(result)})


def _files() -> Files:
    return current_sandbox().files
