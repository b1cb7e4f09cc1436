"""Pictures, sounds and files as content blocks, in the forms that clients and models use.

    LangChain   {"type": "image", "base64": ..., "mime_type": ...} | "url" | "file_id", and its older `source_type`
    OpenAI      image_url, input_image, input_file, input_audio, {"type": "file", "file": {...}}
    Anthropic   {"type": "image" | "document", "source": {"type": "base64" | "url" | "file" | "text", ...}}
    Google      {"type": "media", "data": ..., "mime_type": ...}
    MCP         {"type": "image" | "audio", "data": ..., "mimeType": ...}

Known limit: a block in any other form is treated and shown as plain JSON.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
KINDS = ("image", "audio", "video", "file")
"""The kinds of attachments."""
_TYPES = {**{kind: kind for kind in KINDS}, "document": "file", "text-plain": "file", "media": "file"}
_OPENAI = {"image_url": "image", "input_image": "image", "input_file": "file", "input_audio": "audio"}
FORMS = frozenset({*_TYPES, *_OPENAI})
"""The `type` of every block that is a medium."""
_OF_LANGCHAIN = (
    *("type", "mime_type", "mimeType", "source_type", "base64", "data", "url", "file_id", "id", "text"),
    *("filename", "name", "index"),
)
BASE64, PLAIN = "base64", "text"
_MIME = re.compile(r"[A-Za-z0-9][\w.+-]*/[A-Za-z0-9][\w.+-]*")
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?);base64,", re.IGNORECASE)
_WEB = ("http://", "https://")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"PK\x03\x04", "application/zip"),
)


class BlockError(ValueError):
    """A block that is not valid. `place` is the path of the invalid part, for example `.image_url.url`.

    `of_ours` is false if only the `type` of the block is that of a medium: other kinds of blocks may use it, too.
    """

    def __init__(self, place: tuple[str, ...], text: str, *, of_ours: bool = True) -> None:
        super().__init__(text)
        self.place = place
        self.of_ours = of_ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The content of a block. Its bytes are at `place`, encoded as `coding` (base64 or text), after `prefix`. An empty
    `place` means that the block contains no bytes."""

    type: str
    mime_type: str = ""
    name: str = ""
    url: str = ""
    file_id: str = ""
    place: tuple[str, ...] = ()
    coding: str = BASE64
    prefix: str = ""
    encoded: str = ""
    more: Json = field(default_factory=dict)
    """Further fields of the block: a resolution, a title, cache settings."""

    @property
    def inline(self) -> bool:
        return bool(self.place)

    def content(self) -> bytes:
        """The decoded bytes. Raises BlockError."""
        if self.coding == PLAIN:
            return self.encoded.encode()
        try:
            return base64.b64decode("".join(self.encoded.split()), validate=True)
        except (binascii.Error, ValueError):
            raise BlockError(self.place, "not base64") from None


def is_medium(block: Any) -> bool:
    """Whether it says that it is one; anything may stand where a type is expected."""
    kind = block.get("type") if isinstance(block, Mapping) else None
    return isinstance(kind, str) and kind in FORMS


def media_of(block: Any) -> Media | None:
    """None if the block is no medium: a text, a tool call, anything else. Raises BlockError."""
    if not is_medium(block):
        return None
    type_ = str(block["type"])
    if type_ in _OPENAI:
        return _of_openai(type_, block)
    if isinstance(block.get("file"), Mapping):
        return _file_of_openai(block, ("file",))
    if isinstance(block.get("source"), Mapping):
        return _of_anthropic(block)
    return _of_langchain(block)


def found_in(block: Any) -> Media | None:
    """As `media_of`, also for blocks that only models and tools write. None for a block that is not valid."""
    if isinstance(block, Mapping) and block.get("type") == "image_generation_call":
        made = block.get("result")
        return Media(type="image", place=("result",), encoded=made) if isinstance(made, str) and made else None
    try:
        return media_of(block)
    except BlockError:
        return None


def mime_type_of(content: bytes) -> str:
    """The media type, from the first bytes; empty if it is unknown."""
    if content[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12], "")
    if content[4:8] == b"ftyp":
        return "video/mp4"
    return next((mime for magic, mime in _MAGIC if content.startswith(magic)), "")


