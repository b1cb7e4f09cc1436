"""What happens in a run, as AG-UI's events (protocol 1.0)."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from ag_ui.core import events as e
from ag_ui.core import types as t
from ag_ui.core.version import PROTOCOL_VERSION

from agent_runner.app.server.front_ends import happenings as h
from agent_runner.app.server.front_ends.happenings import Happening, Json
from agent_runner.app.server.problems import Problem
from agent_runner.status.phases import Phase

UNNAMED = "agent-runner/custom"
"""The name of a graph's own event that has none."""
NOTE = "agent-runner/note"
History = Callable[[], Awaitable[list[t.Message]]]


class AgUi:
    """`facts`: what RUN_STARTED says of the run besides its names. `history`: all messages of the thread.
    `known_calls`: calls of an earlier run that this one goes on with."""

    headers: Mapping[str, str] = {}
    last = ""

    def __init__(
        self, thread_id: str, run_id: str, facts: Json, history: History, known_calls: frozenset[str] = frozenset()
    ) -> None:
        self._thread_id, self._run_id, self._facts = thread_id, run_id, facts
        self._history, self._known_calls = history, known_calls
        self.before: list[t.Message] | None = None
        """The messages of the thread, for a reader that does not have them."""
        self._said: dict[str, str | None] = {}
        """The messages that were begun, with their sub-agents."""
        self._unanswered: dict[str, None] = {}

    def begin(self) -> Iterator[str]:
        yield _written(
            e.RunStartedEvent(
                thread_id=self._thread_id,
                run_id=self._run_id,
                protocol_version=PROTOCOL_VERSION,
                metadata=self._facts,
            )
        )
        if self.before is not None:
            yield _written(e.MessagesSnapshotEvent(messages=self.before))

    def told(self, happening: Happening, at: float) -> Iterator[str]:
        for event in self._events(happening):
            event.timestamp = int(at * 1000)
            yield _written(event)

    def _events(self, one: Happening) -> Iterator[e.BaseEvent]:
        match one:
            case h.TextBegan():
                yield self._began(one.id, one.role, one.scope)
            case h.TextMore():
                yield e.TextMessageContentEvent(message_id=one.id, delta=one.text)
            case h.TextEnded():
                yield e.TextMessageEndEvent(message_id=one.id)
            case h.Called():
                yield from self._call(one)
            case h.Returned():
                yield self._result(one)
            case _:
                yield from _beside(one)

    def _began(self, id_: str, role: h.Role, scope: str) -> e.BaseEvent:
        self._said[id_] = scope or None
        return e.TextMessageStartEvent(message_id=id_, role=role, subagent_run_id=scope or None)

    def _call(self, call: h.Called) -> Iterator[e.BaseEvent]:
        if call.message and call.message not in self._said:  # a message that says nothing but its calls
            yield self._began(call.message, "assistant", call.scope)
            yield e.TextMessageEndEvent(message_id=call.message)
        scope = self._said[call.message] if call.message else call.scope or None
        self._unanswered[call.id] = None
        yield e.ToolCallStartEvent(
            tool_call_id=call.id,
            tool_call_name=call.name,
            parent_message_id=call.message or None,
            subagent_run_id=scope,
        )
        if call.id not in self._known_calls:  # arguments add up, and the front end has these
            yield e.ToolCallArgsEvent(tool_call_id=call.id, delta=json.dumps(call.args, ensure_ascii=False))
        yield e.ToolCallEndEvent(tool_call_id=call.id)

    def _result(self, end: h.Returned) -> e.BaseEvent:
        self._unanswered.pop(end.id, None)
        return e.ToolCallResultEvent(
            message_id=result_id(end.id),
            tool_call_id=end.id,
            content=end.result or end.error,
            role="tool",
            subagent_run_id=end.scope or None,
            metadata={"error": end.error} if end.error else None,
        )

    async def over(self, over: h.Over, at: float) -> list[str]:
        told: list[e.BaseEvent] = []
        if over.rewritten:
            told.append(e.MessagesSnapshotEvent(messages=await self._history()))
        told.append(self._end(over))
        for event in told:
            event.timestamp = int(at * 1000)
        return [_written(event) for event in told]

    def _end(self, over: h.Over) -> e.BaseEvent:
        usage = [_tokens(model, tokens) for model, tokens in over.usage.items()] or None
        cost = {"cost": over.cost} if over.cost else {}  # the protocol's usage is of tokens only
        if over.phase is Phase.FAILED:
            facts = {"next_step": over.next_step, **cost, **self._facts}
            return e.RunErrorEvent(message=over.text, code=over.code or None, usage=usage, metadata=facts)
        outcome: Any = e.RunFinishedSuccessOutcome(type="success", pending_tool_call_ids=list(self._unanswered) or None)
        if over.phase is Phase.CANCELLED:
            outcome = e.RunFinishedCancelledOutcome(type="cancelled")
        elif over.questions:
            asked = [interrupt_of(one) for one in over.questions]
            outcome = e.RunFinishedInterruptOutcome(type="interrupt", interrupts=asked)
        result = over.output if over.phase is Phase.COMPLETED and not over.questions else None
        return e.RunFinishedEvent(
            thread_id=self._thread_id, run_id=self._run_id, result=result, outcome=outcome, usage=usage,
            metadata=cost or None,
        )  # fmt: skip

    def refused(self, problem: Problem) -> str:
        facts = {"next_step": problem.next_step, **self._facts}
        return _written(e.RunErrorEvent(message=problem.detail, code=problem.code, metadata=facts))


