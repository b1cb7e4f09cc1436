"""A deepagents backend of another package as a kind of sandbox: masked, cut, with a timeout that ends the waiting.

What the backend itself does not do, nobody does for it: walls, limits and the end of what a command has started are its
own. One with a method `close` is closed at the end of each run, one with `remove` when its session is deleted.
"""

import asyncio
import io
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from deepagents.backends.protocol import (
    DeleteResult,
    EditResult,
    FileDownloadResponse,
    FileUploadResponse,
    GlobResult,
    GrepResult,
    LsResult,
    ReadResult,
    SandboxBackendProtocol,
    WriteResult,
    execute_accepts_timeout,
)

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.process.threads import own
from agent_runner.clients.sandbox.kinds.kind import Health, SandboxKind, SandboxRequest
from agent_runner.clients.sandbox.kinds.port import (
    OUTPUTS,
    TIMEOUT_EXIT_CODE,
    CommandResult,
    Files,
    Sandbox,
    SandboxError,
)
from agent_runner.clients.sandbox.output import Output

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

Factory = Callable[[SandboxRequest], SandboxBackendProtocol]


class BackendKind(SandboxKind):
    """`factory` gives the backend of a session, whether it is there already or not."""

    def __init__(self, settings: "Settings", name: str, factory: Factory) -> None:
        super().__init__(settings)
        self._name, self._factory = name, factory

    def open(self, request: SandboxRequest) -> "BackendSandbox":
        return BackendSandbox(self._backend(request), request, self._name)

    def remove(self, name: str) -> bool:
        if not hasattr(self._factory, "remove"):
            return False
        try:
            return bool(self._factory.remove(name))
        except Exception as error:
            raise SandboxError(f"it cannot be removed: {type(error).__name__}: {error}", kind=self._name) from error

    def health(self) -> Health:
        return Health(up=True, said=f"{self._name}, of an installed package; what keeps commands apart is its own")

    def _backend(self, request: SandboxRequest) -> SandboxBackendProtocol:
        try:
            made = self._factory(request)
        except Exception as error:
            raise SandboxError(f"{type(error).__name__}: {error}", kind=self._name) from error
        if not isinstance(made, SandboxBackendProtocol):
            raise SandboxError(f"its entry point made a {type(made).__name__}, which runs no commands", kind=self._name)
        return made


class BackendSandbox(Sandbox):
    def __init__(self, backend: SandboxBackendProtocol, request: SandboxRequest, kind: str) -> None:
        self._backend, self._kind = backend, kind
        self.mask, self._limit = request.mask, request.max_result_bytes
        self._count = 0

    @property
    def name(self) -> str:
        return f"{self._kind} {self._backend.id}"

    @property
    def files(self) -> Files:
        return cast("Files", _MaskedFiles(self._backend, self.mask))

    async def execute(self, command: str, timeout: float | None = None) -> CommandResult:
        options = {"timeout": math.ceil(timeout)} if timeout and execute_accepts_timeout(type(self._backend)) else {}
        try:
            async with asyncio.timeout(timeout or None):
                said = await self._backend.aexecute(command, **options)
        except TimeoutError:
            text = f"[given up: it did not end within {timeout:g} s]"
            return CommandResult(output=text, exit_code=TIMEOUT_EXIT_CODE)
        except Exception as error:
            raise SandboxError(f"the command could not be run: {error}", kind=self._kind) from error
        self._count += 1
        output = uploaded_output(self._backend, self.mask, self._limit, f"output-{id(self):x}-{self._count}.txt")
        output.feed(said.output.encode())
        text = await own(output.text)
        cut = said.truncated or output.truncated
        return CommandResult(output=text, exit_code=said.exit_code or 0, truncated=cut)

    async def close(self) -> None:
        if callable(close := getattr(self._backend, "close", None)):
            await own(close)


def uploaded_output(backend: Any, mask: Mask, limit: int, name: str) -> Output:
    """An output whose whole text is uploaded, masked, if it is too long to be shown. `backend` has `upload_files`."""
    shown = f"/{OUTPUTS}/{name}"
    return Output(limit=limit, mask=mask, shown_path=shown, create=lambda: cast("BinaryIO", _Upload(backend, shown)))


class _Upload(io.BytesIO):
    def __init__(self, backend: Any, path: str) -> None:
        super().__init__()
        self._upload, self._path = backend.upload_files, path

    def close(self) -> None:
        if self.closed:
            return
        data = self.getvalue()
        super().close()
        (told,) = self._upload([(self._path, data)])
        if told.error:
            raise OSError(told.error)


class _MaskedFiles:
    """What is read is masked; everything else goes to the backend as it is."""

    def __init__(self, backend: SandboxBackendProtocol, mask: Mask) -> None:
        self._backend, self._mask = backend, mask

    def ls(self, path: str) -> LsResult:
        return self._backend.ls(path)

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        found = self._backend.read(file_path, offset, limit)
        if found.file_data and found.file_data.get("encoding") != "base64":
            found.file_data["content"] = self._mask(found.file_data["content"])
        return found

    def write(self, file_path: str, content: str) -> WriteResult:
        return self._backend.write(file_path, content)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        found = self._backend.edit(file_path, old_string, new_string, replace_all)
        if found.error:
            found.error = self._mask(found.error)
        return found

    def delete(self, file_path: str) -> DeleteResult:
        return self._backend.delete(file_path)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        return self._backend.glob(pattern, path)

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        found = self._backend.grep(pattern, path, glob)
        if found.matches:
            for match in found.matches:
                match["text"] = self._mask(match["text"])
            if max_count is not None and len(found.matches) > max_count:
                return GrepResult(matches=found.matches[:max_count], truncated=True)
        return found

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return self._backend.upload_files(files)

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        found = self._backend.download_files(paths)
        for told in found:
            if told.content is not None:
                told.content = self._mask.of_bytes(told.content)
        return found
