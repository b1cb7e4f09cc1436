"""The content that a caller sends: text, content blocks, messages of a graph's state. Bytes are taken out of it.

In a message (`message`, `input.messages`) a bad block is refused, and the error names its path. Elsewhere in `input`
an object that looks like a block may be something else. Only a block without doubt is taken out there.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from agent_runner.app.server.problems import invalid
from agent_runner.status.attachments import MARK, MAX_ATTACHMENTS, Attachment, words_of
from agent_runner.status.media import (
    FORMS,
    BlockError,
    Json,
    Media,
    checked,
    found_in,
    is_medium,
    media_of,
    put,
    standard,
)


@dataclass(slots=True)
class Taken:
    """The attachments of one execution that were taken out so far."""

    attachments: list[Attachment] = field(default_factory=list)

    def add(self, media: Media, block: Json, place: tuple[str, ...], prefix: str, content: bytes | None) -> Attachment:
        if len(self.attachments) == MAX_ATTACHMENTS:
            raise invalid(f"an execution may have {MAX_ATTACHMENTS} attachments; there are more")
        made = Attachment(
            id=f"att-{len(self.attachments) + 1}",
            type=media.type,
            mime_type=media.mime_type,
            size=len(content) if content is not None else 0,
            name=media.name,
            url=media.url,
            block=block,
            place=place,
            coding=media.coding,
            prefix=prefix,
            content=content,
        )
        self.attachments.append(made)
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A message: its text, and the places of its blocks (empty: it was text alone)."""

    text: str
    layout: list[Json] = field(default_factory=list)


def message_content(blocks: Sequence[Any], taken: Taken, where: str = "message") -> Content:
    """A message that is a list of content blocks. Raises INVALID_ARGUMENT."""
    if not blocks:
        raise invalid(f"{where}: is an empty list; say something, or leave it out")
    texts: list[str] = []
    layout: list[Json] = []
    before = len(taken.attachments)
    for number, block in enumerate(blocks):
        place = f"{where}[{number}]"
        if (text := _text_of(block, place)) is not None:
            texts.append(text)
            more = {k: v for k, v in block.items() if k not in ("type", "text", "id")} if block != text else {}
            layout.append({**more, "text": len(text)})
            continue
        if not is_medium(block):
            shown = block.get("type") if isinstance(block, dict) else block
            raise invalid(f"{place}.type: {str(shown)[:40]!r} is no block of a message: {_KNOWN}")
        layout.append({"attachment": _attached(block, place, taken).id})
    if not "".join(texts).strip():
        layout = [part for part in layout if "attachment" in part]
    return Content(text=words_of(texts, taken.attachments[before:]), layout=layout)


_KNOWN = f"text, {', '.join(sorted(FORMS))}"


def _text_of(block: Any, place: str) -> str | None:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict) or block.get("type") not in ("text", "input_text"):
        return None
    if not isinstance(block.get("text"), str):
        raise invalid(f"{place}.text: must be a string")
    return str(block["text"])


def _attached(block: Json, place: str, taken: Taken) -> Attachment:
    """Takes a block out, and always in LangChain's form, which suits every provider. Raises INVALID_ARGUMENT."""
    try:
        media = media_of(block)
        assert media is not None  # its type is one of them
        content = media.content() if media.inline else None
        if content is not None:
            media = replace(media, mime_type=checked(media, content, _beside(media)))
        made, at, prefix = standard(media)
    except BlockError as error:
        raise invalid(f"{'.'.join([place, *error.place])}: {error}") from None
    return taken.add(media, made, at, prefix, content)


def _beside(media: Media) -> tuple[str, ...]:
    """The path of the media type in the block."""
    return (*media.place[:-1], "media_type" if media.place[0] == "source" else "mime_type")


def input_content(given: Any, taken: Taken) -> Any:
    """`input` without bytes. The graph later gets exactly what was sent, in the sender's own form."""
    if not isinstance(given, dict) or "messages" not in given:
        return _searched(given, taken)
    held = given["messages"]
    listed = held if isinstance(held, list) else [held]
    told = [
        _message(one, f"input.messages[{n}]" if isinstance(held, list) else "input.messages", taken)
        for n, one in enumerate(listed)
    ]
    rest = {name: _searched(value, taken) for name, value in given.items() if name != "messages"}
    return {name: rest.get(name, told if isinstance(held, list) else told[0]) for name in given}


def _message(message: Any, where: str, taken: Taken) -> Any:
    """A message in any of the forms that workers know. The blocks of its content are taken out."""
    match message:
        case {"data": dict(inner)} if "content" not in message:
            return {**message, "data": _message(inner, f"{where}.data", taken)}
        case {"kwargs": dict(inner)} if "content" not in message:
            return {**message, "kwargs": _message(inner, f"{where}.kwargs", taken)}
        case {"content": list(blocks)}:
            return {**message, "content": _blocks(blocks, f"{where}.content", taken)}
        case [str(role), list(blocks)]:
            return [role, _blocks(blocks, f"{where}[1]", taken)]
    return _searched(message, taken)


def _blocks(blocks: Sequence[Any], where: str, taken: Taken) -> list[Any]:
    told: list[Any] = []
    for number, block in enumerate(blocks):
        place = f"{where}[{number}]"
        try:
            told.append(_out(block, taken) if is_medium(block) else _searched(block, taken))
        except BlockError as error:
            if error.of_ours:
                raise invalid(f"{'.'.join([place, *error.place])}: {error}") from None
            told.append(_inner(block, taken))
    return told


def _out(block: Json, taken: Taken) -> Any:
    """Takes the block out, in the sender's form. Returns the mark for its place. Raises BlockError."""
    media = media_of(block)
    assert media is not None  # its type is one of them
    if not media.inline:
        return {"type": block["type"], MARK: taken.add(media, block, (), "", None).id}
    content = media.content()
    media = replace(media, mime_type=checked(media, content, _beside(media)))
    made = taken.add(media, put(block, media.place, ""), media.place, media.prefix, content)
    return {"type": block["type"], MARK: made.id}


def _searched(value: Any, taken: Taken) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"type", MARK}:
            raise invalid(f"input: {MARK!r} is a name of ours")
        media = found_in(value) if len(taken.attachments) < MAX_ATTACHMENTS else None
        if media is not None and media.inline and is_medium(value):
            with suppress(BlockError):
                return _out(value, taken)
    return _inner(value, taken)


def _inner(value: Any, taken: Taken) -> Any:
    if isinstance(value, dict):
        return {name: _searched(inner, taken) for name, inner in value.items()}
    return [_searched(inner, taken) for inner in value] if isinstance(value, list) else value


def answer_contents(answers: dict[str, Any], taken: Taken) -> dict[str, Any]:
    """Answers to questions, each any JSON, without bytes."""
    return {id_: _searched(answer, taken) for id_, answer in answers.items()}
