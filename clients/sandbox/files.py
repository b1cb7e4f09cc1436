"""File operations confined to one sandbox: its own directory and the user's entries that are linked into it.

Paths are absolute from the sandbox's root (`/notes.txt`); a real path below the root (what `pwd` prints) works too. A
path that leads elsewhere is refused, also through a symlink that the agent made; so is anything but a regular file.
Content that is read is masked.
"""

import io
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.clients.sandbox.beneath import Beneath, Place, Refused
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

if TYPE_CHECKING:
    from agent_runner.clients.sandbox.local import LocalSandbox

SEARCH_BUDGET_S = 5.0
MAX_READ_BYTES = 10 << 20
"""What is larger is neither read, edited, downloaded nor searched."""
MAX_GLOB_MATCHES = 10_000
NOT_WALKED = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", ".mypy_cache"})


class SandboxFiles:
    """The file operations of an agent over one `LocalSandbox`; blocking, call it from a thread."""

    def __init__(self, sandbox: "LocalSandbox") -> None:
        self._root = sandbox.work_dir.resolve()
        self._beneath = Beneath(self._root, sandbox.links)
        self._mask, self._quota = sandbox.mask, sandbox.quota

    def _parts(self, path: str) -> tuple[str, ...]:
        given = Path(os.path.normpath("/" + path.lstrip("/")))
        return given.relative_to(self._root if given.is_relative_to(self._root) else "/").parts

    def _shown(self, path: str) -> str:
        return "".join(f"/{part}" for part in self._parts(path))

    def _place(self, path: str, *, make: bool = False) -> Place:
        return self._beneath.place(self._parts(path), make=make)

    def _content(self, path: str) -> bytes:
        """Raises OSError, Refused."""
        with self._place(path) as place:
            return _read(place.file())

    def _put(self, path: str, content: bytes) -> None:
        """Raises OSError, Refused."""
        if self._quota.is_used_up(len(content)):
            raise Refused(self._quota.words)
        with self._place(path, make=True) as place:
            fd = place.file(os.O_WRONLY | os.O_CREAT)
        with os.fdopen(fd, "wb") as file:
            file.truncate()
            file.write(content)

    def ls(self, path: str) -> LsResult:
        try:
            with self._place(path) as place:
                fd = place.directory()
            try:
                at, names = self._shown(path), sorted(os.listdir(fd))
                found = [_info(f"{at}/{name}", self._beneath.stat(fd, name)) for name in names]
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            return LsResult(error=_told(path, error))
        return LsResult(entries=[entry for entry in found if entry is not None])

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        try:
            data = self._content(file_path)
        except (OSError, ValueError) as error:
            return ReadResult(error=_told(file_path, error))
        return shown(data, self._mask, offset, limit)

    def write(self, file_path: str, content: str) -> WriteResult:
        try:
            self._put(file_path, content.encode())
        except (OSError, ValueError) as error:
            return WriteResult(error=_told(file_path, error))
        return WriteResult(path=file_path)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        try:
            changed = edited(self._content(file_path), old_string, new_string, replace_all)
            if isinstance(changed, str):
                return EditResult(error=self._mask(changed))
            content, occurrences = changed
            self._put(file_path, content)
        except (OSError, ValueError) as error:
            return EditResult(error=_told(file_path, error))
        return EditResult(path=file_path, occurrences=occurrences)

    def delete(self, file_path: str) -> DeleteResult:
        try:
            parts = self._parts(file_path)
            if not parts:
                raise Refused("the sandbox itself cannot be changed")
            with self._beneath.place(parts, last_link=False) as place:
                if stat.S_ISDIR(place.stat().st_mode):
                    shutil.rmtree(place.name, dir_fd=place.fd)
                else:
                    os.unlink(place.name, dir_fd=place.fd)
        except RecursionError:
            return DeleteResult(error=f"'{file_path}' has too many levels; remove it with execute")
        except (OSError, ValueError) as error:
            return DeleteResult(error=_told(file_path, error))
        return DeleteResult(path=file_path)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        shown = self._shown(path or "/")
        found: list[FileInfo] = []
        until = time.monotonic() + SEARCH_BUDGET_S
        try:
            matches_pattern = glob_matcher(pattern)
            for relative, fd, name in self._files(path or "/"):
                if time.monotonic() > until or len(found) >= MAX_GLOB_MATCHES:
                    return GlobResult(matches=found, truncated=True, truncation_reason="budget")
                if relative and matches_pattern(relative):
                    info = _info(f"{shown}/{relative}", self._beneath.stat(fd, name))
                    found += [info] if info else []
        except (GlobPatternError, OSError, ValueError) as error:
            return GlobResult(error=_told(path or "/", error))
        return GlobResult(matches=found)

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        shown = self._shown(path or "/")
        found: list[GrepMatch] = []
        until = time.monotonic() + SEARCH_BUDGET_S
        try:
            included = glob_matcher(glob) if glob else None
            for relative, fd, name in self._files(path or "/"):
                if time.monotonic() > until:
                    return GrepResult(matches=found, truncated=True)
                if relative and included and not included(relative):
                    continue
                for number, line in _lines_with(Place(fd, name), pattern):
                    if max_count is not None and len(found) >= max_count:
                        return GrepResult(matches=found, truncated=True)
                    at = f"{shown}/{relative}" if relative else shown
                    found.append({"path": at, "line": number, "text": self._mask(line)})
        except (GlobPatternError, OSError, ValueError) as error:
            return GrepResult(error=_told(path or "/", error))
        return GrepResult(matches=found)

    def _files(self, path: str) -> Iterator[tuple[str, int, str]]:
        """Regular files below `path`: (path from there, descriptor of its directory, its name). If `path` is a file, it
        comes alone, with an empty path."""
        with self._place(path) as place:
            if stat.S_ISREG(place.stat().st_mode):
                yield "", place.fd, place.name
                return
            fd = place.directory()
        try:
            yield from self._beneath.walk(fd, skip=NOT_WALKED)
        finally:
            os.close(fd)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [self._upload(path, content) for path, content in files]

    def _upload(self, path: str, content: bytes) -> FileUploadResponse:
        try:
            self._put(path, content)
        except (OSError, ValueError) as error:
            return FileUploadResponse(path=path, error=_code(error))
        return FileUploadResponse(path=path)

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [self._download(path) for path in paths]

    def _download(self, path: str) -> FileDownloadResponse:
        try:
            return FileDownloadResponse(path=path, content=self._mask.of_bytes(self._content(path)))
        except (OSError, ValueError) as error:
            return FileDownloadResponse(path=path, error=_code(error))


