"""Short entries for lists: the identity and the short fields of an execution or a resource, without its content.

An entry stays small, however much is stored: at most about `MAX_ENTRY_BYTES`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT_CHARS = 200
MAX_TAGGED_BYTES = 2048
"""The limit for all labels, all annotations, all tags. Larger ones are left out whole: half of them would mislead."""
MAX_ENTRY_BYTES = 2048
"""The size of an execution's entry, besides its labels, annotations and tags."""
_CONTENT = re.compile(r'"content":"((?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)')
_CODE = re.compile(r" \[E\d+ [A-Z_]+\]$")
_IDENTITY = frozenset({"id", "slug", "org", "owner_scope"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """A short form of an execution's content, used instead of its `State`."""

    said: str = ""
    """The beginning of the user's message."""
    error: str = ""
    told_at: float = 0.0
    """When its newest phase began, according to the log."""
    incomplete: Mapping[str, str]
    """`reason` and `text`; empty for a complete answer."""


def short(text: str) -> str:
    """The text, cut to at most `MAX_TEXT_CHARS` characters. A cut text ends in `…`."""
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def short_error(error: str) -> str:
    """The error, cut as in `short`. A code at its end is kept."""
    code = _CODE.search(error)
    return error if len(error) <= MAX_TEXT_CHARS else short(error) + (code[0] if code else "")


def content_of(payload: str) -> str:
    """The beginning of a row's field `content`. `payload` is the beginning of the row's JSON."""
    found = _CONTENT.search(payload)
    return short(json.loads(f'"{found[1]}"', strict=False)) if found else ""


def brief_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Identity fields as they are, other texts short; labels, annotations and tags whole or not at all."""
    shown: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, str):
            shown[name] = value if name in _IDENTITY else short(value)
        elif not isinstance(value, Mapping | list) or _weight(value) <= MAX_TAGGED_BYTES:
            shown[name] = value
    return shown


def brief_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A resource's body with short texts. Nested values of its spec and status are left out, except `audit`."""
    shown = {"metadata": brief_metadata(body.get("metadata", {}))}
    for part in ("spec", "status"):
        given = body.get(part, {})
        shown[part] = {name: short(v) if isinstance(v, str) else v for name, v in given.items() if not _nested(v)}
    if audit := body.get("status", {}).get("audit"):
        shown["status"]["audit"] = audit
    return {**body, **shown}


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _weight(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())
