"""Opens files below some directories and nowhere else, even while a command changes the tree.

Each part of a path is opened from the directory before it, without following links. A link is read, and its target is
walked in the same way from a root that is held open. So a command can change nothing between a check and its use.
Only regular files are opened, and without waiting (a pipe has no other end here).
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

MOST_LINKS = 40
MOST_LEVELS = 100
"""Each level is a descriptor of the worker while it is looked at."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
NEW_FILE, NEW_DIRECTORY = 0o644, 0o755
"""Their modes: the worker's umask is not meant for what is in the user's own directories."""


class Refused(ValueError):
    """The path leads out of the sandbox, or to something that is no file."""


class Place:
    """A directory that is held open, and a name in it ('' for the directory itself). Close it, or use `with`."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd, self.name = fd, name

    def __enter__(self) -> "Place":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def stat(self) -> os.stat_result:
        """The stat of the entry itself; links are not followed."""
        return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False) if self.name else os.fstat(self.fd)

    def directory(self) -> int:
        """A new descriptor of this directory. Raises OSError."""
        return os.open(self.name or ".", DIRECTORY, dir_fd=self.fd)

    def file(self, flags: int = os.O_RDONLY) -> int:
        """A descriptor of a regular file. Raises OSError; Refused for anything else."""
        fd = _file(self.fd, self.name or ".", flags)
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise Refused("it is no regular file")
        except BaseException:
            os.close(fd)
            raise
        return fd


def _file(directory: int, name: str, flags: int) -> int:
    """Open a file, or make it if `flags` say so. Only a new file gets its mode."""
    if not flags & os.O_CREAT:
        return os.open(name, flags | FILE, dir_fd=directory)
    try:
        fd = os.open(name, flags | FILE | os.O_EXCL, NEW_FILE, dir_fd=directory)
    except FileExistsError:
        return os.open(name, (flags & ~os.O_CREAT) | FILE, dir_fd=directory)
    with contextlib.suppress(OSError):
        os.fchmod(fd, NEW_FILE)
    _belongs_to_owner_of(directory, fd)
    return fd


def _belongs_to_owner_of(directory: int, fd: int) -> None:
    """A worker of root gives a new file to the owner of its directory: a session's own user, or the user of the machine
    whose entry is shown."""
    if os.geteuid() == 0:
        owner = os.fstat(directory)
        with contextlib.suppress(OSError):
            os.fchown(fd, owner.st_uid, owner.st_gid)


class Beneath:
    """`root` is the directory in which paths begin, `others` are more that links may lead to. Real paths, absolute.

    A root may be a file. Nothing is held open between calls.
    """

    def __init__(self, root: Path, others: Mapping[str, Path]) -> None:
        self._root = root
        self._roots = sorted({root, *others.values()}, key=lambda path: -len(path.parts))

    def place(self, parts: tuple[str, ...], *, last_link: bool = True, make: bool = False) -> Place:
        """The place that these names lead to, from the root. `last_link`: follow the last one if it is a link. `make`:
        make the directories on the way that are not there. Raises OSError, Refused."""
        walk = _Walk(self._roots, make=make)
        try:
            walk.enter(self._root)
            return walk.go(list(parts), last_link)
        except BaseException:
            walk.close()
            raise

    def walk(self, start: int, *, skip: frozenset[str]) -> Iterator[tuple[str, int, str]]:
        """Regular files below an open directory, in order: (path from there, descriptor of its directory, its name).

        Links to files and directories of the roots are followed, unless they lead back to a directory that they are in.
        """
        yield from self._below(start, "", skip, frozenset())

    def stat(self, fd: int, name: str) -> os.stat_result | None:
        """The stat of a directory's entry, or of its link's target; of the link itself if the target is outside."""
        try:
            with self._found(fd, name) as place:
                return place.stat()
        except Refused:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return None

    def _below(
        self, fd: int, prefix: str, skip: frozenset[str], seen: frozenset[tuple[int, int]]
    ) -> Iterator[tuple[str, int, str]]:
        own = os.fstat(fd)
        if (own.st_dev, own.st_ino) in seen or len(seen) > MOST_LEVELS:
            return
        seen |= {(own.st_dev, own.st_ino)}
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(fd)):
                with contextlib.suppress(OSError, Refused), self._found(fd, name) as place:
                    mode = place.stat().st_mode
                    if stat.S_ISREG(mode):
                        yield f"{prefix}{name}", place.fd, place.name
                    elif stat.S_ISDIR(mode) and name not in skip:
                        below = place.directory()
                        try:
                            yield from self._below(below, f"{prefix}{name}/", skip, seen)
                        finally:
                            os.close(below)

    def _found(self, fd: int, name: str) -> Place:
        """The place of a directory's entry; of its target if it is a link."""
        if not stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
            return Place(os.dup(fd), name)
        target = os.readlink(name, dir_fd=fd)
        if not target.startswith("/"):
            # From a root, so that `..` stays below it. The kernel knows the path of the directory itself.
            target = f"{os.readlink(f'/proc/self/fd/{fd}')}/{target}"
        walk = _Walk(self._roots)
        try:
            return walk.go(walk.parts_of(target), True)
        except BaseException:
            walk.close()
            raise


class _Walk:
    """The open directories of one walk, from a root down to the present one."""

    def __init__(self, roots: list[Path], *, make: bool = False) -> None:
        self._roots, self._make = roots, make
        self._open: list[int] = []
        self._single = ""
        """The name of a root that is a file; its directory is the only open one, and leads nowhere else."""
        self._links = 0

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def enter(self, root: Path) -> None:
        self.close()
        self._single = ""
        try:
            self._open.append(os.open(root, DIRECTORY))
        except NotADirectoryError:
            self._open.append(os.open(root.parent, DIRECTORY))
            self._single = root.name

    def go(self, parts: list[str], last_link: bool) -> Place:
        while parts:
            name = parts.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                if len(self._open) < 2:
                    raise Refused("it is outside the sandbox")
                os.close(self._open.pop())
                continue
            if self._single:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            target = self._link(name) if parts or last_link else None
            if target is not None:
                self._links += 1
                if self._links > MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                parts[:0] = self.parts_of(target) if target.startswith("/") else target.split("/")
                continue
            if not parts:
                return self._done(name)
            self._down(name)
        return self._done(self._single)

    def parts_of(self, target: str) -> list[str]:
        """Go to the root that this absolute path is below. Returns the rest of the path; raises Refused if there is
        none."""
        # `..` is resolved on the way, not here: the part before it may be a link.
        path = PurePosixPath(target)
        for root in self._roots:
            if path.is_relative_to(root):
                self.enter(root)
                return list(path.relative_to(root).parts)
        raise Refused("it is outside the sandbox")

    def _done(self, name: str) -> Place:
        place = Place(self._open.pop(), name)
        self.close()
        return place

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self._open[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None  # no link, or nothing there
            raise

    def _down(self, name: str) -> None:
        if len(self._open) > MOST_LEVELS:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        made = False
        if self._make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, NEW_DIRECTORY, dir_fd=self._open[-1])
                made = True
        self._open.append(os.open(name, DIRECTORY, dir_fd=self._open[-1]))
        if made:
            os.fchmod(self._open[-1], NEW_DIRECTORY)
            _belongs_to_owner_of(self._open[-2], self._open[-1])
