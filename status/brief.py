"""What lists say of something without its content: who it is, and the short fields.

Everything here is small whatever was stored: one entry has at most about `MAX_ENTRY_BYTES`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT_CHARS = 200
MAX_TAGGED_BYTES = 2048
"""Of labels, annotations and tags, each kind as a whole. What has more is left out: half of them would be a lie."""
MAX_ENTRY_BYTES = 2048
"""What an execution's entry has beside its labels, annotations and tags."""
_CONTENT = re.compile(r'"content":"((?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*)')
_CODE = re.compile(r" \[E\d+ [A-Z_]+\]$")
_IDENTITY = frozenset({"id", "slug", "org", "owner_scope"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """An execution's content in a few words, in the place of its `State`."""

    said: str = ""
    """The beginning of what the user said."""
    error: str = ""
    told_at: float = 0.0
    """When its newest phase began, as its log says."""
    incomplete: Mapping[str, str]
    """`reason` and `text`; empty for a whole answer."""


def short(text: str) -> str:
    """At most `MAX_TEXT_CHARS` characters of it, then a sign that there is more."""
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def short_error(error: str) -> str:
    """Short, with the code that it ends in."""
    code = _CODE.search(error)
    return error if len(error) <= MAX_TEXT_CHARS else short(error) + (code[0] if code else "")


def content_of(payload: str) -> str:
    """The beginning of the field `content` of a row, of which `payload` is the beginning."""
    found = _CONTENT.search(payload)
    return short(json.loads(f'"{found[1]}"', strict=False)) if found else ""


def brief_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Names as they are, other texts short; labels, annotations and tags as a whole or not at all."""
    shown: dict[str, Any] = {}
    for name, value in metadata.items():
        if isinstance(value, str):
            shown[name] = value if name in _IDENTITY else short(value)
        elif not isinstance(value, Mapping | list) or _weight(value) <= MAX_TAGGED_BYTES:
            shown[name] = value
    return shown


def brief_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A resource's body with the texts and numbers of its spec and status, short; nothing that is nested but audit."""
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