def result_id(call_id: str) -> str:
    """The id of the message that a tool's result is."""
    return f"{call_id}:result"


def reasoning_id(message_id: str) -> str:
    return f"{message_id}:reasoning"


def interrupt_of(question: Json) -> t.Interrupt:
    """The whole question is in its metadata; `responseSchema` is there if the question says what it expects."""
    expects = question.get("expects") or {}
    schema: Json | None = expects.get("schema") if isinstance(expects.get("schema"), dict) else None
    if expects.get("kind") == "choice":
        schema = {"enum": expects["options"]}
    return t.Interrupt(
        id=str(question["id"]),
        reason=str(expects.get("kind") or "any"),
        message=str(question.get("text") or "") or None,
        response_schema=schema,
        metadata={name: question[name] for name in ("value", "node", "expects") if name in question} or None,
    )


def _reasoning(one: h.Reasoned) -> Iterator[e.BaseEvent]:
    id_, scope = reasoning_id(one.id), one.scope or None
    yield e.ReasoningStartEvent(message_id=id_, subagent_run_id=scope)
    yield e.ReasoningMessageStartEvent(message_id=id_, role="reasoning", subagent_run_id=scope)
    yield e.ReasoningMessageContentEvent(message_id=id_, delta=one.text)
    yield e.ReasoningMessageEndEvent(message_id=id_)
    yield e.ReasoningEndEvent(message_id=id_)


def _beside(one: Happening) -> Iterator[e.BaseEvent]:
    """What is no message and no call."""
    match one:
        case h.Reasoned():
            yield from _reasoning(one)
        case h.SubAgentBegan():
            yield e.SubagentStartedEvent(
                subagent_run_id=one.id,
                name=one.name,
                description=one.task or None,
                parent_subagent_run_id=one.scope or None,
                parent_tool_call_id=one.id,
            )
        case h.SubAgentEnded():
            yield _sub_agent_end(one)
        case h.StepBegan():
            yield e.StepStartedEvent(step_name=one.name)
        case h.StepEnded():
            yield e.StepFinishedEvent(step_name=one.name)
        case h.StateIs():
            yield e.StateSnapshotEvent(snapshot=one.state)
        case h.Custom():
            beside = {"node": one.node} if one.node else None
            yield e.CustomEvent(name=one.name or UNNAMED, value=one.data, metadata=beside)
        case h.Note():
            yield e.CustomEvent(name=NOTE, value={"text": one.text, **one.facts})


def _sub_agent_end(one: h.SubAgentEnded) -> e.BaseEvent:
    if one.error:
        return e.SubagentErrorEvent(subagent_run_id=one.id, message=one.error)
    if one.waits:
        suspended = e.SubagentFinishedSuspendedOutcome(type="suspended")
        return e.SubagentFinishedEvent(subagent_run_id=one.id, outcome=suspended)
    return e.SubagentFinishedEvent(subagent_run_id=one.id, result=one.result or None)


def _tokens(model: str, tokens: Mapping[str, int]) -> e.TokenUsage:
    return e.TokenUsage(
        model=model or None,
        input_tokens=tokens.get("input_tokens"),
        output_tokens=tokens.get("output_tokens"),
        total_tokens=tokens.get("total_tokens"),
    )


def _written(event: e.BaseEvent) -> str:
    return event.model_dump_json(by_alias=True)
