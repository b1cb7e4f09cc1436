"""How large a request for a new execution may be."""

from agent_runner.clients.settings.settings import Settings

SETTING = "AGENT_RUNNER_MAX_ATTACHMENT_BYTES"
ESCAPED = 6
"""JSON may write one byte as six (`\\u0041`)."""
SPEC_ROOM_BYTES = 256 * 1024
"""The bytes that a request may have besides its message."""
IN_BASE64 = 1.5
"""Base64 writes three bytes as four, and some writers break its lines."""


def create_bytes(settings: Settings) -> int:
    """The most bytes that a request for a new execution may have, in any notation."""
    message, attached = settings.max_message_bytes, settings.max_attachment_bytes
    return int(ESCAPED * message + IN_BASE64 * attached + SPEC_ROOM_BYTES)


def create_limits(settings: Settings) -> str:
    """What decides about `create_bytes`, for a caller who sent more."""
    most, attached = settings.max_message_bytes, settings.max_attachment_bytes
    return f"a message may have {most} (AGENT_RUNNER_MAX_MESSAGE_BYTES), its attachments {attached} ({SETTING})"
