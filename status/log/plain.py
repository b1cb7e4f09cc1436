"""Any value as plain JSON that every store and every protobuf accepts: tool arguments, results and final states."""

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from agent_runner.status.attachments import amount, reference_to
from agent_runner.status.log.simpler import UNKNOWN, name_of, simpler
from agent_runner.status.media import encoded, found_in, put

ITEM_BYTES = 8
"""The least size that is counted for a number, a name or the end of a list."""
NAME_BYTES = 100
"""A field's name of this size is whole, however little room is left."""
FEW = 64
"""In a mapping of at most so many fields those that are small come first: a large one leaves no room for others."""
SMALL_CHARS, SMALL_PARTS = 256, 16
LINE = "\n"
MAX_ENCODED = 1024
"""The most characters of base64 data (a picture, say) in a tool's arguments or result; larger data is left out."""
MAX_DEPTH = 32
"""Deeper values are shown as text. Protobuf's JSON parser stops at 100 levels, and needs three for each of ours."""


def plain_text(text: str) -> str:
    """The text without characters that UTF-8 and Postgres refuse: lone surrogates and NUL become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Room:
    """How many bytes a whole value may still take; shared by all its parts. `cut`: something did not fit.

    `max_encoded`: the limit for pictures and other base64 data. A note replaces larger data.
    """

    def __init__(self, max_bytes: int, *, max_encoded: int | None = None) -> None:
        self.left = max_bytes
        self.max_encoded = max_encoded
        self.cut = False

    def text(self, text: str, max_bytes: int, *, least: int = 0) -> str:
        """As much of the text as fits, and at least so many bytes of it."""
        if self.max_encoded is not None and len(text) > self.max_encoded and encoded(text):
            text = left_out(text)
        shown = shown_text(text, max(least, min(max_bytes, self.left)))
        self.cut = self.cut or (len(shown) != len(text) and self.left < max_bytes)
        self.left -= (len(shown) if shown.isascii() else len(shown.encode())) + ITEM_BYTES
        return shown

    def full(self) -> bool:
        self.left -= ITEM_BYTES
        self.cut = self.cut or self.left <= 0
        return self.left <= 0


def shown_text(text: str, max_bytes: int) -> str:
    """`plain_text`, cut to `max_bytes` with a note. The rest of a longer text is not processed."""
    if len(text) <= max_bytes:
        return cut(plain_text(text), max_bytes)
    total = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    head = plain_text(text[:max_bytes]).encode()[:max_bytes].decode(errors="ignore")
    return f"{head}{note_of(max_bytes, total)}"


def left_out(text: str) -> str:
    """The note that replaces base64 data. The head of a data URL stays."""
    head, comma, data = text.partition(",") if text.startswith("data:") else ("", "", text)
    return f"{head}{comma}[{amount(len(data) * 3 // 4)} left out here]"


def note_of(max_bytes: int, total: int) -> str:
    return f"\n[cut here: {max_bytes} of {total} bytes are shown]"


def cut(text: str, max_bytes: int) -> str:
    """The text, cut to `max_bytes` of UTF-8. A cut text ends with a note."""
    if len(text) * 4 <= max_bytes:
        return text
    raw = text.encode()
    if len(raw) <= max_bytes:
        return text
    head = raw[:max_bytes].decode(errors="ignore")
    return f"{head}{note_of(max_bytes, len(raw))}"


def plain(value: Any, *, max_bytes: int, room: Room | None = None, depth: int = MAX_DEPTH) -> Any:
    """`value` as dicts, lists, texts, numbers, booleans and None. Never raises.

    Texts are cut to `max_bytes`. `room` limits the whole value; its default is `max_bytes`, too. Parts that do not fit
    are replaced by a note and are not processed.
    """
    room = Room(max_bytes) if room is None else room
    if value is None or isinstance(value, bool | int):
        room.left -= ITEM_BYTES
        return value
    if isinstance(value, str):
        return room.text(value, max_bytes)
    if isinstance(value, float):
        room.left -= ITEM_BYTES
        return value if math.isfinite(value) else str(value)
    if depth <= 0:
        return room.text(_described(value), max_bytes)
    if isinstance(value, bytes | bytearray):
        return room.text(_encoded(value, min(max_bytes, room.left), room), max_bytes)
    if isinstance(value, Mapping):
        return _plain_fields(_without_data(value, room), max_bytes, room, depth - 1)
    if isinstance(value, list | set | frozenset) or (isinstance(value, tuple) and not hasattr(value, "_asdict")):
        return _plain_items(value, max_bytes, room, depth - 1)
    if (form := simpler(value)) is not UNKNOWN:
        return plain(form, max_bytes=max_bytes, room=room, depth=depth - 1)
    return room.text(_described(value), max_bytes)


def _without_data(value: Mapping[Any, Any], room: Room) -> Mapping[Any, Any]:
    media = found_in(value) if room.max_encoded is not None else None
    if media is None or not media.inline or len(media.encoded) <= (room.max_encoded or 0):
        return value
    return put(dict(value), media.place, left_out(media.prefix + media.encoded))


def _plain_fields(value: Mapping[Any, Any], max_bytes: int, room: Room, depth: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    names: dict[Any, str] = {}
    fields = value.items() if len(value) > FEW else sorted(value.items(), key=lambda item: _is_large(item[1]))
    for name, field in fields:
        if room.full():
            break
        names[name] = shown = room.text(name_of(name), max_bytes, least=NAME_BYTES)
        told[shown] = plain(field, max_bytes=max_bytes, room=room, depth=depth)
    if isinstance(fields, list):
        told = {names[name]: told[names[name]] for name in value if name in names}
    if len(names) < len(value):
        told["[cut here]"] = f"{len(value) - len(names)} of {len(value)} fields are left out"
    return told


def _is_large(value: Any, *, alone: bool = False) -> bool:
    """Whether it may need much room. `alone`: a list or a mapping does, whatever is in it."""
    if isinstance(value, str):
        return len(value) > SMALL_CHARS
    if type(value) in (list, dict) and not alone and len(value) <= SMALL_PARTS:
        return any(_is_large(part, alone=True) for part in (value.values() if type(value) is dict else value))
    return not (value is None or isinstance(value, bool | int | float))


def _plain_items(value: Any, max_bytes: int, room: Room, depth: int) -> list[Any]:
    told: list[Any] = []
    for item in value:
        if room.full():
            told.append(f"[cut here: {len(value) - len(told)} of {len(value)} items are left out]")
            break
        told.append(plain(item, max_bytes=max_bytes, room=room, depth=depth))
    return told


def has_more_parts(value: Any, most: int) -> bool:
    """Whether `value` has more than so many entries and items, at any depth. Looks at no more of them than that."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        parts = one.values() if type(one) is dict else one if type(one) in (list, tuple) else ()
        seen += len(parts)
        if seen > most:
            return True
        waiting.extend(parts)
    return False


