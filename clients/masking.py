"""Replaces secret values in text before it leaves the run.

A `Mask` is used once, at the tool boundary (results before they enter the graph), and on error texts. It knows each
value as it is, as JSON, a URL, Python and the shell's `export -p` write it, the single lines of a value of several
lines, and what stands between characters that a program may write in its own way (quotes, backslashes, `$`, tabs,
letters that are not ASCII).

Known limit: a command that prints a secret in another form (base64, reversed, one character per line) is not caught.
"""

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

SHOWN = "********"
MIN_LENGTH = 4
"""Shorter values are left alone: masking every `1` or `on` would destroy what people read."""
MIN_LINE_LENGTH = 8
MIN_PART_LENGTH = 12
"""And with a digit in it: the words in a file of credentials are no secrets."""
_ESCAPED = re.compile(r"""["'`$\\]|[^ -~]""")


class Mask:
    """`Mask(secrets)(text)` is `text` with every secret replaced by asterisks; longer secrets first."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_LENGTH}
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self.longest = max((len(form.encode()) for form in ordered), default=0)
        """Bytes of the longest form: whoever cuts text must cut this much more around the cut."""

    def __call__(self, text: str) -> str:
        return self._pattern.sub(SHOWN, text) if self._pattern else text

    def within(self, value: Any) -> Any:
        """The same with every text in it masked, however deep it lies in lists and objects."""
        match value:
            case str():
                return self(value)
            case dict():
                return {name: self.within(inner) for name, inner in value.items()}
            case list() | tuple():
                return type(value)(map(self.within, value)) if type(value) in (list, tuple) else value
        return value

    def __bool__(self) -> bool:
        return self._pattern is not None


def _forms(secret: str) -> Iterable[str]:
    stripped = secret.strip()
    if len(stripped) < MIN_LENGTH:
        return
    for value in (secret, stripped):
        yield value
        yield json.dumps(value)[1:-1]
        yield json.dumps(value, ensure_ascii=False)[1:-1]
        yield quote(value, safe="")
        yield repr(value)[1:-1]
        yield value.replace("'", "'\"'\"'")
        yield re.sub(r'([\\"$`])', r"\\\1", value)
    parts = [part.strip() for part in _ESCAPED.split(stripped)]
    yield from (part for part in parts if len(part) >= MIN_PART_LENGTH and any(map(str.isdigit, part)))
    lines = stripped.splitlines()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= MIN_LINE_LENGTH)
