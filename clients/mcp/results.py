"""What a call returned, as a model and a status can read it: texts, and pictures of moderate size.

Everything else (sounds, files, pictures that are too large, text beyond the limit of a result) is written into the
sandbox, and a line of text says where. Without a sandbox it is only named. Secrets are masked in text and in files.
"""

import base64
import binascii
import json
import mimetypes
from collections.abc import Awaitable, Callable

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from agent_runner.clients.masking.mask import Mask
from agent_runner.status.attachments import amount

PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What models look at."""
MAX_PICTURES_BYTES = 4 << 20
"""Of one result."""
Keep = Callable[[bytes, str], Awaitable[str]]
"""Writes bytes into a file with this suffix. Returns its path, or empty where there is no place for it."""


async def readable(result: CallToolResult, mask: Mask, *, max_bytes: int, keep: Keep) -> CallToolResult:
    """The same result of texts and pictures alone, within `max_bytes` of text."""
    reader = _Reader(mask, max_bytes, keep)
    for block in result.content:
        await reader.add(block)
    structured = result.structuredContent
    if structured is not None and not _said(structured, result.content):
        await reader.text(json.dumps(structured, ensure_ascii=False))
    if not reader.content:
        await reader.text("[the tool returned nothing]")
    return CallToolResult(content=reader.content, isError=result.isError)


class _Reader:
    def __init__(self, mask: Mask, max_bytes: int, keep: Keep) -> None:
        self.content: list[ContentBlock] = []
        self._mask, self._left, self._keep = mask, max_bytes, keep
        self._pictures_left = MAX_PICTURES_BYTES

    async def add(self, block: ContentBlock) -> None:
        match block:
            case TextContent():
                await self.text(block.text)
            case ImageContent():
                await self._data(block.data, block.mimeType, "a picture")
            case AudioContent():
                await self._data(block.data, block.mimeType, "a sound")
            case ResourceLink():
                about = ", ".join(one for one in (block.title or block.name, block.mimeType, block.description) if one)
                await self.text(f"[resource: {block.uri} ({about})]")
            case EmbeddedResource():
                resource, uri = block.resource, str(block.resource.uri)
                if isinstance(resource, BlobResourceContents):
                    await self._data(resource.blob, resource.mimeType or "", uri)
                else:
                    await self.text(f"[resource: {uri}]\n{resource.text}")

    async def text(self, text: str) -> None:
        """Masked, and cut in the middle where it is too long."""
        text = self._mask(text)
        size = len(text.encode())
        if size > self._left:
            path = await self._keep(text.encode(), ".txt")
            where = f"all of it is in {path}" if path else "the rest is not kept"
            half = self._left // 2
            head = text.encode()[:half].decode(errors="ignore")
            tail = text.encode()[size - half :].decode(errors="ignore") if half else ""
            text = f"{head}\n[{size - 2 * half} of {size} bytes cut here; {where}]\n{tail}"
        self._left = max(0, self._left - size)
        self.content.append(TextContent(type="text", text=text))

    async def _data(self, encoded: str, mime_type: str, what: str) -> None:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            await self.text(f"[{what}, {mime_type}: its data is not base64]")
            return
        if mime_type in PICTURES and len(data) <= self._pictures_left:
            self._pictures_left -= len(data)
            self.content.append(ImageContent(type="image", data=encoded, mimeType=mime_type))
            return
        kind = mime_type or "application/octet-stream"
        path = await self._keep(self._mask.of_bytes(data), mimetypes.guess_extension(kind) or ".bin")
        where = f"it is in {path}" if path else "it is not kept"
        await self.text(f"[{what}, {kind}, {amount(len(data))}: {where}]")


def _said(structured: object, content: list[ContentBlock]) -> bool:
    """Whether one of the texts is the structured content already, as the protocol advises servers. The SDKs
    put what is no object into the only field of one."""
    within = structured
    if isinstance(structured, dict) and len(structured) == 1:
        (within,) = structured.values()
    return any(_meant(block.text) in (structured, within) for block in content if isinstance(block, TextContent)) or (
        isinstance(within, str) and any(isinstance(block, TextContent) and block.text == within for block in content)
    )


def _meant(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
