"""A run's raw `astream_events` as JSON lines and back: what the translation reads of them, and nothing else."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_to_dict, messages_from_dict
from langgraph.types import Command

_METADATA = ("langgraph_node", "langgraph_checkpoint_ns", "lc_source")


def write(path: Path, raw_events: Iterable[dict[str, Any]]) -> None:
    lines = []
    for raw in raw_events:
        node, root = raw["name"] == raw["metadata"].get("langgraph_node"), not raw["parent_ids"]
        if raw["event"].startswith("on_chain") and not (root or (node and raw["event"] != "on_chain_stream")):
            continue
        kept = {name: raw[name] for name in ("event", "name", "run_id", "parent_ids", "tags")}
        kept["metadata"] = {name: raw["metadata"][name] for name in _METADATA if name in raw["metadata"]}
        unread = ("_end", "model_start")  # these repeat the prompt
        kept["data"] = {k: v for k, v in raw["data"].items() if not (k == "input" and raw["event"].endswith(unread))}
        lines.append(json.dumps(kept, default=_encoded, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line, object_hook=_decoded)


def _encoded(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return {"__message__": message_to_dict(value), "chunk": isinstance(value, BaseMessageChunk)}
    if isinstance(value, Command):
        return {"__command__": value.update}
    if isinstance(value, BaseException):
        return {"__error__": f"{type(value).__name__}: {value}"}
    return str(value)


def _decoded(value: dict[str, Any]) -> Any:
    if "__message__" in value:
        return messages_from_dict([value["__message__"]])[0]
    if "__command__" in value:
        return Command(update=value["__command__"])
    return value.get("__error__", value)