def _read(fd: int) -> bytes:
    """Read the whole file and close it. Raises Refused when it is larger than the tools take."""
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_READ_BYTES + 1)
    if len(data) > MAX_READ_BYTES:
        raise Refused(f"it is larger than {MAX_READ_BYTES >> 20} MiB; read parts of it with execute")
    return data


def _info(shown: str, found: os.stat_result | None) -> FileInfo | None:
    if found is None:
        return None
    directory = stat.S_ISDIR(found.st_mode)
    return {"path": f"{shown}/" if directory else shown, "is_dir": directory, "size": found.st_size}


def _lines_with(place: Place, text: str) -> Iterator[tuple[int, str]]:
    try:
        content = _read(place.file()).decode()
    except (OSError, ValueError):
        return
    if text in content:
        lines = io.StringIO(content, newline=None)
        yield from ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1) if text in line)


def _told(path: str, error: Exception) -> str:
    """An error for the model that does not show where the sandbox lies on the host."""
    if isinstance(error, FileNotFoundError):
        return f"'{path}' not found"
    if isinstance(error, OSError):
        return f"'{path}': {error.strerror or type(error).__name__}"
    return f"'{path}': {error}" if isinstance(error, Refused) else str(error)


def _code(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "file_not_found"
    if isinstance(error, IsADirectoryError):
        return "is_directory"
    return "permission_denied" if isinstance(error, PermissionError) else "invalid_path"
