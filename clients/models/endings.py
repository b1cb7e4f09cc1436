"""How an AI message ended, and which of its tool calls must not run.

LangChain completes the JSON of a call that was cut: half of `rm -rf /work/tmp` is then `rm -rf /work`. So a call runs
only if the reason for its message's end says that calls are complete, and if its raw arguments are whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.utils.json import parse_partial_json

from agent_runner.status import endings

REFUSED_CALLS = "refused_calls"
"""The key in a message's `response_metadata` where its refused calls are told."""
NOT_MADE = "The call was not made."
NO_JSON = f"the arguments are no JSON. {NOT_MADE}"
NO_NAME = f"the model named no tool. {NOT_MADE}"
UNFINISHED = f"it was cut off: its arguments end in the middle. {NOT_MADE} Make it again, with shorter arguments."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A call that is not run. `args`: its arguments, as far as they came."""

    id: str
    name: str
    args: Any
    why: str


def reason_of(told: Mapping[str, Any]) -> str:
    """The provider's word for why the model stopped, from a message's `response_metadata`; empty if it gave none."""
    details = told.get("incomplete_details")
    if isinstance(details, Mapping) and details.get("reason"):
        return str(details["reason"])
    return next(
        (str(told[k]) for k in ("finish_reason", "stop_reason", "stopReason", "done_reason", "status") if told.get(k)),
        "",
    )


def why_cut(reason: str) -> str:
    """The answer to a call whose message ended with `reason`, which means that the call may be incomplete."""
    next_time = "Use shorter arguments." if endings.is_out_of_room(reason) else "Make it again, in another way."
    return f"it was cut off: {endings.says(reason)} in the middle of this call. {NOT_MADE} {next_time}"


def ends_calls(reason: str) -> bool:
    return reason.lower() in endings.CALLS_END


def arguments_of(raw: str) -> tuple[dict[str, Any], str]:
    """Whole arguments, or why they are not whole. An empty text and `null` mean no arguments."""
    if not raw.strip() or raw.strip() == "null":
        return {}, ""
    try:
        found = json.loads(raw, strict=False)
    except (ValueError, RecursionError):
        return {}, UNFINISHED if _begins_json(raw) else NO_JSON
    return (found, "") if isinstance(found, dict) else ({}, NO_JSON)


def refused_in(message: AIMessage) -> list[Refused]:
    """The calls of a message that must not run, from any model. Ids are empty where the model gave none."""
    told = message.response_metadata
    refused = [Refused(**one) for one in told.get(REFUSED_CALLS) or ()]
    known = {one.id for one in refused}
    refused += [
        Refused(
            id=broken.get("id") or "",
            name=broken.get("name") or "unknown",
            args=broken.get("args"),
            why=broken.get("error") or NO_JSON,
        )
        for broken in message.invalid_tool_calls
    ]
    reason = reason_of(told)
    if reason and not ends_calls(reason):
        refused += [
            Refused(id=call["id"] or "", name=call["name"], args=call["args"], why=why_cut(reason))
            for call in message.tool_calls
            if call["id"] not in known
        ]
    return refused


def with_refused(message: AIMessage, refused: list[Refused]) -> AIMessage:
    """The message for the conversation: every call has an id and will get an answer, the refused ones too."""
    ids = {one.id for one in refused}
    calls = [call for call in message.tool_calls if call["id"] not in ids]
    calls += [{"name": one.name, "args": {}, "id": one.id, "type": "tool_call"} for one in refused]
    metadata = {**message.response_metadata, REFUSED_CALLS: [asdict(one) for one in refused]}
    update: dict[str, Any] = {"tool_calls": calls, "invalid_tool_calls": [], "response_metadata": metadata}
    return message.model_copy(update=update)


def _begins_json(raw: str) -> bool:
    """Whether this is the beginning of a JSON object."""
    try:
        return isinstance(parse_partial_json(raw), dict)
    except (ValueError, RecursionError):
        return False
