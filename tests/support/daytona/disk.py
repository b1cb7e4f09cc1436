"""The files of a sandbox of the Daytona for tests, as its daemon shows and changes them. Only the standard library."""

import contextlib
import json
import os
import shutil
import stat
import urllib.parse
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Refusal(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


def info(path: Path) -> dict[str, Any]:
    try:
        found, linked = path.stat(), path.is_symlink()
    except FileNotFoundError:
        raise Refusal(404, f"stat {path}: no such file or directory", "FILE_NOT_FOUND") from None
    except OSError as error:
        raise Refusal(403, str(error), "FILE_ACCESS_DENIED") from error
    mode = stat.filemode(found.st_mode)
    at = datetime.fromtimestamp(found.st_mtime, UTC).isoformat()
    return {
        "name": path.name, "path": str(path), "isDir": path.is_dir(), "size": found.st_size, "modTime": at,
        "mode": f"L{mode[1:]}" if linked else mode, "modifiedAt": at, "permissions": oct(found.st_mode & 0o777)[2:],
        "owner": str(found.st_uid), "group": str(found.st_gid),
    }  # fmt: skip


def listed(path: Path, depth: int) -> list[dict[str, Any]]:
    if not info(path)["isDir"]:
        raise Refusal(400, f"open {path}: not a directory", "INVALID_FILE_PATH")
    found = []
    for entry in sorted(path.iterdir()):
        with contextlib.suppress(Refusal):
            found.append(info(entry))
            if depth > 1 and entry.is_dir() and not entry.is_symlink():
                found += listed(entry, depth - 1)
    return found


def matches(path: Path, pattern: str) -> list[dict[str, Any]]:
    if not path.exists():
        raise Refusal(400, f"lstat {path}: no such file or directory")
    found = []
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if not file.is_file() or file.is_symlink():
            continue
        data = file.read_bytes()
        if b"\0" in data[:512]:
            continue
        lines = data.decode(errors="replace").splitlines()
        found += [{"file": str(file), "line": n, "content": line} for n, line in enumerate(lines, 1) if pattern in line]
    return found


def removed(path: Path, recursive: bool) -> None:
    if not os.path.lexists(path):
        raise Refusal(404, f"stat {path}: no such file or directory", "FILE_NOT_FOUND")
    if path.is_dir() and not path.is_symlink():
        if not recursive:
            raise Refusal(400, "cannot delete directory without recursive flag")
        shutil.rmtree(path)
    else:
        path.unlink()


def parts(body: bytes, kind: str) -> dict[str, bytes]:
    """The fields of a multipart form, by name."""
    mark = b"--" + kind.partition("boundary=")[2].strip('"').encode()
    found = {}
    for part in (b"\r\n" + body).split(b"\r\n" + mark)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = head.decode().partition('name="')[2].partition('"')[0]
        found[name] = data
    return found


def uploaded(work_dir: str, body: bytes, kind: str) -> None:
    fields = parts(body, kind)
    for name, target in fields.items():
        if not name.endswith(".path"):
            continue
        path = Path(work_dir, target.decode())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(fields[name.removesuffix("path") + "file"])
        except OSError as error:
            raise Refusal(400, f"{path}: {error.strerror}") from error


def downloaded(work_dir: str, paths: list[str]) -> tuple[bytes, str]:
    mark, body = uuid.uuid4().hex, b""
    for given in paths:
        path = Path(work_dir, given)
        try:
            if info(path)["isDir"]:
                raise Refusal(400, "is a directory", "INVALID_FILE_PATH")
            name, kind, data = "file", "application/octet-stream", path.read_bytes()
        except (OSError, Refusal) as error:
            status, code = (error.status, error.code) if isinstance(error, Refusal) else (403, "FILE_ACCESS_DENIED")
            name, kind = "error", "application/json"
            data = json.dumps({"message": str(error), "statusCode": status, "code": code}).encode()
        label = urllib.parse.quote(given, safe="")
        body += f"--{mark}\r\nContent-Disposition: form-data; name={name}; filename*=utf-8''{label}\r\n".encode()
        body += f"Content-Type: {kind}\r\n\r\n".encode() + data + b"\r\n"
    return body + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"
