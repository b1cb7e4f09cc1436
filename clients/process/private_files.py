"""Keeps the data directory for its user alone: databases, sockets, keys and sandboxes of this machine."""

import os
import stat
from contextlib import suppress
from pathlib import Path

LOCK, SEARCH = ".users.lock", stat.S_IXOTH
"""Where sessions have users of their own, these go through the data directory, and see nothing of it."""
UMASK = 0o077
FILES = ("*.db", "*.db-*", "*.sock")


def keep_private(data_dir: Path) -> None:
    """Only the user may read files that this process makes from now on, and files of earlier releases in here."""
    os.umask(UMASK)
    with suppress(OSError):  # the first write there reports it
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in [data_dir, *(found for pattern in FILES for found in data_dir.glob(pattern))]:
        with suppress(OSError):  # it belongs to another user, or was just removed
            found = path.lstat()
            closed = UMASK & ~SEARCH if path == data_dir and (data_dir / "sandboxes" / LOCK).exists() else UMASK
            if found.st_uid == os.getuid() and found.st_mode & closed and not stat.S_ISLNK(found.st_mode):
                path.chmod(stat.S_IMODE(found.st_mode) & ~closed)
