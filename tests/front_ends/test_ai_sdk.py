"""The AI SDK's stream: its frames, what a chat may send, and what happens when its connection breaks."""

import uuid
from typing import Any

import pytest

from tests.front_ends.front_end import FrontEnd, Told
from tests.integration.stack import Stack

Json = dict[str, Any]


def said(text: str, id: str = "") -> Json:
    return {"id": id or str(uuid.uuid4()), "role": "user", "parts": [{"type": "text", "text": text}]}


def chat(*messages: Json, id: str = "", **given: Any) -> Json:
    return {"id": id or f"chat {uuid.uuid4()}", "messages": list(messages), "trigger": "submit-message", **given}


def send(front_end: FrontEnd, agent: str, body: Json, last: str = "") -> Told:
    headers = {"Last-Event-ID": last} if last else {}
    answer = front_end.http.post(f"/v1/ai-sdk/{agent}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return Told(answer.text, answer.headers, body)


def text_of(told: Told) -> str:
    return told.text_of("text-delta")


def test_what_a_stream_is_made_of(front_end: FrontEnd) -> None:
    """It begins with `start`, has steps around what models say, ends with `finish` and `[DONE]`."""
    told = send(front_end, "agent-runner", chat(said("$ echo hi")))
    assert told.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert (told.types[0], told.types[-1], told.frames[-1][1]) == ("start", "finish", None)
    assert told.types.count("start-step") == told.types.count("finish-step")
    assert len(told.of("text-start")) == len(told.of("text-end"))
    assert told.text.endswith("data: [DONE]\n\n: end\n\n")


def test_from_every_position_exactly_the_rest(front_end: FrontEnd) -> None:
    """A reader that comes back with the id of any frame gets every later one, byte for byte."""
    whole = send(front_end, "agent-runner", chat(said("$ echo hi")))
    for place, (id_, data) in enumerate(whole.frames):
        if data is not None:
            assert front_end.get(whole.headers["location"], id_).frames == whole.frames[place + 1 :]


def test_the_same_message_is_the_same_run(front_end: FrontEnd) -> None:
    """A request that is sent again, because its answer was lost, begins nothing new."""
    body = chat(said("$ echo hi"))
    first, second = send(front_end, "agent-runner", body), send(front_end, "agent-runner", body)
    assert first.frames == second.frames


@pytest.mark.parametrize("turn", [0, 1])
def test_an_edited_message(turn: int, front_end: FrontEnd) -> None:
    """A message that was edited, the first one or a later one, is answered as if what came after it had not been."""
    id_, messages = f"chat {uuid.uuid4()}", []
    for text in ("I like tea", "I like rain"):
        messages.append(said(text))
        told = send(front_end, "agent-runner", chat(*messages, id=id_))
        parts = [{"type": "text", "text": text_of(told)}]
        messages.append({"id": told.execution, "role": "assistant", "parts": parts})
    edited = said("what did I say?", messages[2 * turn]["id"])
    told = send(front_end, "agent-runner", chat(*messages[: 2 * turn], edited, id=id_, messageId=edited["id"]))
    assert "I like rain" not in text_of(told)
    assert ("I like tea" in text_of(told)) == (turn == 1)


def test_answers_by_their_ids(front_end: FrontEnd) -> None:
    """`answers` in the body is for questions that no words can answer."""
    body = chat(said("hello"))
    asked = send(front_end, "asks_back", body)
    (question,) = asked.of("data-interrupt")
    told = send(front_end, "asks_back", body | {"answers": {question["id"]: {"side": "left"}}})
    assert text_of(told) == "you said {'side': 'left'}"


def test_resume_of_what_is_not_open(front_end: FrontEnd) -> None:
    """204 for a chat without an open run: the SDK then shows what it has."""
    body = chat(said("hello"))
    send(front_end, "agent-runner", body)
    for id_ in (body["id"], "no such chat"):
        assert front_end.http.get(f"/v1/ai-sdk/agent-runner/{id_}/stream").status_code == 204


def test_cancel(front_end: FrontEnd, served: Stack) -> None:
    """A cancel ends the stream with `abort`; a reader that only goes away ends nothing."""
    body = chat(said("hello"))
    with front_end.http.stream("POST", "/v1/ai-sdk/slow_talk", json=body) as answer:
        next(line for line in answer.iter_lines() if "text-delta" in line)
        execution = answer.headers["content-location"].rpartition("/")[2]
    cancelled = front_end.http.post(f"/v1/ai-sdk/slow_talk/{body['id']}/cancel")
    assert cancelled.json() == {"cancelled": [execution]}
    assert front_end.get(answer.headers["location"]).types[-1] == "abort"


def test_a_file_of_a_message(front_end: FrontEnd, served: Stack) -> None:
    """A file part becomes an attachment of the message."""
    file = {"type": "file", "mediaType": "text/plain", "filename": "a.txt", "url": "data:text/plain;base64,aGk="}
    message = said("look at this")
    message["parts"].append(file)
    told = send(front_end, "agent-runner", chat(message))
    shown = served.get(told.execution)["status"]["messages"][0]["metadata"]["attachments"]
    assert [one["mime_type"] for one in shown] == ["text/plain"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"id": ""}, "id"),
        ({"messages": [{"id": "1", "role": "assistant", "parts": []}]}, "no open question"),
        ({"answers": {"no-such": 1}}, "open question"),
        ({"agent_runner": {"modle": "x"}}, "modle"),
    ],
)
def test_requests_that_are_refused(change: Json, what: str, front_end: FrontEnd) -> None:
    """What cannot be run is refused with the field's name or the reason, and makes no execution."""
    refused = front_end.http.post("/v1/ai-sdk/talk", json=chat(said("hello")) | change)
    assert refused.status_code in (400, 409), refused.text
    assert what in refused.json()["detail"]
