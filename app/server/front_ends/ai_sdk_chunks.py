"""What happens in a run, as the chunks of the AI SDK's UI message stream: one message of the assistant.

Calls are `dynamic` and `providerExecuted`: the page did not declare them and does not run them.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from agent_runner.app.server.front_ends import happenings as h
from agent_runner.app.server.front_ends.front_stream import UNTOLD
from agent_runner.app.server.front_ends.happened import OF_CALL
from agent_runner.app.server.front_ends.happenings import Happening, Json
from agent_runner.app.server.problems import Problem
from agent_runner.status.phases import Phase

OURS = {"dynamic": True, "providerExecuted": True}
Conversation = Callable[[], Awaitable[list[Json]]]


class UiMessage:
    """`facts` are the message's metadata. `conversation`: all messages of the chat, for a run that rewrote some.
    `denied`: calls that a person has refused. `known_calls`: calls that the page has in this message, from an earlier
    run; in another step of the message they would be told twice."""

    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}
    last = "data: [DONE]\n\n"

    def __init__(
        self,
        message_id: str,
        facts: Json,
        conversation: Conversation,
        *,
        denied: frozenset[str] = frozenset(),
        known_calls: frozenset[str] = frozenset(),
    ) -> None:
        self._message_id, self._facts, self._conversation = message_id, facts, conversation
        self._denied, self._known_calls = denied, known_calls
        self._in_step = False
        self._open: dict[str, str] = {}
        """The parts that are open, by the message that they are of."""
        self._parts = 0
        self._calls: dict[str, tuple[str, Any]] = {}
        """Name and arguments of the calls that have not returned."""

    def begin(self) -> Iterator[str]:
        yield _written("start", messageId=self._message_id, messageMetadata=self._facts)
        for call in sorted(self._denied):  # it never runs, so the log has no end of it
            yield _written("tool-output-denied", toolCallId=call) if call in self._known_calls else UNTOLD

    def told(self, happening: Happening, at: float) -> Iterator[str]:
        match happening:
            case h.ModelBegan(scope=""):
                known = happening.id.removesuffix(OF_CALL) in self._known_calls
                yield from [UNTOLD] if known else self._next_step()
            case h.TextMore(scope=""):
                yield from self._text(happening)
            case h.TextMore():
                yield _data("subagent-text", {"id": happening.scope, "delta": happening.text}, transient=True)
            case h.TextEnded(scope=""):
                yield from self._text_end(happening.id)
            case h.Called():
                self._calls[happening.id] = happening.name, happening.args
                yield UNTOLD if happening.id in self._known_calls else _call(happening)
            case h.Returned():
                self._calls.pop(happening.id, None)
                yield self._result(happening)
            case _:
                yield from _beside(happening)

    def _next_step(self) -> Iterator[str]:
        if self._in_step:
            yield from self._step_end()
        self._in_step = True
        yield _written("start-step")

    def _step_end(self) -> Iterator[str]:
        for message in list(self._open):  # a step's end closes what is open in it
            yield from self._text_end(message)
        self._in_step = False
        yield _written("finish-step")

    def _text(self, more: h.TextMore) -> Iterator[str]:
        if more.id not in self._open:
            self._parts += 1
            self._open[more.id] = f"{more.id}#{self._parts}"
            yield _written("text-start", id=self._open[more.id])
        yield _written("text-delta", id=self._open[more.id], delta=more.text)

    def _text_end(self, message: str) -> Iterator[str]:
        if part := self._open.pop(message, None):
            yield _written("text-end", id=part)

    def _result(self, end: h.Returned) -> str:
        if end.id in self._denied:
            return UNTOLD
        if end.error:
            return _written("tool-output-error", toolCallId=end.id, errorText=end.error, **OURS)
        return _written("tool-output-available", toolCallId=end.id, output=end.result, **OURS)

    async def over(self, over: h.Over, at: float) -> list[str]:
        told = []
        if over.rewritten:
            told.append(_data("conversation", {"messages": await self._conversation()}, id="conversation"))
        return [*told, *self._end(over)]

    def _end(self, over: h.Over) -> Iterator[str]:
        approvals = False
        for question in over.questions:
            asked = list(self._approvals(question))
            approvals = approvals or bool(asked)
            yield from asked
            yield _data("interrupt", dict(question), id=str(question["id"]))
        if self._in_step:
            yield from self._step_end()
        if over.phase is Phase.FAILED:
            facts = {"code": over.code, "text": over.text, "next_step": over.next_step, **self._facts}
            yield _data("error", facts, id="error")
            yield _written("error", errorText=f"{over.text} {over.next_step}".strip())
        elif over.phase is Phase.CANCELLED:
            yield _written("abort", reason="cancelled")
        else:
            used = {name: value for name, value in (("usage", over.usage), ("cost", over.cost)) if value}
            facts = {**self._facts, **used}
            yield _written("finish", finishReason="tool-calls" if approvals else "stop", messageMetadata=facts)

    def _approvals(self, question: Json) -> Iterator[str]:
        """One request for each call that the question is about; none if not all of them are found."""
        value, expects = question.get("value"), question.get("expects") or {}
        requests = value.get("action_requests") if isinstance(value, dict) else None
        if expects.get("kind") != "decisions" or not isinstance(requests, list):
            return
        found: list[str] = []
        for request in requests:
            wanted = (request.get("name"), request.get("args")) if isinstance(request, dict) else None
            call = next((id_ for id_, held in self._calls.items() if held == wanted and id_ not in found), None)
            if call is None:
                return
            found.append(call)
        for number, call in enumerate(found):
            yield _written("tool-approval-request", approvalId=approval_id(question["id"], number), toolCallId=call)

    def refused(self, problem: Problem) -> str:
        return _written("error", errorText=f"{problem.detail} {problem.next_step}".strip())


def approval_id(question_id: str, number: int) -> str:
    return f"{question_id}:{number}"


def approved_question(approval: str) -> tuple[str, int] | None:
    """The question and the number of its call; None for an id that is not ours."""
    question, _, number = approval.rpartition(":")
    return (question, int(number)) if question and number.isdecimal() and len(number) < 6 else None


def _call(call: h.Called) -> str:
    beside = {"toolMetadata": {"subagent": call.scope}} if call.scope else {}
    return _written("tool-input-available", toolCallId=call.id, toolName=call.name, input=call.args, **OURS, **beside)


def _beside(one: Happening) -> Iterator[str]:
    """What is no text and no call of the main conversation."""
    match one:
        case h.Reasoned(scope=""):
            id_ = f"{one.id}:reasoning"
            yield _written("reasoning-start", id=id_)
            yield _written("reasoning-delta", id=id_, delta=one.text)
            yield _written("reasoning-end", id=id_)
        case h.SubAgentBegan():
            facts = {"id": one.id, "name": one.name, "task": one.task, "status": "running"}
            yield _data("subagent", facts, id=one.id)
        case h.SubAgentEnded():
            status = "waiting" if one.waits else "failed" if one.error else "completed"
            facts = {"id": one.id, "name": one.name, "status": status, "result": one.result, "error": one.error}
            yield _data("subagent", facts, id=one.id)
        case h.StepBegan() | h.StepEnded():
            status = "began" if isinstance(one, h.StepBegan) else "ended"
            yield _data("step", {"name": one.name, "status": status}, transient=True)
        case h.StateIs():
            yield _data("state", one.state, id="state")
        case h.Custom():
            yield _custom(one)
        case h.Note():
            yield _data("note", {"text": one.text, **one.facts}, transient=True)


def _custom(one: h.Custom) -> str:
    """`data-NAME`. Data with an `id` is a part of the message, and replaces the one with the same id."""
    said = one.data if isinstance(one.data, dict) else {}
    named = said.get("type") if isinstance(said.get("type"), str) else ""
    id_ = said.get("id")
    beside: Json = {"id": id_} if isinstance(id_, str) and id_ else {"transient": True}
    return _data(one.name or named or "custom", one.data, **beside)


def _data(name: str, data: Any, **beside: Any) -> str:
    return _written(f"data-{name}", data=data, **beside)


def _written(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
