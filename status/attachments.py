"""The pictures and files of an execution, stored apart from its text: what is stored, and how it is put back.

A message that is a list of blocks is stored as its text and a `layout`. The layout has one entry per block:
`{"text": N}` (the next N characters of the text; a line end separates two texts) or `{"attachment": ID}`. The layout
contains no text, so it can stay when a graph removes the text. In `input` such a block is `{"type": ..., MARK: ID}`.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_runner.status.media import BASE64, PLAIN, Json, Media, found_in, put

DEFAULT_MAX_ATTACHMENT_BYTES = 8 << 20
MAX_ATTACHMENTS = 100
"""The limit for one execution."""
MARK = "agent-runner/attachment"
BETWEEN = "\n"
MAX_SHOWN_CHARS = 200
"""The limit for a name or an address in a reference."""


class AttachmentGone(LookupError):
    """A message refers to an attachment that is no longer stored; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """`content` is None for an attachment that is only named: an address, or a file stored at the provider.

    `block` is the whole content block without its bytes. They belong at `place`, after `prefix`, encoded as `coding`.
    """

    id: str
    type: str
    mime_type: str
    size: int
    name: str = ""
    url: str = ""
    block: Json = field(default_factory=dict)
    place: tuple[str, ...] = ()
    coding: str = BASE64
    prefix: str = ""
    content: bytes | None = None

    def shown(self) -> Json:
        """The entry in a status, without the bytes."""
        said = {
            "id": self.id,
            "type": self.type,
            "mime_type": self.mime_type,
            "size": self.size,
            "name": self.name,
            "url": self.url,
            "sha256": hashlib.sha256(self.content).hexdigest() if self.content else "",
        }
        return {name: value for name, value in said.items() if value or (name == "size" and self.content is not None)}

    def described(self) -> Json:
        """Everything except the bytes; `attachment_of` reads it back."""
        return {
            "type": self.type,
            "mime_type": self.mime_type,
            "size": self.size,
            "name": self.name,
            "url": self.url,
            "block": self.block,
            "place": list(self.place),
            "coding": self.coding,
            "prefix": self.prefix,
        }

    def whole(self) -> Json:
        """The block as it goes to the model."""
        if self.content is None or not self.place:
            return self.block
        coded = self.content.decode() if self.coding == PLAIN else base64.b64encode(self.content).decode()
        return put(self.block, self.place, self.prefix + coded)


def attachment_of(id_: str, described: Mapping[str, Any], content: bytes | None) -> Attachment:
    return Attachment(id=id_, content=content, **{**described, "place": tuple(described["place"])})


def words_of(texts: Iterable[str], attachments: Sequence[Attachment]) -> str:
    """The text of a message that is a list of blocks. If it has no text: references to its attachments."""
    words = BETWEEN.join(texts)
    return words if words.strip() else BETWEEN.join(reference(one) for one in attachments)


def blocks_of(words: str, layout: Sequence[Mapping[str, Any]], attachments: Sequence[Attachment]) -> list[Json]:
    """The message as it was sent. Raises AttachmentGone."""
    found = {one.id: one for one in attachments}
    blocks: list[Json] = []
    at = 0
    for part in layout:
        if "attachment" in part:
            blocks.append(_known(found, str(part["attachment"])).whole())
            continue
        end = at + int(part["text"])
        blocks.append({"type": "text", **part, "text": words[at:end]})
        at = end + len(BETWEEN)
    return blocks


def restored(value: Any, attachments: Sequence[Attachment]) -> Any:
    """JSON with the bytes back in their places. Raises AttachmentGone."""
    return _restored(value, {one.id: one for one in attachments})


def _restored(value: Any, found: Mapping[str, Attachment]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"type", MARK}:
            return _known(found, str(value[MARK])).whole()
        return {name: _restored(inner, found) for name, inner in value.items()}
    return [_restored(inner, found) for inner in value] if isinstance(value, list) else value


def _known(found: Mapping[str, Attachment], id_: str) -> Attachment:
    if id_ not in found:
        raise AttachmentGone(f"attachment '{id_}' of the message is not kept any more")
    return found[id_]


def reference(what: Attachment | Media) -> str:
    """A short reference for places that show only text: `[image photo.png, image/png, 12.3 KB]`."""
    size = what.size if isinstance(what, Attachment) else _size(what)
    said = [_short(what.name), what.mime_type, amount(size) if size else "", _short(what.url)]
    return f"[{' '.join([what.type, ', '.join(part for part in said if part)]).strip()}]"


def reference_to(block: Any) -> str:
    """The reference to a content block; empty if the block is no picture or file."""
    media = found_in(block)
    return reference(media) if media else ""


def _size(media: Media) -> int:
    if media.coding == PLAIN:
        return len(media.encoded.encode())
    return max(0, len(media.encoded) * 3 // 4 - media.encoded[-2:].count("="))


def amount(size: int) -> str:
    """A size as text: `12.3 KB`."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.1f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_SHOWN_CHARS else f"{flat[:MAX_SHOWN_CHARS]}..."
