"""Gives each session its own user, where commands cannot be walled off and the worker is root.

The kernel then keeps sessions from each other, from the worker and from files that are not open to everybody. A command
may still do what all users of the machine may do (ports, the network, files that all may read).

A session's directory belongs to the session's user. So every worker of this machine that shares the directory finds the
same user, and no list is needed.
"""

import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

LOCK = ".users.lock"
SEARCH = stat.S_IXOTH
NOBODY = "none"
SETTING = "AGENT_RUNNER_SANDBOX_USERS"


class NoUser(OSError):
    """A session cannot have a user of its own; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnUsers:
    """User and group ids that nobody else on this machine has: from `first` to `last`."""

    first: int
    last: int

    @classmethod
    def of(cls, given: str) -> "OwnUsers | None":
        """Parse `FIRST-LAST`; None for `none`. Raises ValueError."""
        if given in ("", NOBODY):
            return None
        first, dash, last = given.partition("-")
        if not dash or not first.isdecimal() or not last.isdecimal() or not 1000 <= int(first) <= int(last) < 1 << 31:
            raise ValueError("must be two user ids with a hyphen between, from 1000 on and below 2147483648")
        return cls(first=int(first), last=int(last))

    def settle(self, root_dir: Path) -> int:
        """The session's user. Makes the session's directory if need be and gives it to that user alone. Blocking.
        Raises OSError."""
        reachable(root_dir.parent)
        with _locked(root_dir.parent):
            root_dir.mkdir(mode=0o700, exist_ok=True)
            owner = root_dir.lstat().st_uid
            if not self.first <= owner <= self.last:
                owner = self._free(root_dir)
                give(root_dir, owner)
        return owner

    def _free(self, root_dir: Path) -> int:
        taken = set()
        for entry in os.scandir(root_dir.parent):
            with suppress(FileNotFoundError):  # the entry has just been removed
                taken.add(entry.stat(follow_symlinks=False).st_uid)
        many = self.last - self.first + 1
        wish = zlib.crc32(root_dir.name.encode())
        for step in range(min(many, len(taken) + 1)):
            if (uid := self.first + (wish + step) % many) not in taken:
                return uid
        raise NoUser(f"all {many} users of {SETTING} have a session here; name more of them")


def give(root_dir: Path, owner: int) -> None:
    """Give the whole directory to this user: its files may belong to the worker or to another user. Links are not
    followed."""
    for _, folders, names, fd in os.fwalk(root_dir):
        for name in (*folders, *names):
            with suppress(FileNotFoundError):
                os.chown(name, owner, owner, dir_fd=fd, follow_symlinks=False)
    os.chown(root_dir, owner, owner, follow_symlinks=False)


def reachable(sandboxes: Path) -> None:
    """Let other users pass through our own two directories without listing them. Raises NoUser if a directory above
    lets no other user pass."""
    for directory in (sandboxes, *sandboxes.parents):
        mode = directory.stat().st_mode
        if not mode & SEARCH:
            if directory not in (sandboxes, sandboxes.parent):
                raise NoUser(f"{directory} lets no other user through to {sandboxes}")
            directory.chmod(stat.S_IMODE(mode) | SEARCH)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Without this lock two workers could choose one user for two sessions."""
    with open(directory / LOCK, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
