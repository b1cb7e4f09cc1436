"""File operations confined to one sandbox: its own directory and the user's entries that are linked into it.

Paths are absolute from the sandbox's root (`/notes.txt`); a real path below the root (what `pwd` prints) works too. A
path that leads elsewhere, also through a symlink that the agent made, is refused. What is read is masked.
"""

import base64
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from deepagents.backends.protocol import (
    DeleteResult,
    EditResult,
    FileData,
    FileDownloadResponse,
    FileInfo,
    FileUploadResponse,
    GlobResult,
    GrepMatch,
    GrepResult,
    LsResult,
    ReadResult,
    WriteResult,
)
from deepagents.backends.utils import (
    InvalidGlobPatternError,
    check_empty_content,
    compile_grep_include_glob,
    perform_string_replacement,
    slice_read_response,
)

from clients.sandbox.local import LocalSandbox

SEARCH_BUDGET_S = 5.0
MAX_READ_BYTES = 10 << 20
MAX_GLOB_MATCHES = 10_000
NOT_WALKED = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__", ".mypy_cache"})


class _Refused(ValueError):
    """The path leads out of the sandbox."""


class SandboxFiles:
    """The file half of the deepagents backend protocol over one `LocalSandbox`; blocking, call it from a thread."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self._root = sandbox.work_dir.resolve()
        self._roots = (self._root, *sandbox.links.values())
        self._mask = sandbox.mask

    def _real(self, path: str) -> Path:
        given = os.path.normpath("/" + path.lstrip("/"))
        below = given if Path(given).is_relative_to(self._root) else f"{self._root}{given}"
        real = Path(os.path.realpath(below))
        if not any(real == root or real.is_relative_to(root) for root in self._roots):
            raise _Refused(f"'{path}' is outside the sandbox")
        return real

    def _here(self, path: str) -> Path:
        """The path inside the sandbox without following its last link; its parent must be inside."""
        given = os.path.normpath("/" + path.lstrip("/"))
        below = Path(given) if Path(given).is_relative_to(self._root) else Path(f"{self._root}{given}")
        if below == self._root:
            raise _Refused("the sandbox itself cannot be changed")
        return self._real(str(below.parent)) / below.name

    def ls(self, path: str) -> LsResult:
        try:
            real = self._real(path)
            prefix = self._shown(path)
            entries = [_info(f"{prefix}/{entry.name}", entry) for entry in sorted(real.iterdir())]
        except (OSError, ValueError) as error:
            return LsResult(error=_told(path, error))
        return LsResult(entries=[entry for entry in entries if entry is not None])

    def _shown(self, path: str) -> str:
        given = Path(os.path.normpath("/" + path.lstrip("/")))
        inside = given.relative_to(self._root) if given.is_relative_to(self._root) else given.relative_to("/")
        return "" if str(inside) == "." else f"/{inside}"

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        try:
            real = self._real(file_path)
            if real.stat().st_size > MAX_READ_BYTES:
                return ReadResult(
                    error=f"'{file_path}' is larger than {MAX_READ_BYTES >> 20} MiB; read parts of it with execute"
                )
            data = real.read_bytes()
        except (OSError, ValueError) as error:
            return ReadResult(error=_told(file_path, error))
        try:
            content = self._mask(data.decode())
        except UnicodeDecodeError:
            encoded = base64.standard_b64encode(data).decode("ascii")
            return ReadResult(file_data=FileData(content=encoded, encoding="base64"))
        if empty := check_empty_content(content):
            return ReadResult(file_data=FileData(content=empty, encoding="utf-8"))
        return slice_read_response(FileData(content=content, encoding="utf-8"), offset, limit)

    def write(self, file_path: str, content: str) -> WriteResult:
        try:
            real = self._real(file_path)
            real.parent.mkdir(parents=True, exist_ok=True)
            real.write_text(content, encoding="utf-8", newline="")
        except (OSError, ValueError) as error:
            return WriteResult(error=_told(file_path, error))
        return WriteResult(path=file_path)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        try:
            real = self._real(file_path)
            changed = perform_string_replacement(real.read_text("utf-8"), old_string, new_string, replace_all)
            if isinstance(changed, str):
                return EditResult(error=self._mask(changed))
            content, occurrences = changed
            real.write_text(content, encoding="utf-8", newline="")
        except (OSError, ValueError) as error:
            return EditResult(error=_told(file_path, error))
        return EditResult(path=file_path, occurrences=occurrences)

    def delete(self, file_path: str) -> DeleteResult:
        try:
            here = self._here(file_path)
            if here.is_dir() and not here.is_symlink():
                shutil.rmtree(here)
            else:
                here.unlink()
        except (OSError, ValueError) as error:
            return DeleteResult(error=_told(file_path, error))
        return DeleteResult(path=file_path)

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        try:
            matches_pattern = compile_grep_include_glob(pattern)
            base = self._real(path or "/")
        except (InvalidGlobPatternError, OSError, ValueError) as error:
            return GlobResult(error=_told(path or "/", error))
        found: list[FileInfo] = []
        until = time.monotonic() + SEARCH_BUDGET_S
        for relative, entry in self._walk(base):
            if time.monotonic() > until or len(found) >= MAX_GLOB_MATCHES:
                return GlobResult(matches=found, truncated=True, truncation_reason="budget")
            if matches_pattern(relative) and (info := _info(f"{self._shown(path or '/')}/{relative}", entry)):
                found.append(info)
        return GlobResult(matches=found)

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        try:
            included = compile_grep_include_glob(glob) if glob else None
            base = self._real(path or "/")
        except (InvalidGlobPatternError, OSError, ValueError) as error:
            return GrepResult(error=_told(path or "/", error))
        shown = self._shown(path or "/")
        files = [("", base)] if base.is_file() else self._walk(base)
        found: list[GrepMatch] = []
        until = time.monotonic() + SEARCH_BUDGET_S
        for relative, entry in files:
            if time.monotonic() > until:
                return GrepResult(matches=found, truncated=True)
            if relative and included and not included(relative):
                continue
            for number, line in _lines_with(entry, pattern):
                if max_count is not None and len(found) >= max_count:
                    return GrepResult(matches=found, truncated=True)
                name = f"{shown}/{relative}" if relative else shown
                found.append({"path": name, "line": number, "text": self._mask(line)})
        return GrepResult(matches=found)

    def _walk(self, base: Path, prefix: str = "", seen: frozenset[Path] = frozenset()) -> Iterator[tuple[str, Path]]:
        """Regular files below `base` as (relative name, real path), in order; follows links that stay inside."""
        if base in seen:
            return
        try:
            entries = sorted(base.iterdir())
        except OSError:
            return
        for entry in entries:
            real = Path(os.path.realpath(entry))
            if not any(real == root or real.is_relative_to(root) for root in self._roots):
                continue
            if real.is_dir():
                if entry.name not in NOT_WALKED:
                    yield from self._walk(real, f"{prefix}{entry.name}/", seen | {base})
            elif real.is_file():
                yield f"{prefix}{entry.name}", real

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [self._upload(path, content) for path, content in files]

    def _upload(self, path: str, content: bytes) -> FileUploadResponse:
        try:
            real = self._real(path)
            real.parent.mkdir(parents=True, exist_ok=True)
            real.write_bytes(content)
        except (OSError, ValueError) as error:
            return FileUploadResponse(path=path, error=_code(error))
        return FileUploadResponse(path=path)

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return [self._download(path) for path in paths]

    def _download(self, path: str) -> FileDownloadResponse:
        try:
            return FileDownloadResponse(path=path, content=self._real(path).read_bytes())
        except (OSError, ValueError) as error:
            return FileDownloadResponse(path=path, error=_code(error))


def _info(shown: str, entry: Path) -> FileInfo | None:
    try:
        stat = entry.stat()
    except OSError:
        return None
    directory = entry.is_dir()
    return {"path": f"{shown}/" if directory else shown, "is_dir": directory, "size": stat.st_size}


def _lines_with(path: Path, text: str) -> Iterator[tuple[int, str]]:
    try:
        if path.stat().st_size > MAX_READ_BYTES:
            return
        with path.open(encoding="utf-8") as lines:
            yield from ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1) if text in line)
    except (OSError, UnicodeDecodeError):
        return


def _told(path: str, error: Exception) -> str:
    """An error for the model that does not show where the sandbox lies on the host."""
    if isinstance(error, FileNotFoundError):
        return f"'{path}' not found"
    return f"'{path}': {error.strerror or type(error).__name__}" if isinstance(error, OSError) else str(error)


def _code(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "file_not_found"
    if isinstance(error, IsADirectoryError):
        return "is_directory"
    return "permission_denied" if isinstance(error, PermissionError) else "invalid_path"
