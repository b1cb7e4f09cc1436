"""Text of tools and models for a terminal or a log: control characters are shown as escapes."""

import re

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with control characters written as escapes (`\\x1b`); line ends and tabs stay."""
    return _OBEYED.sub(_shown, text.replace("\r\n", "\n"))


def _shown(matched: re.Match[str]) -> str:
    code = ord(matched.group())
    return "\\r" if code == 13 else f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
