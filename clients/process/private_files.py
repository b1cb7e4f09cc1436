"""The data directory is the user's alone: databases, sockets, keys and sandboxes of this machine."""

import os
import stat
from contextlib import suppress
from pathlib import Path

LOCK, SEARCH = ".users.lock", stat.S_IXOTH
"""Where sessions have users of their own, these go through the data directory, and see nothing of it."""
UMASK = 0o077
FILES = ("*.db", "*.db-*", "*.sock")


def keep_private(data_dir: Path) -> None:
    """From now on what this process makes is the user's alone; so is what earlier releases have made here."""
    os.umask(UMASK)
    with suppress(OSError):  # told by whoever is the first to write there
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in [data_dir, *(found for pattern in FILES for found in data_dir.glob(pattern))]:
        with suppress(OSError):  # it is another user's, or has just gone
            found = path.lstat()
            closed = UMASK & ~SEARCH if path == data_dir and (data_dir / "sandboxes" / LOCK).exists() else UMASK
            if found.st_uid == os.getuid() and found.st_mode & closed and not stat.S_ISLNK(found.st_mode):
                path.chmod(stat.S_IMODE(found.st_mode) & ~closed)
