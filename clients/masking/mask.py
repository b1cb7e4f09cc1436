"""Replaces secret values in text before it leaves the run.

A `Mask` is used once, at the tool boundary (results before they enter the graph), and on error texts. It finds each
value as it is, and as JSON, a URL, Python and the shell's `export -p` write it. It also finds the single lines of a
value of several lines, and the parts between characters that programs write in different ways (quotes, backslashes,
`$`, tabs, letters that are not ASCII). Of a value longer than 48 characters also a part of it, from 24 on, may be
masked.

Known limit: a command that prints a secret in another form (base64, reversed, one character per line) is not caught.
"""

import asyncio
import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

T = TypeVar("T")
SHOWN = "********"
_SHOWN = SHOWN.encode()
PIECE_LENGTH = 48
IN_A_THREAD = 64 << 10
MOST_HELD_BYTES = 1 << 20
LOOK_BYTES = 64 << 10
"""Looked through at a time. Smaller windows would wait for their turn among the threads too often."""
MIN_LENGTH = 4
"""Shorter values are left alone: masking every `1` or `on` would destroy what people read."""
MIN_LINE_LENGTH = 8
MIN_PART_LENGTH = 12
"""And with a digit in it: the words in a file of credentials are no secrets."""
_ESCAPED = re.compile(r"""["'`$\\]|[^ -~]""")


class Mask:
    """`Mask(secrets)(text)` is `text` with every secret replaced by asterisks; overlapping secrets become one row of
    them.

    One automaton looks for all secrets in one pass, so that the cost depends on the length of the text only. A long
    form is searched in overlapping pieces: else a text full of its beginnings would be read again from each of them.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(secrets)
        forms = {form for secret in self._secrets for form in _forms(secret) if len(form) >= MIN_LENGTH}
        sought = sorted({_bytes(piece) for form in forms for piece in _pieces(form)})
        self._sought, self._first = sought, frozenset(one[0] for one in sought)
        kind, made = MatchKind.LeftmostLongest, Implementation.NoncontiguousNFA
        self._finder = BytesAhoCorasick(sought, kind, made) if sought else None
        self.longest = max(map(len, sought), default=0)
        """Bytes of the longest thing looked for: whoever cuts text must cut this much more around the cut."""
        self._shortest = min(map(len, sought), default=0)

    def also(self, secrets: Collection[str]) -> "Mask":
        """A mask of these secrets too. It is this one if there are none: to make one costs more than to mask a line."""
        return Mask([*secrets, *self._secrets]) if secrets else self

    def __call__(self, text: str) -> str:
        if self._finder is None:
            return text
        data = _bytes(text)
        masked = self.of_bytes(data)
        return text if masked is data else masked.decode("utf-8", "surrogatepass")

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """(begin, end) of each secret in `data`, in order; overlapping ones are merged."""
        found: list[tuple[int, int]] = []
        if len(data) < self._shortest:  # a token, an id: the finder would let other threads go on for each of them
            return found
        for at in range(0, len(data) if self._finder else 0, LOOK_BYTES):
            until = at + LOOK_BYTES
            for begin, end in self._matches(data, at, until + self.longest - 1):
                if begin >= until:  # the next window finds the whole of it
                    break
                _add(found, begin, end)
                # Another one may begin within it and end later.
                while inner := self._matches(data, begin + 1, end + self.longest - 1):
                    begin, last = inner[0]
                    if begin >= end:
                        break
                    _add(found, begin, last)
        return found

    def open_at(self, data: bytes) -> int:
        """Where in `data` the beginning of a secret may stand that more text would complete; the length of `data` if
        there is none."""
        for at in range(max(0, len(data) - self.longest + 1), len(data)):
            if data[at] not in self._first:
                continue
            begun = data[at:]
            after = bisect_right(self._sought, begun)
            if after < len(self._sought) and self._sought[after].startswith(begun):
                return at
        return len(data)

    def _matches(self, data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
        """Matches from left to right, without overlap, at each place the longest. Other threads run meanwhile."""
        assert self._finder is not None
        matches = self._finder.find_matches_as_indexes(data[begin:end])
        return [(begin + first, begin + last) for _, first, last in matches]

    def of_bytes(self, data: bytes) -> bytes:
        """Mask bytes that may be no text: everything but the secrets stays as it is."""
        spans = self.found(data)
        if not spans:
            return data
        shown, at = [], 0
        for begin, end in spans:
            shown += [data[at:begin], _SHOWN]
            at = end
        return b"".join([*shown, data[at:]])

    def found(self, data: bytes) -> list[tuple[int, int]]:
        """(begin, end) of each secret in `data`, in order; overlapping ones are merged."""
        return self.spans(data) if self._finder is not None else []

    def within(self, value: Any) -> Any:
        """The value with every text in it masked, at any depth of lists and objects."""
        match value:
            case str():
                return self(value)
            case dict():
                return {name: self.within(inner) for name, inner in value.items()}
            case list() | tuple():
                return type(value)(map(self.within, value)) if type(value) in (list, tuple) else value
        return value

    async def within_apart(self, value: T) -> T:
        """As `within`; a lot of text is masked in a thread, while the event loop goes on."""
        apart = self._finder is not None and characters_in(value) >= IN_A_THREAD
        masked: T = await asyncio.to_thread(self.within, value) if apart else self.within(value)
        return masked

    def __bool__(self) -> bool:
        return self._finder is not None


def characters_in(value: Any) -> int:
    """The number of characters of all texts in the value, at any depth."""
    match value:
        case str():
            return len(value)
        case dict():
            return sum(map(characters_in, value.values()))
        case list() | tuple():
            return sum(map(characters_in, value))
    return 0


def _add(found: list[tuple[int, int]], begin: int, end: int) -> None:
    """Add a span, or extend the last one if they overlap. Spans come in the order of their beginnings."""
    if found and begin < found[-1][1]:
        begin, before = found.pop()
        end = max(end, before)
    found.append((begin, end))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _pieces(form: str) -> Iterator[str]:
    """The whole form, or pieces of it of about equal length; each ends with the first character of the next one."""
    count = -(-len(form) // PIECE_LENGTH)
    for i in range(count):
        piece = form[i * len(form) // count : (i + 1) * len(form) // count + 1]
        if piece.strip():
            yield piece


class MaskedStream:
    """Masks data that comes in pieces: `feed` returns the part that can be written by then."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """`last`: also return all data that was held back."""
        if not self._mask:
            return data
        self._held += data
        # A secret that begins before the cut and may go on after it is held back, so that it is found whole.
        whole = last or len(self._held) > MOST_HELD_BYTES
        cut = len(self._held) if whole else max(len(self._held) - self._mask.longest, 0)
        for begin, end in self._mask.found(self._held):
            if begin < cut < end:
                cut = begin
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._mask.of_bytes(ready)


def _forms(secret: str) -> Iterable[str]:
    stripped = secret.strip()
    if len(stripped) < MIN_LENGTH:
        return
    for value in (secret, stripped):
        yield value
        yield json.dumps(value)[1:-1]
        yield json.dumps(value, ensure_ascii=False)[1:-1]
        yield quote(value, safe="", errors="surrogatepass")
        yield repr(value)[1:-1]
        yield value.replace("'", "'\"'\"'")
        yield re.sub(r'([\\"$`])', r"\\\1", value)
    parts = [part.strip() for part in _ESCAPED.split(stripped)]
    yield from (part for part in parts if len(part) >= MIN_PART_LENGTH and any(map(str.isdigit, part)))
    lines = stripped.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= MIN_LINE_LENGTH)
