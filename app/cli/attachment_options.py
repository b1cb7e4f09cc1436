"""`--attach FILE`: sends files of the caller's machine as content blocks of the message."""

import base64
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from agent_runner.app.cli.exits import EXIT_USAGE, Failed
from agent_runner.status.media import KINDS, mime_type_of

attach_option = click.option(
    "--attach", metavar="FILE", multiple=True, help="A picture or a file for the model to look at; may be repeated."
)


def message_with(message: str | None, files: Sequence[str]) -> str | list[dict[str, Any]] | None:
    """The message in the form of the HTTP API. Raises Failed for a file that cannot be read."""
    if not files:
        return message
    words = [{"type": "text", "text": message}] if message else []
    return [*words, *map(block_of, files)]


def block_of(file: str) -> dict[str, Any]:
    path = Path(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failed(
            f"--attach {file}: {error.strerror or error}", next_step="Name a file that you can read.",
            exit_code=EXIT_USAGE,
        ) from None  # fmt: skip
    mime_type = mime_type_of(content) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if mime_type.startswith("text/"):
        try:
            text = content.decode()
        except UnicodeDecodeError:
            mime_type = "application/octet-stream"
        else:
            return {"type": "text-plain", "text": text, "mime_type": mime_type, "filename": path.name}
    kind = mime_type.partition("/")[0]
    return {
        "type": kind if kind in KINDS else "file",
        "base64": base64.b64encode(content).decode(),
        "mime_type": mime_type,
        "filename": path.name,
    }
