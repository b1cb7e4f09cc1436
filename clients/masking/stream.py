"""Masks a text that comes in pieces, with the same result as for the whole text.

A secret that a model writes over several tokens is in none of them. So the end of a piece is held back if it could be
the beginning of a secret, until more text comes or the text has ended. That is never more than the longest form that
the mask looks for, and nothing at all if no form begins like it.

    shown = stream.feed(piece)      the masked text that may be seen now
    shown = stream.rest()           the rest of it, at the end of the text
"""

from agent_runner.clients.masking.mask import SHOWN, Mask


class MaskedStream:
    """`"".join(map(feed, pieces)) + rest()` is `mask("".join(pieces))`, wherever the text is cut."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""
        self._covered = 0
        """Bytes at the beginning of what is held that belong to a secret whose asterisks have been shown: another one
        may begin within it."""

    def feed(self, piece: str) -> str:
        data = self._held + piece.encode("utf-8", "surrogatepass")
        return self._shown(data, self._mask.open_at(data))

    def rest(self) -> str:
        return self._shown(self._held, len(self._held))

    def _shown(self, data: bytes, until: int) -> str:
        shown, at = [], self._covered
        for begin, end in self._mask.spans(data):
            if begin >= until:
                break  # found again with the next piece
            if begin >= at:
                shown += [data[at:begin], SHOWN.encode()]
            at = max(at, end)
        if at < until:
            shown.append(data[at:until])
            at = until
        self._held, self._covered = data[until:], at - until
        return b"".join(shown).decode("utf-8", "surrogatepass")
