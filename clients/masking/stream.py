"""A text that comes in pieces, masked as the whole of it would be.

A secret that a model says over several tokens is in none of them. So of each piece the end is held back that could be
the beginning of something secret, until more has come or the text has ended: never more than the longest thing that
the mask looks for, and nothing at all of a text that looks like none of it.

    shown = stream.feed(piece)      what of it, and of what was held back, may be seen now
    shown = stream.rest()           the text has ended
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
                break  # seen again with what comes
            if begin >= at:
                shown += [data[at:begin], SHOWN.encode()]
            at = max(at, end)
        if at < until:
            shown.append(data[at:until])
            at = until
        self._held, self._covered = data[until:], at - until
        return b"".join(shown).decode("utf-8", "surrogatepass")
