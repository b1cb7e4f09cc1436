"""A front end without a library: it POSTs what AG-UI's client and the AI SDK's transport do, and reads the frames."""

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
from ag_ui_validate import Report, create_validator

from tests.integration.stack import Stack

Json = dict[str, Any]
_FRAME = re.compile(r"(?:id: (.*)\n)?data: (.*)\n")


@dataclass
class Told:
    """A stream that was read to its end. `frames` are (id, data); the data of `[DONE]` is None."""

    text: str
    headers: httpx.Headers
    sent: Json = field(default_factory=dict)
    frames: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for id_, data in _FRAME.findall(self.text):
            self.frames.append((id_, None if data == "[DONE]" else json.loads(data)))

    @property
    def events(self) -> list[Json]:
        return [data for _, data in self.frames if data is not None]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def last(self) -> Json:
        return self.events[-1]

    @property
    def execution(self) -> str:
        return self.headers["content-location"].rpartition("/")[2]

    def of(self, kind: str) -> list[Json]:
        return [event for event in self.events if event["type"] == kind]

    def text_of(self, kind: str = "TEXT_MESSAGE_CONTENT") -> str:
        return "".join(event["delta"] for event in self.of(kind))

    def judged(self) -> Report:
        """What AG-UI's validator says."""
        validator = create_validator()
        for event in self.events:
            validator.feed(event)
        validator.finalize()
        return validator.report()


class FrontEnd:
    def __init__(self, stack: Stack) -> None:
        self.stack, self.http = stack, stack.http

    def sent(self, said: str = "", thread: str = "", **given: Any) -> Json:
        """A RunAgentInput as `@ag-ui/client` sends it."""
        messages = [{"id": str(uuid.uuid4()), "role": "user", "content": said}] if said else []
        names = {"threadId": thread or str(uuid.uuid4()), "runId": str(uuid.uuid4()), "protocolVersion": "1.0"}
        rest: Json = {"messages": messages, "state": {}, "tools": [], "context": [], "forwardedProps": {}}
        return {**names, **rest, **given}

    def run(self, agent: str, said: str = "", thread: str = "", **given: Any) -> Told:
        """A run by AG-UI, at its end."""
        return self.post(agent, self.sent(said, thread, **given))

    def post(self, agent: str, body: Json, last: str = "") -> Told:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        answer = self.http.post(f"/v1/agui/{agent}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return Told(answer.text, answer.headers, body)

    def get(self, path: str, last: str = "") -> Told:
        answer = self.http.get(path, headers={"Last-Event-ID": last} if last else {})
        assert answer.status_code == 200, answer.text
        return Told(answer.text, answer.headers)
