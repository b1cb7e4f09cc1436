"""Pictures and other encoded data in what a run says: a reference where people read, a note where data would stand."""

import base64
import json
from typing import Any

import pytest

from agent_runner.status.log import events
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.plain import Room, plain, result_text
from agent_runner.status.media import encoded

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 400
ENCODED = base64.b64encode(PNG).decode()
DATA_URL = f"data:image/png;base64,{ENCODED}"
PICTURE = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
REFERENCE = "[image image/png, 102.4 KB]"
NO_MEDIA_TYPE = "[image 102.4 KB]"


@pytest.mark.parametrize(
    ("block", "shown"),
    [
        (PICTURE, REFERENCE),
        ({"type": "image_url", "image_url": {"url": DATA_URL}}, REFERENCE),
        ({"type": "image", "data": ENCODED, "mimeType": "image/png"}, REFERENCE),
        ({"type": "image_generation_call", "id": "x", "result": ENCODED}, NO_MEDIA_TYPE),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ENCODED}}, REFERENCE),
        ({"type": "image", "url": "https://example.org/a.png"}, "[image https://example.org/a.png]"),
        ({"type": "audio", "base64": "aGk=", "mime_type": "audio/wav"}, "[audio audio/wav, 2 bytes]"),
        ({"type": "file", "file_id": "f-1", "filename": "a\n b.pdf"}, "[file a b.pdf]"),
        ({"type": "search_result"}, "[search_result]"),
    ],
)
def test_a_tools_result(block: dict[str, Any], shown: str) -> None:
    """A block is a reference, by itself and among others, where it stands on a line of its own."""
    assert result_text([block], max_bytes=1000) == shown
    text = {"type": "text", "text": "a plot"}
    if shown != "[search_result]":
        assert result_text(block, max_bytes=1000) == shown
        assert result_text([text, block, text], max_bytes=1000) == f"a plot\n{shown}\na plot"
        assert result_text([block, block], max_bytes=1000) == f"{shown}\n{shown}"
        assert result_text({"output": [text, block]}, max_bytes=1000) == f"a plot\n{shown}"


@pytest.mark.parametrize(
    "result",
    [
        {"plot": PICTURE, "n": 1},
        {"plot": DATA_URL, "n": 1},
        {"plot": ENCODED, "n": 1},
        {"plot": PNG, "n": 1},
        {"plots": [[PICTURE]], "n": 1},
    ],
)
def test_data_within_other_json(result: dict[str, Any]) -> None:
    """Is left out with a note; everything around it stays."""
    text = result_text(result, max_bytes=1 << 20)
    assert json.loads(text)["n"] == 1
    assert "102.4 KB left out here]" in text
    assert len(text) < 300


def test_a_text_that_is_data() -> None:
    """As a whole: of a data URL the head stays."""
    assert result_text(DATA_URL, max_bytes=1 << 20) == "data:image/png;base64,[102.4 KB left out here]"
    assert result_text(ENCODED, max_bytes=1 << 20) == "[102.4 KB left out here]"


@pytest.mark.parametrize(
    "text",
    ["x" * 5000, "iVBORw0K is how it begins. " * 500, "data:image/png;base64,and then words " * 99, "", "e30=" * 4000],
)
def test_what_only_looks_like_it(text: str) -> None:
    """A long word, words that begin like a picture, other base64: they stay as they are."""
    assert not encoded(text)
    assert result_text(text, max_bytes=1 << 20) == text
    assert plain({"a": text}, max_bytes=1 << 20, room=Room(1 << 20, max_encoded=10)) == {"a": text}


def output_of(output: Any, fields: Any = None, most: int = 1024) -> dict[str, Any]:
    told = StatusBuilder(max_encoded_bytes=most).feed(events.GraphOutput(output=output, fields=fields))
    payload: dict[str, Any] = told[0].payload
    return payload


def test_an_output() -> None:
    """Data larger than the setting is left out of it, in the fields too; smaller data stays, and so does the rest."""
    shown = output_of({"picture": PICTURE, "n": 1}, {"raw": DATA_URL})
    note = "[102.4 KB left out here]"
    assert shown["output"] == {"picture": {**PICTURE, "base64": note}, "n": 1}
    assert shown["fields"] == {"raw": f"data:image/png;base64,{note}"}
    assert output_of({"picture": PICTURE}, most=200_000)["output"] == {"picture": PICTURE}


def test_a_calls_arguments() -> None:
    """A model that hands a picture on to a tool."""
    builder = StatusBuilder()
    request = events.ToolRequest(tool_call_id="c1", name="look", args={"at": DATA_URL, "n": 1})
    told = builder.feed(events.MessageFinished(scope="", message_id="m1", text="", requests=(request,)))
    shown = next(delta.payload["args"] for delta in told if delta.kind == "tool_call")
    assert shown == {"at": "data:image/png;base64,[102.4 KB left out here]", "n": 1}


def test_a_question_keeps_its_picture() -> None:
    """A person who is asked about it needs it."""
    question = {"id": "q1", "value": {"look": PICTURE}, "text": "ok?"}
    told = StatusBuilder().interrupt("ok?", [question])
    assert told[0].payload["value"] == {"look": PICTURE}
