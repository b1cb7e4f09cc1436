"""What file operations answer, in words of our own: an engine's adapter turns them into those of its library.

The shapes are those of deepagents 0.7. They stand here because the environment of graphton has another deepagents.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, NotRequired

import wcmatch.glob as wcglob
from typing_extensions import TypedDict

from agent_runner.clients.masking.mask import Mask

EMPTY_FILE = "System reminder: File exists but has empty contents"
_NO_OLD_TEXT = "Error: old_string cannot be empty. Provide the exact text to replace."


class FileData(TypedDict):
    """`content`: text, or base64 of bytes that are no UTF-8; `encoding` says which: `utf-8` or `base64`."""

    content: str
    encoding: str


class FileInfo(TypedDict):
    """`size` in bytes. The path of a directory ends with a slash."""

    path: str
    is_dir: NotRequired[bool]
    size: NotRequired[int]


class GrepMatch(TypedDict):
    """`line` counts from 1."""

    path: str
    line: int
    text: str


@dataclass(slots=True, kw_only=True)
class ReadResult:
    """A window of a file. `start_line` and `end_line` count from 1; `next_offset` is None at the end of the file."""

    error: str | None = None
    file_data: FileData | None = None
    total_lines: int | None = None
    start_line: int | None = None
    end_line: int | None = None
    next_offset: int | None = None
    no_lines_requested: bool = False


@dataclass(slots=True, kw_only=True)
class WriteResult:
    error: str | None = None
    path: str | None = None


@dataclass(slots=True, kw_only=True)
class EditResult:
    error: str | None = None
    path: str | None = None
    occurrences: int | None = None


@dataclass(slots=True, kw_only=True)
class DeleteResult:
    error: str | None = None
    path: str | None = None


@dataclass(slots=True, kw_only=True)
class LsResult:
    error: str | None = None
    entries: list[FileInfo] | None = None


@dataclass(slots=True, kw_only=True)
class GlobResult:
    error: str | None = None
    matches: list[FileInfo] | None = None
    truncated: bool = False
    truncation_reason: Literal["budget"] | None = None


@dataclass(slots=True, kw_only=True)
class GrepResult:
    error: str | None = None
    matches: list[GrepMatch] | None = None
    truncated: bool = False


@dataclass(slots=True, kw_only=True)
class FileUploadResponse:
    """`error` is a code: file_not_found, is_directory, permission_denied or invalid_path."""

    path: str
    error: str | None = None


@dataclass(slots=True, kw_only=True)
class FileDownloadResponse:
    """`error` is a code, as of an upload."""

    path: str
    content: bytes | None = None
    error: str | None = None


class GlobPatternError(ValueError):
    """A pattern that cannot be used; the text says why."""


def shown(data: bytes, mask: Mask, offset: int, limit: int) -> ReadResult:
    """What a file holds, masked: a window of its text, or base64 of all its bytes if they are no UTF-8."""
    try:
        text = mask(data.decode())
    except UnicodeDecodeError:
        encoded = base64.standard_b64encode(mask.of_bytes(data)).decode("ascii")
        return ReadResult(file_data=FileData(content=encoded, encoding="base64"))
    return _window(text, offset, limit)


def edited(data: bytes, old: str, new: str, replace_all: bool) -> tuple[bytes, int] | str:
    """The new content and how often `old` stood in it; or what the model reads when it cannot be replaced. Raises
    UnicodeDecodeError."""
    changed = _replaced(_with_unix_ends(data.decode()), old, new, replace_all)
    return changed if isinstance(changed, str) else (changed[0].encode(), changed[1])


def _window(text: str, offset: int, limit: int) -> ReadResult:
    """Up to `limit` lines of a file's text from line `offset` (from 0) on; a negative number counts as 0."""
    offset, limit = max(offset, 0), max(limit, 0)
    if not text.strip():
        return ReadResult(file_data=FileData(content=EMPTY_FILE, encoding="utf-8"))
    if limit == 0:
        return ReadResult(file_data=FileData(content="", encoding="utf-8"), no_lines_requested=True)
    lines = text.splitlines(keepends=True)
    if offset >= len(lines):
        return ReadResult(error=f"Line offset {offset} exceeds file length ({len(lines)} lines)")
    end = min(offset + limit, len(lines))
    return ReadResult(
        file_data=FileData(content=_with_unix_ends("".join(lines[offset:end])), encoding="utf-8"),
        total_lines=len(lines),
        start_line=offset + 1,
        end_line=end,
        next_offset=end if end < len(lines) else None,
    )


def _with_unix_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _replaced(text: str, old: str, new: str, replace_all: bool) -> tuple[str, int] | str:
    """The new text and how often `old` stood in it; or what the model reads when it cannot be replaced."""
    if not old:
        return _NO_OLD_TEXT
    times = text.count(old)
    if times == 0:
        shorter = old.removesuffix("\n")
        if shorter and shorter != old and text.endswith(shorter):
            return (
                "Error: old_string ends with a newline, but the file does not end with one. Try again without that"
                " newline in old_string (and in new_string, if it also ends with one)"
                + ("." if text.count(shorter) == 1 else ", and with more of the text around it: it must be unique.")
            )
        return f"Error: String not found in file: '{old}'"
    if times > 1 and not replace_all:
        return (
            f"Error: String '{old}' appears {times} times in file. Use replace_all=True to replace all of them, or give"
            " more of the text around it."
        )
    return text.replace(old, new), times


def glob_matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path, relative to where the search begins, matches. As ripgrep does: a pattern without `/` is compared
    with the name alone, at any depth; `/` in front ties it to the beginning. Raises GlobPatternError."""
    if ".." in pattern.replace("\\", "/").split("/"):
        raise GlobPatternError(f"Path traversal not allowed in glob pattern {pattern!r}")
    try:
        compiled = wcglob.compile(pattern.lstrip("/"), flags=wcglob.BRACE | wcglob.GLOBSTAR)
    except Exception as error:  # wcmatch raises private types
        raise GlobPatternError(f"Invalid glob pattern {pattern!r}: {error}") from error
    if "/" in pattern:
        return lambda path: bool(compiled.match(path))
    return lambda path: bool(compiled.match(PurePosixPath(path).name))
