"""The file tools over Daytona's file interface. Paths are absolute from the session's directory (`/notes.txt`); a real
path below it (what `pwd` prints) works too. Content that is read is masked.

A link may lead anywhere in the sandbox: the sandbox is the wall, and commands can go there as well.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.daytona.sdk import Service, is_missing
from agent_runner.clients.sandbox.file_results import (
    DeleteResult,
    EditResult,
    FileDownloadResponse,
    FileInfo,
    FileUploadResponse,
    GlobPatternError,
    GlobResult,
    GrepMatch,
    GrepResult,
    LsResult,
    ReadResult,
    WriteResult,
    edited,
    glob_matcher,
    shown,
)
from agent_runner.clients.sandbox.files import MAX_GLOB_MATCHES, MAX_READ_BYTES, NOT_WALKED
from agent_runner.clients.sandbox.kinds.port import SandboxError

TRANSFER_S = 120
SEARCH_S = 20.0
DEPTH = 64
REGULAR = ("-", "L")
"""The first letter of a file's mode as Daytona tells it: a regular file, or a link, which is followed."""


class Refused(ValueError):
    """The text is for the model."""


class RemoteFiles:
    """Blocking. `work_dir`: a real path in the sandbox."""

    def __init__(self, service: Service, box: Any, work_dir: str, mask: Mask) -> None:
        self._service, self._box, self._work_dir, self._mask = service, box, work_dir, mask

    def real(self, path: str) -> str:
        return f"{self._work_dir}{self._shown(path)}".rstrip("/") or "/"

    def _shown(self, path: str) -> str:
        """The path from the session's directory; empty for that directory itself."""
        given = os.path.normpath(f"/{path.lstrip('/')}")
        if given == self._work_dir or given.startswith(f"{self._work_dir}/"):
            given = given[len(self._work_dir) :]
        return given.rstrip("/")

    def put(self, real: str, source: bytes | str) -> None:
        """Write a file at a real path: these bytes, or those of a file of this machine. Raises SandboxError."""
        try:
            upload = self._service.module.FileUpload(source=source, destination=real)
            self._box.fs.upload_files([upload], timeout=TRANSFER_S)
        except Exception as error:
            raise self._service.refused("a file could not be written", error) from error

    def _info(self, path: str) -> Any:
        return self._box.fs.get_file_info(self.real(path), request_timeout=TRANSFER_S)

    def _content(self, path: str) -> bytes:
        """Raises Refused, or an error of the SDK."""
        info = self._info(path)
        if info.is_dir:
            raise Refused("Is a directory")
        if not info.mode.startswith(REGULAR):
            raise Refused("it is no regular file")
        if info.size > MAX_READ_BYTES:
            raise Refused(f"it is larger than {MAX_READ_BYTES >> 20} MiB; read parts of it with execute")
        data = self._box.fs.download_file(self.real(path), TRANSFER_S) if info.size else b""
        return bytes(data or b"")

    def _put(self, path: str, content: bytes) -> None:
        if not self._shown(path):
            raise Refused("Is a directory")
        try:
            info = self._info(path)
        except Exception as error:
            if not is_missing(error):
                raise
        else:
            if info.is_dir:
                raise Refused("Is a directory")
            if not info.mode.startswith(REGULAR):
                raise Refused("it is no regular file")
        self.put(self.real(path), content)

    def ls(self, path: str) -> LsResult:
        try:
            found = self._box.fs.list_files(self.real(path), request_timeout=SEARCH_S)
        except Exception as error:
            return LsResult(error=self._told(path, error))
        return LsResult(entries=sorted((self._entry(path, one) for one in found), key=lambda one: one["path"]))

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        try:
            data = self._content(file_path)
        except Exception as error:
            return ReadResult(error=self._told(file_path, error))
        return shown(data, self._mask, offset, limit)

    def write(self, file_path: str, content: str) -> WriteResult:
        try:
            self._put(file_path, content.encode())
        except Exception as error:
            return WriteResult(error=self._told(file_path, error))
        return WriteResult(path=file_path)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        try:
            changed = edited(self._content(file_path), old_string, new_string, replace_all)
            if isinstance(changed, str):
                return EditResult(error=self._mask(changed))
            content, occurrences = changed
            self._put(file_path, content)
        except Exception as error:
            return EditResult(error=self._told(file_path, error))
        return EditResult(path=file_path, occurrences=occurrences)

    def delete(self, file_path: str) -> DeleteResult:
        try:
            if not self._shown(file_path):
                raise Refused("the sandbox itself cannot be changed")
            directory = self._info(file_path).is_dir
            self._box.fs.delete_file(self.real(file_path), recursive=directory, request_timeout=TRANSFER_S)
        except Exception as error:
            return DeleteResult(error=self._told(file_path, error))
        return DeleteResult(path=file_path)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        found: list[FileInfo] = []
        try:
            matches_pattern = glob_matcher(pattern)
            for relative, entry in self._below(path or "/"):
                if not entry["is_dir"] and matches_pattern(relative):
                    if len(found) >= MAX_GLOB_MATCHES:
                        return GlobResult(matches=found, truncated=True, truncation_reason="budget")
                    found.append(entry)
        except Exception as error:
            return GlobResult(error=self._told(path or "/", error))
        return GlobResult(matches=sorted(found, key=lambda one: one["path"]))

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        shown, root = self._shown(path or "/"), self.real(path or "/")
        found: list[GrepMatch] = []
        until = time.monotonic() + SEARCH_S
        try:
            included = glob_matcher(glob) if glob else None
            self._info(path or "/")  # a path that is not there is an error, not a search without matches
            for one in self._box.fs.find_files(root, pattern, request_timeout=SEARCH_S):
                relative = one.file.removeprefix(root).lstrip("/")
                if NOT_WALKED & set(relative.split("/")[:-1]) or (relative and included and not included(relative)):
                    continue
                if (max_count is not None and len(found) >= max_count) or time.monotonic() > until:
                    return GrepResult(matches=found, truncated=True)
                at = f"{shown}/{relative}" if relative else shown
                found.append({"path": at, "line": one.line, "text": self._mask(one.content)})
        except Exception as error:
            return GrepResult(error=self._told(path or "/", error))
        return GrepResult(matches=found)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [self._upload(path, content) for path, content in files]

    def _upload(self, path: str, content: bytes) -> FileUploadResponse:
        try:
            self._put(path, content)
        except Exception as error:
            return FileUploadResponse(path=path, error=_code(error))
        return FileUploadResponse(path=path)

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [self._download(path) for path in paths]

    def _download(self, path: str) -> FileDownloadResponse:
        try:
            return FileDownloadResponse(path=path, content=self._mask.of_bytes(self._content(path)))
        except Exception as error:
            return FileDownloadResponse(path=path, error=_code(error))

    def _below(self, path: str) -> Iterator[tuple[str, FileInfo]]:
        """What is below a directory, without folders that nobody searches: (path from there, entry)."""
        root = self.real(path)
        for one in self._box.fs.list_files(root, depth=DEPTH, request_timeout=SEARCH_S):
            relative = (one.path or f"{root}/{one.name}").removeprefix(root).lstrip("/")
            if not NOT_WALKED & set(relative.split("/")):
                yield relative, self._entry(f"{path}/{os.path.dirname(relative)}", one)

    def _entry(self, directory: str, one: Any) -> FileInfo:
        shown = f"{self._shown(directory)}/{one.name}"
        return {"path": f"{shown}/" if one.is_dir else shown, "is_dir": one.is_dir, "size": one.size}

    def _told(self, path: str, error: Exception) -> str:
        """For the model: why, and no path of the sandbox's own."""
        if is_missing(error):
            return f"'{path}' not found"
        if isinstance(error, Refused):
            return f"'{path}': {error}"
        if isinstance(error, UnicodeDecodeError | GlobPatternError | SandboxError):
            return self._mask(str(error))
        return self._mask(f"'{path}': {self._service.words(error)}")


def _code(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error, SandboxError) else error
    status = getattr(cause, "status_code", None)
    if status == 404:
        return "file_not_found"
    if isinstance(error, Refused) and "directory" in str(error):
        return "is_directory"
    return "permission_denied" if status == 403 else "invalid_path"
