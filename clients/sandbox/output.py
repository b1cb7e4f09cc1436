"""What a command printed, within bounds: the head and the tail in memory, all of it in a file once it is too much."""

from collections import deque
from pathlib import Path
from typing import BinaryIO

from clients.masking import Mask

MAX_FILE_BYTES = 64 << 20
"""A command that prints for ever fills no disk: what comes after this is counted and dropped."""


class Output:
    """Collects chunks of bytes. `limit` is in bytes of the final text; `path` is written only if it is exceeded."""

    def __init__(self, *, limit: int, mask: Mask, path: Path, shown_path: str) -> None:
        self._half = max(limit // 2, 1)
        self._mask = mask
        self._path, self._shown_path = path, shown_path
        self._keep = self._half + mask.longest
        self._whole: list[bytes] | None = []
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._file: BinaryIO | None = None
        self.size = 0

    @property
    def truncated(self) -> bool:
        return self._whole is None

    def feed(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self._whole is not None:
            self._whole.append(chunk)
            if self.size > 2 * self._half:
                self._spill(b"".join(self._whole))
            return
        self._write(chunk)
        self._push(chunk)

    def close(self) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def text(self) -> str:
        """The masked text, cut in the middle with a note that names the file if it was too long."""
        self.close()
        if self._whole is not None:
            return self._mask(_decode(b"".join(self._whole)))
        # A secret that lies across the cut would survive in two halves: both sides were kept longer by the longest
        # secret and lose that much again after masking.
        margin = self._mask.longest
        head = self._mask(_decode(self._head))
        tail = self._mask(_decode(b"".join(self._tail)[-self._keep :]))
        head, tail = head[: len(head) - margin], tail[margin:]
        kept = len(head.encode()) + len(tail.encode())
        note = f"[{max(self.size - kept, 0)} of {self.size} bytes cut here; the full output is in {self._shown_path}]"
        return f"{head}\n{note}\n{tail}"

    def _spill(self, everything: bytes) -> None:
        self._whole = None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("wb")
        self._write(everything)
        self._head = everything[: self._keep]
        self._push(everything)

    def _write(self, chunk: bytes) -> None:
        if self._file and self._file.tell() + len(chunk) <= MAX_FILE_BYTES:
            self._file.write(chunk)

    def _push(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        while self._tail_size - len(self._tail[0]) >= self._keep:
            self._tail_size -= len(self._tail.popleft())


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
