"""The messages of an `input` as rows of the conversation, each with its text and references to its attachments.

The graph and its worker decide which forms a message may have. If one message has a form that is not known here, the
whole input is shown as JSON.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent_runner.status.attachments import MARK, Attachment, words_of
from agent_runner.status.log.events import input_message
from agent_runner.status.media import Json

_TYPES = {
    **dict.fromkeys(("user", "human", "HumanMessage"), "MESSAGE_HUMAN"),
    **dict.fromkeys(("assistant", "ai", "AIMessage"), "MESSAGE_AI"),
    **dict.fromkeys(("system", "developer", "SystemMessage"), "MESSAGE_SYSTEM"),
    **dict.fromkeys(("tool", "ToolMessage"), "MESSAGE_TOOL"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRow:
    type: str
    text: str
    attachments: list[Json] = field(default_factory=list)

    def payload(self, number: int) -> Json:
        """The payload of its row in the log. `number` counts from 1."""
        made = {"id": input_message(number), "type": self.type, "content": self.text}
        return made | ({"metadata": {"attachments": self.attachments}} if self.attachments else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRows:
    text: str
    """The text in place of the user's message: the last user message of the input, else the input as JSON."""
    attachments: list[Json]
    """The attachments of that message, and of the fields beside the messages."""
    before: list[Json] = field(default_factory=list)
    after: list[Json] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """The bytes of the texts before and after the user's message."""
        return sum(len(one["content"].encode()) for one in (*self.before, *self.after))


def input_rows(given: Any, attachments: Sequence[Attachment], *, spoken: bool = False) -> InputRows:
    """`given` has no bytes. `spoken`: the user's own message follows, so all messages of `given` come before it."""
    known = {one.id: one for one in attachments}
    rows = _rows(given, known)
    humans = [n for n, row in enumerate(rows) if row.type == "MESSAGE_HUMAN"]
    if not rows or not (humans or spoken):
        dumped = json.dumps(given, ensure_ascii=False)
        return InputRows(text=dumped, attachments=[one.shown() for one in attachments])
    mine = len(rows) if spoken else humans[-1]
    payloads = [row.payload(number) for number, row in enumerate(rows, 1)]
    others = {one["id"] for number, row in enumerate(rows) if number != mine for one in row.attachments}
    return InputRows(
        text="" if spoken else rows[mine].text or json.dumps(given, ensure_ascii=False),
        attachments=[one.shown() for one in attachments if one.id not in others],
        before=payloads[:mine],
        after=payloads[mine + 1 :],
    )


def _rows(given: Any, known: Mapping[str, Attachment]) -> list[InputRow]:
    """Empty if one of the messages has an unknown form."""
    held = given.get("messages") if isinstance(given, dict) else None
    rows = [_row(one, known) for one in (held if isinstance(held, list) else [held])]
    return [row for row in rows if row is not None] if None not in rows else []


def _row(message: Any, known: Mapping[str, Attachment]) -> InputRow | None:
    match message:
        case str(text):
            return InputRow(type="MESSAGE_HUMAN", text=text)
        case [str(role), str() | list() as content]:
            return _told(role, content, known)
        case {"data": {"content": str() | list() as content}, "type": str(role)}:
            return _told(role, content, known)
        case {"kwargs": {"content": str() | list() as content}, "id": [*_, str(name)]}:
            return _told(name, content, known)
        case {"role": str(role), "content": str() | list() as content}:
            return _told(role, content, known)
        case {"type": str(role), "content": str() | list() as content}:
            return _told(role, content, known)
        case {"role": "assistant" as role, "content": None}:
            return _told(role, "", known)
    return None


def _told(role: str, content: str | list[Any], known: Mapping[str, Attachment]) -> InputRow | None:
    if role not in _TYPES:
        return None
    if isinstance(content, str):
        return InputRow(type=_TYPES[role], text=content)
    held = [known[id_] for id_ in _marks(content) if id_ in known]
    return InputRow(
        type=_TYPES[role],
        text=words_of(_texts(content), held),
        attachments=[one.shown() for one in held],
    )


def _texts(content: Sequence[Any]) -> list[str]:
    blocks = [{"text": block} if isinstance(block, str) else block for block in content]
    return [b["text"] for b in blocks if isinstance(b, dict) and MARK not in b and isinstance(b.get("text"), str)]


def _marks(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(id_ := value.get(MARK), str):
            yield id_
        for inner in value.values():
            yield from _marks(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _marks(inner)