def standard(media: Media) -> tuple[Json, tuple[str, ...], str]:
    """(the block in LangChain's form without bytes, the place of the bytes in it, the prefix before them).

    Every provider accepts that form. Only a resolution (`detail`) needs OpenAI's own form.
    """
    if media.type == "image" and "detail" in media.more:
        rest = {name: value for name, value in media.more.items() if name != "detail"}
        inner = {"url": media.url, "detail": media.more["detail"]}
        place = ("image_url", "url") if media.inline else ()
        return {"type": "image_url", "image_url": inner, **rest}, place, f"data:{media.mime_type};base64,"
    block: Json = {"type": media.type, **media.more}
    if media.mime_type:
        block["mime_type"] = media.mime_type
    if media.name:
        block["filename"] = media.name
    if media.url or media.file_id:
        return block | ({"url": media.url} if media.url else {"file_id": media.file_id}), (), ""
    if media.coding == PLAIN:
        return block | {"type": "text-plain", "text": ""}, ("text",), ""
    return block | {"base64": ""}, ("base64",), ""


def encoded(text: str) -> bool:
    """Whether a long text is base64 data: a data URL, or base64 that begins like a known kind of file."""
    if found := _DATA_URL.match(text):
        return _IN_BASE64.fullmatch(text, found.end()) is not None
    return text.startswith(_BEGINNINGS) and _IN_BASE64.fullmatch(text) is not None


