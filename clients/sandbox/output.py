"""A command's output, within bounds: the head and the tail in memory, and all of it in a file once it is too long.

The file is masked like the text. If the disk cannot take it, only the file is lost, not the result: the note says why
there is no file.
"""

import contextlib
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

from agent_runner.clients.masking.mask import Mask, MaskedStream

MAX_FILE_BYTES = 64 << 20
"""A command that prints for ever fills no disk: what comes after this is counted and dropped."""
NOTES_BYTES = 512
"""Of the limit, for our note and the tool's line with the exit code: else the end would be cut off again later."""


class Output:
    """Collects chunks of bytes. `limit` is in bytes of the final text. Only if it is exceeded, `create` opens the file;
    `remove` deletes a file that could not be written. Both raise OSError."""

    def __init__(
        self,
        *,
        limit: int,
        mask: Mask,
        shown_path: str,
        create: Callable[[], BinaryIO],
        remove: Callable[[], object] = lambda: None,
    ) -> None:
        self._half = max((limit - min(NOTES_BYTES, limit // 4)) // 2, 1)
        self._mask = mask
        self._create, self._remove, self._shown_path = create, remove, shown_path
        self._masked = MaskedStream(mask)
        self._keep = self._half + mask.longest
        self._whole: list[bytes] | None = []
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._file: BinaryIO | None = None
        self._not_kept = ""
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
        self._write(b"", last=True)
        file, self._file = self._file, None
        if file:
            try:
                file.close()
            except OSError as error:
                self._lose_file(error)

    def text(self) -> str:
        """The masked text, cut in the middle with a note that names the file if it was too long."""
        self.close()
        if self._whole is not None:
            return self._mask(_decode(b"".join(self._whole)))
        # A secret across the cut would stay readable in two halves. So both sides were kept longer by the length of the
        # longest secret, and are cut by that much after masking.
        margin = self._mask.longest
        head = self._mask(_decode(self._head))
        tail = self._mask(_decode(b"".join(self._tail)[-self._keep :]))
        head, tail = head[: len(head) - margin], tail[margin:]
        kept = len(head.encode()) + len(tail.encode())
        where = self._not_kept or f"the full output is in {self._shown_path}"
        note = f"[{max(self.size - kept, 0)} of {self.size} bytes cut here; {where}]"
        return f"{head}\n{note}\n{tail}"

    def _spill(self, everything: bytes) -> None:
        self._whole = None
        try:
            self._file = self._create()
        except OSError as error:
            self._lose_file(error)
        self._write(everything)
        self._head = everything[: self._keep]
        self._push(everything)

    def _write(self, chunk: bytes, *, last: bool = False) -> None:
        if self._file:
            try:
                data = self._masked.feed(chunk, last=last)
                if self._file.tell() + len(data) <= MAX_FILE_BYTES:
                    self._file.write(data)
            except OSError as error:
                self._lose_file(error)

    def _lose_file(self, error: OSError) -> None:
        """Delete the incomplete file, to give its disk space back."""
        self._not_kept = f"the full output could not be kept: {error.strerror or error}"
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file:
                file.close()
        with contextlib.suppress(OSError):
            self._remove()

    def _push(self, chunk: bytes) -> None:
        self._tail.append(chunk)
        self._tail_size += len(chunk)
        while self._tail_size - len(self._tail[0]) >= self._keep:
            self._tail_size -= len(self._tail.popleft())


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
