"""Anything as plain JSON that every store and every protobuf takes: tool arguments, results and final states."""

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 32
"""Deeper values are shown as text. Protobuf's JSON parser stops at 100, and each level of ours costs it three."""


def plain_text(text: str) -> str:
    """Without what UTF-8 and Postgres refuse: lone surrogates and NUL become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cut(text: str, max_bytes: int) -> str:
    """At most `max_bytes` of UTF-8, and a note of what is missing where something is."""
    if len(text) * 4 <= max_bytes:
        return text
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    head = raw[:max_bytes].decode(errors="ignore")
    return f"{head}\n[cut here: {max_bytes} of {len(raw)} bytes are shown]"


def plain(value: Any, *, max_bytes: int, depth: int = MAX_DEPTH) -> Any:
    """`value` as dicts, lists, texts, numbers, booleans and None. Texts are cut to `max_bytes`. Never raises."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return cut(plain_text(value), max_bytes)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth <= 0:
        return cut(plain_text(_described(value)), max_bytes)
    if isinstance(value, Mapping):
        return {plain_text(str(k)): plain(v, max_bytes=max_bytes, depth=depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v, max_bytes=max_bytes, depth=depth - 1) for v in value]
    if dumped := _dumped(value):
        return plain(dumped, max_bytes=max_bytes, depth=depth - 1)
    return cut(plain_text(_described(value)), max_bytes)


def result_text(result: Any, *, max_bytes: int) -> str:
    """A tool's result as the text to show.

    A text is itself; blocks are joined; `{"output": x}` and `{"content": x}` mean x; anything else is shown as JSON.
    """
    if isinstance(result, str):
        return cut(plain_text(result), max_bytes)
    if isinstance(result, Mapping):
        for name in ("output", "content"):
            if name in result:
                return result_text(result[name], max_bytes=max_bytes)
    if isinstance(result, list) and result and all(isinstance(p, str) or _is_block(p) for p in result):
        return cut(plain_text("".join(_block(part) for part in result)), max_bytes)
    if result is None:
        return ""
    return cut(json.dumps(plain(result, max_bytes=max_bytes), ensure_ascii=False), max_bytes)


def _is_block(part: Any) -> bool:
    return isinstance(part, Mapping) and "type" in part


def _block(part: str | Mapping[str, Any]) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text")
    return text if isinstance(text, str) else f"[{part.get('type', 'block')}]"


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if not callable(dump) or isinstance(value, type):
        return None
    try:
        return dump()
    except Exception:  # a foreign object: whatever it does, the run goes on
        return None


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
