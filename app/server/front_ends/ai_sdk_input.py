"""What the AI SDK's chat transport sends, as what our runs are made of.

It sends the whole chat every time: `{"id", "messages", "trigger", "messageId"}`. New is the last message of the user,
or what the user decided about calls that wait for approval.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent_runner.app.server.front_ends.ai_sdk_chunks import approved_question
from agent_runner.app.server.front_ends.front_runs import Asked, FrontRuns, name_of, noted_of
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.app.server.problems import invalid
from agent_runner.status.log.state import State
from agent_runner.status.store.records import Execution

OURS = "agent_runner"
"""The field of the body with our options."""
EDITED = 50


def chat_of(body: Any) -> tuple[str, list[Json]]:
    """(the chat's id, its messages). Raises INVALID_ARGUMENT."""
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object, as DefaultChatTransport sends it")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise invalid("messages: must be a list of UI messages, with at least one")
    for number, one in enumerate(messages):
        if one.get("role") not in ("user", "assistant", "system") or not isinstance(one.get("parts"), list):
            raise invalid(f"messages[{number}]: must be a UI message with a role and a list of parts")
        if not all(isinstance(part, dict) for part in one["parts"]):
            raise invalid(f"messages[{number}].parts: must be a list of objects")
    return name_of(body.get("id"), "id"), messages


async def asked_of(chat: str, messages: Sequence[Json], body: Mapping[str, Any], runs: FrontRuns) -> Asked:
    """Raises INVALID_ARGUMENT if there is nothing in it to run on, or an answer to a question that is not open."""
    options = body.get(OURS) or {}
    if not isinstance(options, dict):
        raise invalid(f"{OURS}: must be an object")
    last = messages[-1]
    if body.get("answers") is not None:
        return _answers(body["answers"], {}, options, last)
    if last["role"] == "assistant" and body.get("trigger") != "regenerate-message":
        waits = await runs.waiting(chat)
        answers, denied = _decisions(last, waits)
        return _answers(answers, {"denied": denied}, options, last)
    return await _said(chat, messages, body, options, runs)


def _answers(answers: Any, beside: Json, options: Json, last: Json) -> Asked:
    """The run goes on in the assistant's message that asked."""
    mark = hashlib.sha256(json.dumps(answers, sort_keys=True).encode()).hexdigest()[:32]
    goes_on = {"answer_id": last["id"]} if last["role"] == "assistant" and isinstance(last.get("id"), str) else {}
    content = {"answers": answers}
    return Asked(run_id=f"answers-{mark}", content=content, options=options, noted={**beside, **goes_on})


async def _said(chat: str, messages: Sequence[Json], body: Mapping[str, Any], options: Json, runs: FrontRuns) -> Asked:
    place = next((n for n in range(len(messages) - 1, -1, -1) if messages[n]["role"] == "user"), -1)
    if place < 0:
        raise invalid("messages: there is no message of the user")
    said = messages[place]
    id_ = name_of(said.get("id"), f"messages[{place}].id")
    earlier = await runs.newest(chat, EDITED)
    before = _run_of(id_, earlier)
    again = body.get("trigger") == "regenerate-message" or body.get("messageId") == id_
    noted = {"message_ids": [id_]}
    content: Json = {"message": _message(said, f"messages[{place}]")["content"]}
    if not content["message"]:
        raise invalid(f"messages: the last one of the user, messages[{place}], has neither text nor a file")
    if not earlier and place > 0:  # a chat that began elsewhere
        told = [_message(one, f"messages[{n}]") for n, one in enumerate(messages[: place + 1])]
        content = {"input": {"messages": [one for one in told if one["content"]]}}
    if again and before is not None:
        return Asked(
            run_id=str(uuid.uuid4()), content=content, options=options, noted=noted, instead_of=before, repeatable=False
        )
    return Asked(run_id=id_, content=content, options=options, noted=noted)


def _run_of(message_id: str, earlier: Sequence[Execution]) -> Execution | None:
    """The first run that this message began: what came after it is what a new answer replaces."""
    return next((one for one in reversed(earlier) if message_id in (noted_of(one).get("message_ids") or ())), None)


def _decisions(last: Json, waits: State) -> tuple[Json, list[str]]:
    """(the answers by question, the calls that were refused), from the parts of the assistant's message."""
    decided: dict[str, dict[int, Json]] = {}
    denied: list[str] = []
    for part in last["parts"]:
        approval = part.get("approval")
        if part.get("state") != "approval-responded" or not isinstance(approval, dict):
            continue
        named = approved_question(str(approval.get("id")))
        if named is None or named[0] not in waits.questions:
            continue
        reason = {"message": str(approval["reason"])} if approval.get("reason") else {}
        approved = approval.get("approved") is True
        decided.setdefault(named[0], {})[named[1]] = {"type": "approve"} if approved else {"type": "reject", **reason}
        if not approved:
            denied.append(str(part.get("toolCallId")))
    if not decided:
        raise invalid(
            "messages: the last one is the assistant's, and it answers no open question",
            next_step="Send a message of the user, `answers`, or responses to the approvals that are open.",
        )
    answers = {}
    for id_, by_number in decided.items():
        wanted = len((waits.questions[id_].get("expects") or {}).get("actions") or ())
        if sorted(by_number) != list(range(wanted)):
            raise invalid(f"question {id_}: {wanted} calls wait for approval, and {len(by_number)} were answered")
        answers[id_] = {"decisions": [by_number[number] for number in range(wanted)]}
    return answers, denied


def _message(one: Json, where: str) -> Json:
    told = list(_blocks(one, where))
    texts = [block["text"] for block in told if block["type"] == "text"]
    return {"role": one["role"], "content": told if len(texts) < len(told) else "".join(texts)}


def _blocks(message: Json, where: str) -> Iterator[Json]:
    for number, part in enumerate(message["parts"]):
        match part.get("type"):
            case "text" if isinstance(part.get("text"), str):
                yield {"type": "text", "text": part["text"]}
            case "file":
                yield _file(part, f"{where}.parts[{number}]")


def _file(part: Json, where: str) -> Json:
    """A picture, a sound, a film or a file, in LangChain's form."""
    url, media_type = part.get("url"), part.get("mediaType")
    if not isinstance(url, str) or not isinstance(media_type, str):
        raise invalid(f"{where}: a file needs a url and a mediaType")
    kind = media_type.partition("/")[0]
    block: Json = {"type": kind if kind in ("image", "audio", "video") else "file", "mime_type": media_type}
    if isinstance(part.get("filename"), str):
        block["filename"] = part["filename"]
    head, comma, data = url.partition(",")
    if comma and head.startswith("data:") and head.endswith(";base64"):
        return block | {"base64": data}
    return block | {"url": url}
