"""What a command prints, taken out of the stream of its log: between a line with its id and one with id and exit code.

The stream has a form of Daytona's own (text, always whole lines), goes on for as long as a background process holds it
open, and begins anew when it is asked for again.
"""

import threading
from collections.abc import Callable


class Ended(BaseException):
    """The command's own end was seen: nothing that comes after it is wanted. Not an Exception, because the SDK would
    make an error of its own of it."""


class Transcript:
    """Fed by one thread with pieces of text; `stop` by any."""

    def __init__(self, id_: str, feed: Callable[[bytes], None]) -> None:
        self._begin, self._end = f"{id_}\n", f"\n{id_} "
        self._feed = feed
        self._lock = threading.Lock()
        self._held = ""
        self._seen = self._skip = 0
        self._begun = self._stopped = False
        self.exit_code: int | None = None
        self.complaint = ""
        """What the shell printed before the command began."""

    def again(self) -> None:
        """The stream is asked for once more: what was seen of it comes again."""
        self._skip = self._seen

    def take(self, piece: str) -> None:
        """Raises Ended at the end of the command."""
        with self._lock:
            if self._stopped or self.exit_code is not None:
                raise Ended
            if self._skip:
                skipped = min(self._skip, len(piece))
                self._skip -= skipped
                piece = piece[skipped:]
            self._seen += len(piece)
            self._held += piece
            if not self._begun and not self._found_begin():
                return
            self._pass_on()
            if self.exit_code is not None:
                raise Ended

    def stop(self) -> None:
        """Nothing is passed on any more."""
        with self._lock:
            self._stopped = True

    def finish(self) -> None:
        """The stream has ended: what was held back belongs to the command."""
        with self._lock:
            if self._begun and not self._stopped and self.exit_code is None:
                self._feed(self._held.encode())
            elif not self._begun:
                self.complaint = self._held.strip()
            self._held = ""

    def _found_begin(self) -> bool:
        before, found, after = self._held.partition(self._begin)
        if found:
            self._begun, self._held, self.complaint = True, after, before.strip()
        return bool(found)

    def _pass_on(self) -> None:
        text, found, rest = self._held.partition(self._end)
        if found and "\n" in rest:
            said = rest.partition("\n")[0]
            self.exit_code = int(said) if said.isdigit() else None
            self._held = ""
            self._feed(text.encode())
        elif found:
            self._feed(text.encode())
            self._held = found + rest
        else:
            keep = len(self._end) - 1
            ready, self._held = self._held[:-keep], self._held[-keep:]
            self._feed(ready.encode())
