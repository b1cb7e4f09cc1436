"""Deletes text from older rows of the log after the graph rewrote or removed it, because it may be private.

A row that edits (`EDITS`) names the message or call whose text goes. The rows before it stay, so that `seq` has no
gaps, but their text is blanked and they are marked `purged`. The same text is blanked in a snapshot. The old rows and
the purged rows have the same fold (L6): an edit replaces everything that a purge blanks, or drops it.
"""

from collections.abc import Mapping
from typing import Any

from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE

Json = dict[str, Any]

EDITS = frozenset({"message_edit", "message_removed", "tool_edit", "tool_removed"})
MESSAGE_ROWS = frozenset({"message", "text", "message_end", "message_edit"})
CALL_ROWS = frozenset({"tool_call", "tool_end", "tool_edit", "sub_agent"})
PURGED = "purged"
KEPT_METADATA = frozenset({"usage", "cost", "model", "finish_reason", "scope", "incomplete", "edited"})
"""The metadata that a rewritten message keeps. Other metadata may contain its text: reasoning, a refusal, an input."""
_ARGS, _RESULT = {"args", "component", "input"}, {"result", "error", "output"}


def kept_metadata(metadata: Mapping[str, Any] | None) -> Json:
    return {name: value for name, value in (metadata or {}).items() if name in KEPT_METADATA}


def without_input(metadata: Mapping[str, Any] | None) -> Json:
    return {name: value for name, value in (metadata or {}).items() if name != "input"}


def purged(kind: str, payload: Json, edit_kind: str, edit: Mapping[str, Any]) -> Json | None:
    """The payload of an older row without the text that `edit` removes; None if the row does not contain it."""
    of_messages = edit_kind in ("message_edit", "message_removed")
    if of_messages and _is_of_input(edit) and kind == "message" and payload.get("id") == USER_MESSAGE:
        if "input" not in (payload.get("metadata") or {}):
            return None
        return {**payload, "metadata": without_input(payload["metadata"]), PURGED: True}
    if kind not in (MESSAGE_ROWS if of_messages else CALL_ROWS) or payload.get("id") != edit.get("id"):
        return None
    if of_messages:
        blank = {n: "" if n in ("content", "text") else v for n, v in payload.items() if n != "metadata"}
        if metadata := kept_metadata(payload.get("metadata")):
            blank["metadata"] = metadata
        return {**blank, PURGED: True}
    gone = _gone(edit_kind, edit) & payload.keys()
    if not gone:
        return None
    return {name: value for name, value in payload.items() if name not in gone} | {PURGED: True}


def purge_state(state: Json, edit_kind: str, edit: Mapping[str, Any]) -> None:
    """The same for a snapshot (a `State` as JSON), which is changed in place."""
    id_ = edit.get("id")
    if edit_kind in ("message_edit", "message_removed"):
        for message in state.get("messages", ()):
            if message.get("id") == id_:
                message.update(content="", metadata=kept_metadata(message.get("metadata")))
            elif message.get("id") == USER_MESSAGE and _is_of_input(edit):
                message.update(metadata=without_input(message.get("metadata")))
        return
    gone = _gone(edit_kind, edit)
    for call in (*state.get("tool_calls", ()), *state.get("sub_agents", ())):
        if call.get("key", call.get("id")) == id_:
            for name in gone & call.keys():
                del call[name]


def _is_of_input(edit: Mapping[str, Any]) -> bool:
    """Whether the edit is about a message of `input`, whose JSON is stored with the user's message."""
    return str(edit.get("id", "")).startswith(INPUT_MESSAGE)


def taken_back(kind: str, payload: Json, edit_kind: str, edit: Mapping[str, Any]) -> list[str]:
    """The ids of the attachments of a message whose text is removed."""
    if kind != "message" or edit_kind not in ("message_edit", "message_removed") or payload.get("id") != edit.get("id"):
        return []
    return [str(one.get("id", "")) for one in (payload.get("metadata") or {}).get("attachments") or ()]


def _gone(edit_kind: str, edit: Mapping[str, Any]) -> set[str]:
    if edit_kind == "tool_removed":
        return _ARGS | _RESULT
    return (_ARGS if "args" in edit else set()) | (_RESULT if "result" in edit else set())
