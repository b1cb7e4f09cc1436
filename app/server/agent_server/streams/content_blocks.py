"""Chunks of a message as the events of the thread protocol: its start, its content block by block, its end."""

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


class ContentBlocks:
    """The messages of one run. Each yielded value is the data of one `messages` event."""

    def __init__(self) -> None:
        self._open: dict[str, dict[Any, Json]] = {}
        """The open blocks of each open message, by what they are: their place and what came so far."""
        self._done: set[str] = set()

    def feed(self, message: Json) -> Iterator[Json]:
        """`message`: a chunk, or a whole message of the model."""
        id_, kind = str(message.get("id") or ""), message.get("type")
        if kind not in ("AIMessageChunk", "ai") or id_ in self._done:
            return
        if id_ not in self._open:
            self._open[id_] = {}
            yield {"event": "message-start", "role": "ai", "id": id_}
        if text := _text(message.get("content")):
            yield from self._piece(id_, "text", {"type": "text", "text": ""}, "text", text)
        chunks = message.get("tool_call_chunks") or [] if kind == "AIMessageChunk" else _whole_calls(message)
        for call in chunks:
            began = {"type": "tool_call_chunk", "id": call.get("id"), "name": call.get("name"), "args": ""}
            key = ("call", call.get("index"))
            yield from self._piece(id_, key, began, "args", str(call.get("args") or ""))
        if kind == "ai" or message.get("chunk_position") == "last":
            yield from self._finish(id_)

    def finish(self) -> Iterator[Json]:
        """Ends what is open, at the end of the run."""
        for id_ in list(self._open):
            yield from self._finish(id_)

    def _piece(self, id_: str, key: Any, began: Json, field: str, piece: str) -> Iterator[Json]:
        blocks = self._open[id_]
        if key not in blocks:
            blocks[key] = {**began, "index": len(blocks)}
            shown = began if field == "text" else {**began, "index": len(blocks) - 1}
            yield {"event": "content-block-start", "index": blocks[key]["index"], "content": shown}
        block = blocks[key]
        if piece:
            block[field] += piece
            kind = "text-delta" if field == "text" else "tool-call-delta"
            yield {"event": "content-block-delta", "index": block["index"], "delta": {"type": kind, field: piece}}

    def _finish(self, id_: str) -> Iterator[Json]:
        for block in self._open.pop(id_).values():
            yield {"event": "content-block-finish", "index": block["index"], "content": _finished(block)}
        self._done.add(id_)
        yield {"event": "message-finish"}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(str(block.get("text") or "") for block in blocks if isinstance(block, dict))


def _whole_calls(message: Json) -> list[Json]:
    calls = message.get("tool_calls") or []
    return [{**call, "args": json.dumps(call.get("args")), "index": n} for n, call in enumerate(calls)]


def _finished(block: Json) -> Json:
    if block["type"] == "text":
        return {"type": "text", "text": block["text"]}
    try:
        args = json.loads(block["args"] or "{}")
    except ValueError:
        args = block["args"]
    return {"type": "tool_call", "id": block["id"], "name": block["name"], "args": args}
