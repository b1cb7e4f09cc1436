"""Limits for the content of a run, and the notes in place of what is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent_runner.status.log.plain import Room, plain

DEFAULT_MAX_TOOL_RESULT_BYTES = 256 * 1024
DEFAULT_MAX_OUTPUT_BYTES = 16 << 20
DEFAULT_MAX_ENCODED_BYTES = 16 * 1024
MAX_NAME_CHARS = 500
MAX_PAGE_BYTES = 256 * 1024
"""The size of one page of a list or a stream. The entry that crosses this size is still included."""
MAX_SECRETS = 200
MAX_SECRETS_BYTES = 32 * 1024
"""The limit for one run, all values together: every text that leaves the run is searched for each value."""
MAX_TODOS = 1000
_TODO_STATUS = {
    "pending": "TODO_PENDING",
    "in_progress": "TODO_IN_PROGRESS",
    "completed": "TODO_COMPLETED",
    "cancelled": "TODO_CANCELLED",
}


def output_cut(max_bytes: int) -> dict[str, Any]:
    """The message that accompanies an output with parts left out."""
    note = (
        f"The output is too large: what is beyond {max_bytes} bytes (AGENT_RUNNER_MAX_OUTPUT_BYTES) is left out here,"
        " with a note in its place. The agent's memory has all of it."
    )
    return {"id": "output-cut", "type": "MESSAGE_SYSTEM", "content": note, "metadata": {"note": "output_cut"}}


def todos_shown(todos: Sequence[Mapping[str, Any]], max_bytes: int) -> list[dict[str, str]]:
    """The list as the status shows it; all its texts together have at most about `max_bytes`."""
    room = Room(max_bytes)
    shown = [
        {
            "content": str(plain(str(todo.get("content", "")), max_bytes=max_bytes, room=room)),
            "status": _TODO_STATUS.get(str(todo.get("status", "")).lower(), "TODO_PENDING"),
        }
        for todo in todos[:MAX_TODOS]
    ]
    if (more := len(todos) - len(shown)) > 0:
        shown.append({"content": f"[cut here: {more} more are left out]", "status": "TODO_PENDING"})
    return shown
