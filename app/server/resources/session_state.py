"""The state of a session at its head, taken from the logs of its executions: the server reads no checkpoints.

The messages are those that its turns left in the graph's state. The values are the other fields of that state, as the
last completed turn left them. Known limit: changes of these fields by a failed turn are not shown.
"""

from dataclasses import dataclass, field
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.status.log.events import WRONG_TURN
from agent_runner.status.log.log import State, render, rfc3339
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.records import Execution

TURNS_AT_ONCE, MOST_TURNS = 20, 200
DEFAULT_MESSAGES, MOST_MESSAGES = 100, 1000
NO_MEMORY = frozenset({"failure", "empty-answer", "interrupt"})
"""Messages that this system adds to the log, which the graph does not know."""

Json = dict[str, Any]


@dataclass(slots=True)
class _Reader:
    """Reads turns from the newest back. `room`: how many messages are still wanted; `left`: are still remembered."""

    room: int
    left: int | None = None
    head: Execution | None = None
    waiting: list[Json] | None = None
    next: list[str] | None = None
    values: Json | None = None
    values_of: str = ""
    truncated: bool = False
    messages: list[Json] = field(default_factory=list)

    def take(self, execution: Execution, state: State) -> bool:
        """Reads one turn. Returns whether older turns are needed."""
        if execution.phase not in TERMINAL_PHASES:
            return True
        if self.head is None:
            self.head = execution
            self.waiting, self.next = _open_questions(state), _next(execution, state)
        if self.values is None and execution.phase is Phase.COMPLETED and not self._asked(state):
            self.values, self.values_of = _values(state), execution.id
        if self.left == 0 or self.room == 0:
            self.truncated = self.truncated or self.left != 0
            return self.values is None
        told = remembered(state)
        if self.left is not None:
            told = told[-self.left :]
            self.left -= len(told)
        if len(told) > self.room:
            told, self.truncated = told[-self.room :], True
        self.room -= len(told)
        self.messages = told + self.messages
        if state.history_kept is not None:
            self.left = state.history_kept if self.left is None else min(self.left, state.history_kept)
        return True

    @staticmethod
    def _asked(state: State) -> bool:
        return any(m["metadata"].get("interrupted") for m in state.messages.values())


async def session_state(ctx: ServerContext, session_id: str, most_messages: int) -> Json:
    """The session must be known to be the caller's."""
    reader = _Reader(room=min(most_messages or DEFAULT_MESSAGES, MOST_MESSAGES))
    token, turns, on = "", 0, True
    while on and turns < MOST_TURNS:
        query = ExecutionQuery(session_id=session_id, page_size=TURNS_AT_ONCE, page_token=token)
        page = await ctx.store.list(query)
        for execution, state in zip(page.executions, page.states, strict=True):
            on = on and isinstance(state, State) and reader.take(execution, state)
        turns, token = turns + len(page.executions), page.next_token
        on = on and bool(token)
    _, checkpoint_id, _ = await ctx.store.session_facts(session_id)
    head = reader.head
    return {
        "session_id": session_id,
        "execution_id": head.id if head else "",
        "checkpoint_id": checkpoint_id,
        "created_at": rfc3339(head.completed_at) if head and head.completed_at else "",
        "values": reader.values or {},
        "values_of": reader.values_of,
        "messages": reader.messages,
        "truncated": reader.truncated or bool(token and turns >= MOST_TURNS),
        "questions": reader.waiting or [],
        "next": reader.next,
    }


def remembered(state: State) -> list[Json]:
    """The messages of the main conversation, as the status shows them."""
    shown = render(state).get("messages", [])
    kept = zip(state.messages.values(), shown, strict=True)
    return [
        message
        for held, message in kept
        if held["id"] not in NO_MEMORY
        and not held["id"].startswith(WRONG_TURN)
        and held["type"] != "MESSAGE_TOOL"  # results are shown with their calls, and not counted
        and not held["metadata"].keys() & {"scope", "removed", "forgotten"}
    ]


def _values(state: State) -> Json:
    if state.fields is not None:
        return state.fields
    if isinstance(state.output, dict):
        return state.output
    return {} if state.output is None else {"output": state.output}


def _open_questions(state: State) -> list[Json]:
    """The open questions as the execution shows them. A worker of an earlier version reported only their text."""
    asked = [m for m in state.messages.values() if m["metadata"].get("interrupted")]
    if asked and state.questions:
        return [{**one, "question": one.get("text", "")} for one in state.questions.values()]
    return [{"id": m["id"], "question": "".join(m["content"]), **_more(m)} for m in asked]


def _next(execution: Execution, state: State) -> list[str] | None:
    """The nodes with which the graph goes on from its head; None if its worker could not report them."""
    told = [m["metadata"]["next"] for m in state.messages.values() if isinstance(m["metadata"].get("next"), list)]
    if told:
        return [str(name) for name in told[-1]]
    asked = any(m["metadata"].get("interrupted") for m in state.messages.values())
    return [] if execution.phase is Phase.COMPLETED and not asked else None


def _more(message: Json) -> Json:
    return {name: value for name, value in message["metadata"].items() if name != "interrupted"}