_IN_BASE64 = re.compile(r"[A-Za-z0-9+/_=\r\n-]*")
_BEGINNINGS = tuple(base64.b64encode(m[: len(m) // 3 * 3]).decode() for m in (*(m for m, _ in _MAGIC), b"RIFF"))


def put(block: Json, place: tuple[str, ...], text: str) -> Json:
    """A copy of the block with `text` at `place`."""
    name, *rest = place
    inner = put(block[name], tuple(rest), text) if rest else text
    return {**block, name: inner}


def checked(media: Media, content: bytes, place: tuple[str, ...]) -> str:
    """The media type of these bytes: the block's own, else the one that the bytes show. Raises BlockError."""
    mime_type = media.mime_type or mime_type_of(content)
    if not mime_type:
        raise BlockError(place, "is needed: it cannot be told from the data")
    if not _MIME.fullmatch(mime_type):
        raise BlockError(place, "must be a media type like image/png")
    if media.type != "file" and not mime_type.startswith(f"{media.type}/"):
        raise BlockError(place, f"{mime_type} is no type of {media.type}; send it as a file")
    return mime_type


def _of_langchain(block: Mapping[str, Any]) -> Media:
    kind, old = _kind(block), block.get("source_type")
    mime_type = _text(block, "mime_type") or _text(block, "mimeType")
    said: Json = {"type": kind, "mime_type": mime_type, "name": _name(block)}
    more = _rest(block, *_OF_LANGCHAIN)
    if old == "text" or (block["type"] == "text-plain" and "text" in block):
        return Media(**said, place=("text",), coding=PLAIN, encoded=_text(block, "text"), more=more)
    by = {"base64": "data", "url": "url", "id": "id"}.get(str(old)) if old else None
    names = [by] if by else ["base64", "url", "file_id"]
    name = next((n for n in (*names, *([] if by else ["data"])) if block.get(n) is not None), None)
    if name is None:
        raise BlockError((names[0],), f"needs one of {', '.join(names)}", of_ours=bool(by))
    if name in ("file_id", "id"):
        return Media(**said, file_id=_needed(block, name), more=more)
    return _at(block, (name,), _needed(block, name), said, more, url=name == "url")


def _of_openai(type_: str, block: Mapping[str, Any]) -> Media:
    kind = _OPENAI[type_]
    if type_ == "input_file":
        return _file_of_openai({**block, "type": "file"}, ())
    if type_ == "input_audio":
        inner = block.get(type_)
        if not isinstance(inner, Mapping):
            raise BlockError((type_,), "must be an object with data and format")
        said = {"type": kind, "mime_type": f"audio/{_text(inner, 'format', type_) or 'wav'}"}
        return _at(block, (type_, "data"), _needed(inner, "data", type_), said, _rest(block, "type", type_), url=False)
    value = block.get("image_url")
    if isinstance(value, Mapping):
        more = _rest(block, "type", "image_url") | ({"detail": value["detail"]} if value.get("detail") else {})
        return _at(block, ("image_url", "url"), _needed(value, "url", "image_url"), {"type": kind}, more, url=True)
    if value is None and block.get("file_id"):
        return Media(type=kind, file_id=_needed(block, "file_id"), more=_rest(block, "type", "file_id"))
    more = _rest(block, "type", "image_url")
    return _at(block, ("image_url",), _needed(block, "image_url"), {"type": kind}, more, url=True)


def _file_of_openai(block: Mapping[str, Any], within: tuple[str, ...]) -> Media:
    inner: Mapping[str, Any] = block["file"] if within else block
    more = _rest(block, "type", "file", "file_data", "file_id", "file_url", "filename")
    said: Json = {"type": "file", "name": _text(inner, "filename", *within)}
    if inner.get("file_id"):
        return Media(**said, file_id=_needed(inner, "file_id", *within), more=more)
    if inner.get("file_url"):
        return _at(block, (*within, "file_url"), _needed(inner, "file_url", *within), said, more, url=True)
    data = _needed(inner, "file_data", *within)
    return _at(block, (*within, "file_data"), data, said, more, url=data[:5].lower() == "data:")


def _of_anthropic(block: Mapping[str, Any]) -> Media:
    source: Mapping[str, Any] = block["source"]
    said: Json = {
        "type": _kind(block),
        "mime_type": _text(source, "media_type", "source"),
        "name": _text(block, "title"),
    }
    more = _rest(block, "type", "source")
    match source.get("type"):
        case "base64":
            return _at(block, ("source", "data"), _needed(source, "data", "source"), said, more, url=False)
        case "text":
            said["mime_type"] = said["mime_type"] or "text/plain"
            text = _needed(source, "data", "source")
            return Media(**said, place=("source", "data"), coding=PLAIN, encoded=text, more=more)
        case "url":
            return _at(block, ("source", "url"), _needed(source, "url", "source"), said, more, url=True)
        case "file":
            return Media(**said, file_id=_needed(source, "file_id", "source"), more=more)
    raise BlockError(("source", "type"), "must be base64, text, url or file")


def _at(
    block: Mapping[str, Any], place: tuple[str, ...], value: str, said: Mapping[str, Any], more: Json, *, url: bool
) -> Media:
    """An address, or data: plain base64, or a data URL."""
    if found := _DATA_URL.match(value):
        told = {**said, "mime_type": said.get("mime_type") or found[1]}
        return Media(**told, place=place, prefix=found[0], encoded=value[found.end() :], more=more)
    if not url:
        return Media(**said, place=place, encoded=value, more=more)
    if not value.startswith(_WEB):
        raise BlockError(place, "must begin with http://, https:// or data:TYPE;base64,")
    return Media(**said, url=value, more=more)


def _kind(block: Mapping[str, Any]) -> str:
    kind = _TYPES[str(block["type"])]
    first = str(block.get("mime_type", "")).partition("/")[0]
    return first if block["type"] == "media" and first in KINDS else kind


def _name(block: Mapping[str, Any]) -> str:
    if name := _text(block, "filename"):
        return name
    for holder in (block, block.get("extras"), block.get("metadata")):
        for name in ("filename", "name"):
            if isinstance(holder, Mapping) and isinstance(holder.get(name), str):
                return str(holder[name])
    return ""


def _rest(block: Mapping[str, Any], *known: str) -> Json:
    return {name: value for name, value in block.items() if name not in known}


def _text(holder: Mapping[str, Any], name: str, *within: str) -> str:
    value = holder.get(name)
    if value is not None and not isinstance(value, str):
        raise BlockError((*within, name), "must be a string")
    if value and "\0" in value:
        raise BlockError((*within, name), "must not contain NUL characters")
    return value or ""


def _needed(holder: Mapping[str, Any], name: str, *within: str) -> str:
    if not (value := _text(holder, name, *within)):
        raise BlockError((*within, name), "is needed")
    return value
