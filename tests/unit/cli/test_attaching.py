"""`--attach`: what becomes of a file."""

import base64
from pathlib import Path

import pytest

from agent_runner.app.cli.attachment_options import block_of, message_with
from agent_runner.app.cli.exits import EXIT_USAGE, Failed
from agent_runner.app.cli.story import Story
from agent_runner.clients.backend.http_api import StreamEvent

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


def block(kind: str, content: bytes, mime_type: str, name: str) -> dict[str, str]:
    return {"type": kind, "base64": base64.b64encode(content).decode(), "mime_type": mime_type, "filename": name}


@pytest.mark.parametrize(
    ("name", "content", "kind", "mime_type"),
    [
        ("cat.png", PNG, "image", "image/png"),
        ("cat.of-no-kind", PNG, "image", "image/png"),
        ("a.pdf", b"%PDF-1.4", "file", "application/pdf"),
        ("a.mp3", b"ID3.....", "audio", "audio/mpeg"),
        ("a.mp4", b"....ftypisom", "video", "video/mp4"),
        ("a.unknown", b"\x00\x01", "file", "application/octet-stream"),
        ("damaged.txt", b"\xff\xfe", "file", "application/octet-stream"),
    ],
)
def test_a_file_is_a_block(tmp_path: Path, name: str, content: bytes, kind: str, mime_type: str) -> None:
    """What it is is told by its first bytes, else by its name."""
    (tmp_path / name).write_bytes(content)
    assert block_of(str(tmp_path / name)) == block(kind, content, mime_type, name)


def test_a_text_goes_as_text(tmp_path: Path) -> None:
    """With its name."""
    (tmp_path / "notes.txt").write_text("Grüße")
    expected = {"type": "text-plain", "text": "Grüße", "mime_type": "text/plain", "filename": "notes.txt"}
    assert block_of(str(tmp_path / "notes.txt")) == expected


def test_the_message_around_it(tmp_path: Path) -> None:
    """Words first; without files it stays a text, without words there are files only."""
    (tmp_path / "cat.png").write_bytes(PNG)
    file = str(tmp_path / "cat.png")
    cat = block("image", PNG, "image/png", "cat.png")
    assert message_with("look", [file, file]) == [{"type": "text", "text": "look"}, cat, cat]
    assert message_with(None, [file]) == [cat]
    assert message_with("look", []) == "look"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Wrong usage, said before anything is sent."""
    with pytest.raises(Failed, match=r"--attach .*nothing\.png: No such file") as caught:
        block_of(str(tmp_path / "nothing.png"))
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_the_story_tells_what_is_attached(kind: str) -> None:
    """By reference, below the words."""
    attached = {"id": "att-1", "type": "image", "mime_type": "image/png", "size": 12_300, "name": "cat.png"}
    message = {"type": "MESSAGE_HUMAN", "content": "look", "metadata": {"attachments": [attached]}}
    row = {"seq": 1, "at": "2026-01-01T00:00:00Z", "fence": 0, "kind": "message", "payload": {"id": "user", **message}}
    whole = {"seq": 1, "execution": {"status": {"messages": [message]}}}
    told = Story().tell(StreamEvent(kind=kind, id=1, data=row if kind == "update" else whole))  # type: ignore[arg-type]
    assert [line.text for line in told][-2:] == ["> look", "> + att-1, cat.png, image/png, 12.3 KB"]
