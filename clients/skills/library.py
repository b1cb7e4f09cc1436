"""Skills on a worker: each version is fetched once, checked, and laid out in the sandbox of a run.

    DATA_DIR/skills/HASH.zip                  the archives that this machine has fetched; the least used are removed
    SANDBOX/workspace/skills/FOLDER/SKILL.md  what an agent reads; `/skills/FOLDER/SKILL.md` in its file tools

If the user's own files hold an entry `skills`, the folder is `.agent-runner/skills` instead.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent_runner.clients.process.threads import own
from agent_runner.clients.reporting.native import BackendError
from agent_runner.clients.sandbox.kinds.port import OUTPUTS, Sandbox, SandboxError
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.skills.archive import SkillArchive, SkillArchiveError, hash_of, read_archive

FOLDER = "skills"
MAX_SHELF_BYTES = 512 << 20


class SkillError(Exception):
    """A skill could not be set up (reported as E303); `skill` names it, the text says why."""

    def __init__(self, skill: str, text: str) -> None:
        super().__init__(text)
        self.skill = skill


class SkillShelf:
    """`fetch` gets an archive by its key. Several runs and processes use a shelf at once: files appear whole."""

    def __init__(self, folder: Path, fetch: Callable[[str], Awaitable[bytes]]) -> None:
        self._folder = folder
        self._fetch = fetch

    async def archive(self, skill: str, version_hash: str, artifact_key: str) -> SkillArchive:
        """The archive from this machine, else from the server. Raises SkillError."""
        try:
            data = await own(self._taken, version_hash)
            if data is None:
                data = await self._fetch(artifact_key)
                if hash_of(data) != version_hash:
                    raise SkillError(skill, f"what the server gave is not version {version_hash}")
                await own(self._put, version_hash, data)
            return await own(read_archive, data)
        except (BackendError, SkillArchiveError, OSError) as error:
            raise SkillError(skill, str(error)) from error

    def _taken(self, version_hash: str) -> bytes | None:
        path = self._path(version_hash)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if hash_of(data) != version_hash:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # archives are removed in the order of this time
        return data

    def _put(self, version_hash: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(version_hash)
        half = path.with_suffix(f".{uuid.uuid4().hex}")
        half.write_bytes(data)
        half.replace(path)
        kept = 0
        for other in sorted(self._folder.iterdir(), key=_touched, reverse=True):
            with contextlib.suppress(OSError):  # another process has just removed it
                kept += other.stat().st_size
                if kept > MAX_SHELF_BYTES and other != path:
                    other.unlink()

    def _path(self, version_hash: str) -> Path:
        if not version_hash.isalnum():
            raise SkillArchiveError(f"{version_hash!r} is not the hash of a version")
        return self._folder / f"{version_hash}.zip"


def lay_out(sandbox: Sandbox, skill: str, folder: str, archive: SkillArchive) -> str:
    """Write the files into the sandbox, in place of those of an earlier turn. Blocking.

    Returns the folder's path for the agent's file tools. Raises SkillError.
    """
    try:
        if folder in ("", ".", "..") or "/" in folder:
            raise SkillArchiveError(f"{folder!r} is not the name of a folder")
        if not isinstance(sandbox, LocalSandbox):
            sandbox.put_folder(f"{FOLDER}/{folder}", archive.files())
            return f"/{FOLDER}/{folder}"
        target = _root(sandbox.work_dir) / folder
        # Written whole or not at all: the thread of a run that was cancelled may still be writing.
        half = target.with_name(f".{uuid.uuid4().hex}")
        try:
            _write(half, archive)
            _clear(target)
            half.rename(target)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    except (OSError, SandboxError, SkillArchiveError) as error:
        raise SkillError(skill, f"its files cannot be written: {error}") from error
    return f"/{target.relative_to(sandbox.work_dir)}"


def _write(folder: Path, archive: SkillArchive) -> None:
    for path, content, executable in archive.files():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if executable:
            file.chmod(0o755)


def _root(work_dir: Path) -> Path:
    """A folder that is no link: a link would lead to the user's own files, or to a place that the agent chose."""
    root = work_dir / FOLDER
    if os.path.lexists(root) and (root.is_symlink() or not root.is_dir()):
        for hidden in (work_dir / OUTPUTS, work_dir / OUTPUTS / FOLDER):
            if os.path.lexists(hidden) and (hidden.is_symlink() or not hidden.is_dir()):
                hidden.unlink()
            hidden.mkdir(exist_ok=True)
        return hidden
    root.mkdir(exist_ok=True)
    return root


def _clear(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
