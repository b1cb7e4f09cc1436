"""How OpenAI's Responses API says a scene: the events of its answer, as they are written one after the other."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.unit.models_wire.scenes import NO_REASON, Scene

IN, OUT = 100, 10
STOPPED_SHORT = ("max_output_tokens", "content_filter")
Json = dict[str, Any]


def responses_frames(scene: Scene, drop: bytes) -> list[bytes]:
    """`drop` stands for the end of the connection."""
    events = [{**event, "sequence_number": number} for number, event in enumerate(_events(scene))]
    made = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return [*made, drop] if scene.drop else made


def _events(scene: Scene) -> Iterator[Json]:
    if scene.silent:
        return
    items: list[Json] = []
    yield {"type": "response.created", "response": _response("in_progress", [])}
    if scene.thought:
        item: Json = {"id": "rs_1", "type": "reasoning", "summary": []}
        yield from _reasoning(item, scene.thought)
        items.append(item)
    if scene.words or scene.refusal:
        yield from _message(len(items), scene)
        items.append(_item_of(scene, "completed"))
    for piece in scene.pieces:
        item = {"id": f"fc_{len(items)}", "type": "function_call", "call_id": piece.id, "name": piece.name}
        at = {"output_index": len(items)}
        yield {"type": "response.output_item.added", **at, "item": {**item, "arguments": "", "status": "in_progress"}}
        for part in re.findall(r".{1,5}", piece.args or "", re.S):
            yield {"type": "response.function_call_arguments.delta", **at, "item_id": item["id"], "delta": part}
        whole = {**item, "arguments": piece.args or "", "status": "completed"}
        if scene.reason != NO_REASON:
            yield {"type": "response.output_item.done", **at, "item": whole}
        items.append(whole)
    if scene.error is not None and scene.raw:
        yield {"type": "error", **scene.error, "param": None}
    elif scene.error is not None:
        yield {"type": "response.failed", "response": {**_response("failed", items), "error": scene.error}}
    elif scene.reason in STOPPED_SHORT:
        short = {"incomplete_details": {"reason": scene.reason}}
        yield {"type": "response.incomplete", "response": {**_response("incomplete", items), **short}}
    elif not scene.drop and scene.reason != NO_REASON:
        yield {"type": "response.completed", "response": _response("completed", items)}


def _reasoning(item: Json, thought: str) -> Iterator[Json]:
    at = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}}
    for word in re.findall(r"\S+\s*", thought):
        yield {"type": "response.reasoning_summary_text.delta", **at, "delta": word}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}


def _message(index: int, scene: Scene) -> Iterator[Json]:
    at = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    yield {"type": "response.output_item.added", "output_index": index, "item": _item_of(scene, "in_progress")}
    kind = "output_text" if scene.words else "refusal"
    for word in re.findall(r"\S+\s*", scene.words or scene.refusal):
        yield {"type": f"response.{kind}.delta", **at, "delta": word, **({"logprobs": []} if scene.words else {})}
    if scene.reason != NO_REASON and not scene.drop:
        said = {"text": scene.words, "logprobs": []} if scene.words else {"refusal": scene.refusal}
        yield {"type": f"response.{kind}.done", **at, **said}
        yield {"type": "response.output_item.done", "output_index": index, "item": _item_of(scene, "completed")}


def _item_of(scene: Scene, status: str) -> Json:
    part: Json = {"type": "refusal", "refusal": scene.refusal}
    if scene.words:
        part = {"type": "output_text", "text": scene.words, "annotations": [], "logprobs": []}
    content = [part] if status == "completed" else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}


def _response(status: str, output: list[Json]) -> Json:
    over = status != "in_progress"
    usage = {
        "input_tokens": IN,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUT,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": IN + OUT,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "some-model",
        "status": status,
        "output": output,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if over else None,
    }
