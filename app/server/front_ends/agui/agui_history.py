"""The messages of a thread as AG-UI has them, from the states of its runs."""

import json
from collections.abc import Iterator
from typing import Any

from ag_ui.core import types as t

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.executions.drafts.draft import spoken
from agent_runner.app.server.front_ends.agui.agui_events import result_id
from agent_runner.app.server.front_ends.front_runs import noted_of
from agent_runner.app.server.front_ends.happened import FAILURE, QUESTION
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.status.log.events import INPUT_MESSAGE, USER_MESSAGE
from agent_runner.status.log.state import State
from agent_runner.status.store.records import Execution

MOST_RUNS = 200
"""The newest runs of a thread whose messages are told."""


async def messages_of(ctx: ServerContext, session_id: str, until: int, *, whole: bool) -> list[t.Message]:
    """Of the runs up to the one with the handle `until`, oldest first; of that one only what was sent, unless
    `whole`."""
    found = await ctx.store.runs_of_session(session_id, limit=MOST_RUNS)
    told: list[t.Message] = []
    for one in sorted(found, key=lambda execution: execution.handle):
        if one.handle > until:
            break
        kept = await ctx.store.state(one.id)
        if kept is not None:
            first = await ctx.store.read_log(one.id, 0, 1)
            said = spoken(first[0].payload) if first else True
            told += _messages(one, kept[1], said=said, answered=whole or one.handle != until)
    return told


def _messages(run: Execution, state: State, *, said: bool, answered: bool) -> Iterator[t.Message]:
    theirs = list(noted_of(run).get("message_ids") or ())
    for id_, message in state.messages.items():
        text, kind = "".join(message["content"]), message["type"]
        if id_ == USER_MESSAGE or id_.startswith(INPUT_MESSAGE):
            if kind == "MESSAGE_HUMAN" and (said or id_ != USER_MESSAGE):
                yield t.UserMessage(id=theirs.pop(0) if theirs else f"{run.id}:{id_}", role="user", content=text)
        elif answered and id_ not in (FAILURE, QUESTION):
            if kind == "MESSAGE_AI":
                yield from _answer(id_, message, text, state)
            elif kind == "MESSAGE_HUMAN":
                yield t.UserMessage(id=id_, role="user", content=text)


def _answer(id_: str, message: Json, text: str, state: State) -> Iterator[t.Message]:
    scope = str(message["metadata"].get("scope") or "").rpartition("/")[2]
    sub_agent = scope if scope in state.sub_agents else None
    calls = [state.tool_calls[key] for key in message["tool_calls"] if key in state.tool_calls]
    made = [_call(call) for call in calls]
    yield t.AssistantMessage(
        id=id_, role="assistant", content=text or None, tool_calls=made or None, subagent_run_id=sub_agent
    )
    for call in calls:
        if call.get("result") or call.get("error"):
            error = str(call.get("error") or "") or None
            yield t.ToolMessage(
                id=result_id(call["id"]),
                role="tool",
                tool_call_id=call["id"],
                content=str(call.get("result") or error),
                error=error,
                subagent_run_id=sub_agent,
            )


def _call(call: Json) -> t.ToolCall:
    arguments: Any = call.get("args")
    named = t.FunctionCall(
        name=str(call.get("name") or "tool"), arguments=json.dumps(arguments or {}, ensure_ascii=False)
    )
    return t.ToolCall(id=call["id"], type="function", function=named)
