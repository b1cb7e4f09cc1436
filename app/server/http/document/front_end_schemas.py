"""What front ends send, in `/openapi.json`: AG-UI's input as its library reads it, and the AI SDK's chats."""

from typing import Any

from agent_runner.app.server.front_ends.front_runs import MAX_ID_CHARS, ON_DISCONNECT, OPTIONS
from agent_runner.app.server.http.document.message_schemas import TEXT, ref
from agent_runner.app.server.http.document.schemas import MESSAGE_FORM, STRING, inlined

Schema = dict[str, Any]
_OURS = "agent_runner"
_ID: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": TEXT}
_OPTIONS: Schema = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        ON_DISCONNECT: {"enum": ["continue", "cancel"]},
        **{name: MESSAGE_FORM["properties"][name] for name in sorted(OPTIONS)},
    },
    "description": "options of the run",
}
_TOLD = frozenset({"title", "description", "default", "discriminator"})
"""Of the library's own schema: not needed to write a body."""


def _bare(schema: Any) -> Any:
    """Without what is told twice. A constant is required: it says which of several forms this is."""
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _bare(one) for name, one in schema.items() if name not in _TOLD or not _is_keyword(schema)}
    if isinstance(fields := made.get("properties"), dict):
        constants = [name for name, one in fields.items() if "const" in one]
        made["required"] = sorted({*made.get("required", ()), *constants})
    return made


def _is_keyword(schema: Schema) -> bool:
    """Whether this is a schema, not the table of an object's fields, one of which may have such a name."""
    return not all(isinstance(one, dict) for one in schema.values())


AGUI_BODY = ref("RunAgentInput")


def agui_parts() -> dict[str, Schema]:
    """The schema of that name. Imports AG-UI's library, which the server does without until somebody needs it."""
    from ag_ui.core import types as t

    schema: Schema = inlined(_bare(t.RunAgentInput.model_json_schema(by_alias=True)))
    fields = schema["properties"]
    fields |= {"threadId": _ID, "runId": _ID}
    fields["forwardedProps"] = {"properties": {_OURS: _OPTIONS}}
    return {"RunAgentInput": {**schema, "description": "AG-UI's RunAgentInput"}}


_PART: Schema = {
    "anyOf": [
        {"type": "object", "required": ["type", "text"], "properties": {"type": {"const": "text"}, "text": STRING}},
        {
            "type": "object",
            "required": ["type", "url", "mediaType"],
            "properties": {"type": {"const": "file"}, "url": STRING, "mediaType": STRING},
        },
        {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"type": "string", "not": {"enum": ["text", "file"]}}},
            "description": "not read, but for the responses to approvals",
        },
    ]
}
_MESSAGE: Schema = {
    "type": "object",
    "required": ["id", "role", "parts"],
    "properties": {
        "id": _ID,
        "role": {"enum": ["user", "assistant", "system"]},
        "parts": {"type": "array", "items": _PART},
    },
}
AI_SDK_FORM: Schema = {
    "type": "object",
    "required": ["id", "messages"],
    "properties": {
        "id": {**_ID, "description": "the chat's"},
        "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
        "trigger": {"enum": ["submit-message", "regenerate-message"]},
        "messageId": STRING,
        "answers": {"type": "object", "minProperties": 1, "description": "answers to open questions, by their ids"},
        _OURS: _OPTIONS,
    },
    "description": "what `DefaultChatTransport` sends",
}
