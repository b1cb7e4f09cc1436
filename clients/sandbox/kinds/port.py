"""What a run needs of its sandbox, whichever kind it is: commands, files, programs to talk to, and an end.

The contract suite (`tests/unit/sandbox/`) asks of every kind what the table in docs/guides/sandbox.md promises.
"""

import asyncio
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

from agent_runner.clients.masking.mask import Mask

if TYPE_CHECKING:
    from agent_runner.clients.sandbox.file_results import (
        DeleteResult,
        EditResult,
        FileDownloadResponse,
        FileUploadResponse,
        GlobResult,
        GrepResult,
        LsResult,
        ReadResult,
        WriteResult,
    )

OUTPUTS = ".agent-runner"
"""The folder of a sandbox for outputs that were too long, and for what tools return beside text."""
DEFAULT_MAX_RESULT_BYTES = 256 << 10
TIMEOUT_EXIT_CODE = 124
KILLED_EXIT_CODE = 137


class SandboxError(Exception):
    """The sandbox could not be set up; the text says what and why (reported as E305). `kind`: which one it was, if that
    is not the worker's own."""

    def __init__(self, text: str, *, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """`output` is stdout and stderr in order, masked. `truncated`: it was longer than the result limit and is cut."""

    output: str
    exit_code: int
    truncated: bool = False


class Service(Protocol):
    """A program that is spoken to over descriptors of this process. Whoever takes one closes it. `status_fd` gives the
    exit code as text when it has ended, with the limit that it broke, if any, after a space."""

    @property
    def input_fd(self) -> int: ...
    @property
    def output_fd(self) -> int: ...
    @property
    def errors_fd(self) -> int: ...
    @property
    def status_fd(self) -> int: ...


class Files(Protocol):
    """File operations: paths from the sandbox's root, contents that are read masked. Blocking."""

    def ls(self, path: str) -> "LsResult": ...
    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> "ReadResult": ...
    def write(self, file_path: str, content: str) -> "WriteResult": ...
    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> "EditResult": ...
    def delete(self, file_path: str) -> "DeleteResult": ...
    def glob(self, pattern: str, path: str | None = None) -> "GlobResult": ...
    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> "GrepResult": ...
    def upload_files(self, files: list[tuple[str, bytes]]) -> "list[FileUploadResponse]": ...
    def download_files(self, paths: list[str]) -> "list[FileDownloadResponse]": ...


class Sandbox(ABC):
    """The sandbox of one run. Files belong to the session and stay; what was started belongs to the run."""

    mask: Mask

    @property
    @abstractmethod
    def name(self) -> str:
        """For logs."""

    @property
    @abstractmethod
    def files(self) -> Files:
        """Blocking."""

    @abstractmethod
    async def execute(self, command: str, timeout: float | None = None) -> CommandResult:
        """Run `command` in `/bin/sh`. `timeout` in seconds, None or 0 for none (the run's own limit then ends it).

        A command that exceeds its timeout is killed and has exit code 124. Cancelling kills it before it returns.
        Raises SandboxError if it could not be started.
        """

    def execute_blocking(self, command: str, timeout: float | None = None) -> CommandResult:
        """`execute` for threads without an event loop."""
        return asyncio.run(self.execute(command, timeout))

    def put_folder(self, folder: str, files: Iterable[tuple[PurePosixPath, bytes, bool]]) -> None:
        """Replace the folder of that name at the sandbox's root: (path below it, content, whether it is a program).
        Blocking. Raises OSError."""
        given = [(f"/{folder}/{path}", content, program) for path, content, program in files]
        self.files.delete(f"/{folder}")
        for told in self.files.upload_files([(path, content) for path, content, _ in given]):
            if told.error:
                raise OSError(f"{told.path}: {told.error}")
        if programs := [path for path, _, program in given if program]:
            self.execute_blocking(f"chmod a+x {shlex.join(path.lstrip('/') for path in programs)}")

    def serve(self, argv: Sequence[str], env: Mapping[str, str], folder: str = "") -> Service:
        """Start a program that is spoken to over pipes. Blocking; raises SandboxError.

        Beside the variables that every program needs it sees `env` and nothing of the run's own. `folder`: where it
        starts, from the commands' working directory. It ends with the run, or by `end`.
        """
        raise SandboxError(f"programs of MCP servers cannot be started in {self.name}: give the server as `http`")

    async def end(self, service: Service) -> None:
        """Kill a service and all that it started."""
        raise SandboxError(f"{self.name} starts no services")

    @abstractmethod
    async def close(self) -> None:
        """End everything that the run started; the files stay. Idempotent."""