def result_text(result: Any, *, max_bytes: int) -> str:
    """A tool's result as the text to show.

    A text is shown as it is. Blocks are joined; a picture becomes a reference on a line of its own. `{"output": x}`
    and `{"content": x}` mean x. Anything else is shown as JSON.
    """
    if isinstance(result, str):
        return shown_text(left_out(result) if len(result) > MAX_ENCODED and encoded(result) else result, max_bytes)
    if shown := reference_to(result):
        return shown
    if isinstance(result, Mapping):
        for name in ("output", "content"):
            if name in result:
                return result_text(result[name], max_bytes=max_bytes)
    if isinstance(result, list) and result and all(isinstance(p, str) or _is_block(p) for p in result):
        return shown_text(_joined(result), max_bytes)
    if result is None:
        return ""
    room = Room(max_bytes, max_encoded=MAX_ENCODED)
    return cut(json.dumps(plain(result, max_bytes=max_bytes, room=room), ensure_ascii=False), max_bytes)


def _is_block(part: Any) -> bool:
    return isinstance(part, Mapping) and "type" in part


def _joined(parts: list[Any]) -> str:
    told = ""
    for part in parts:
        if shown := reference_to(part):
            told += f"{'' if not told or told.endswith(LINE) else LINE}{shown}{LINE}"
            continue
        text = part if isinstance(part, str) else part.get("text")
        told += text if isinstance(text, str) else f"[{part.get('type', 'block')}]"
    return told.removesuffix(LINE) if parts and reference_to(parts[-1]) else told


def _encoded(value: bytes | bytearray, limit: int, room: Room) -> str:
    """Bytes as base64, or a note where they are not to be shown or do not fit."""
    if room.max_encoded is None and len(value) * 4 // 3 <= limit:
        return b64encode(value).decode()
    room.cut = room.cut or room.max_encoded is None
    return f"[{amount(len(value))} left out here]"


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
