"""AG-UI's RunAgentInput as what our runs are made of.

A front end sends the whole conversation with every run. Our memory has it already, so only what is new becomes input:
the messages after the agent's last one, the fields of the state that the front end changed, the answers to questions.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ag_ui.core import types as t
from pydantic import ValidationError

from agent_runner.app.server.front_ends.agui.agui_events import result_id
from agent_runner.app.server.front_ends.front_runs import Asked, FrontRuns, name_of, noted_of
from agent_runner.app.server.front_ends.happenings import Json
from agent_runner.app.server.problems import invalid
from agent_runner.status.log.state import State
from agent_runner.status.store.records import Execution

OURS = "agent_runner"
"""The key of `forwardedProps` with our options."""
FRONT_END = "ag-ui"
"""The field of a graph's input with the tools and the context that the front end offers."""
_NO_INPUT = frozenset({"reasoning", "activity"})


def input_of(body: Any) -> t.RunAgentInput:
    """Raises INVALID_ARGUMENT with the path of each wrong field."""
    try:
        return t.RunAgentInput.model_validate(body)
    except ValidationError as error:
        told = [f"{'.'.join(str(part) for part in e['loc']) or 'the body'}: {e['msg']}" for e in error.errors()[:5]]
        raise invalid("; ".join(told), next_step="Send a RunAgentInput of AG-UI 1.0.") from None


async def asked_of(given: t.RunAgentInput, runs: FrontRuns) -> Asked:
    """Raises INVALID_ARGUMENT if there is nothing in it to run on, or an answer to a question that is not open."""
    earlier = await runs.newest(given.thread_id, 50)
    noted: Json = {"thread_id": given.thread_id, "tools": [tool.name for tool in given.tools or ()]}
    options = options_of(given)
    run_id = name_of(given.run_id, "runId")
    if given.resume:
        answers = await _answers(given, runs)
        return Asked(run_id=run_id, content={"answers": answers}, options=options, noted=noted)
    fresh = _new_messages(given.messages, earlier)
    noted["message_ids"] = [one.id for one in fresh if one.role == "user"]
    last = await runs.state(earlier[0]) if earlier else State.empty()
    return Asked(run_id=run_id, content=_content(given, fresh, last), options=options, noted=noted)


def options_of(given: t.RunAgentInput) -> Json:
    """What is ours in it."""
    options = (given.forwarded_props or {}).get(OURS) if isinstance(given.forwarded_props, Mapping) else None
    if options is not None and not isinstance(options, dict):
        raise invalid(f"forwardedProps.{OURS}: must be an object")
    return options or {}


def _content(given: t.RunAgentInput, fresh: Sequence[Any], last: State) -> Json:
    beside = _changed(given.state, last)
    if given.tools or given.context:
        beside[FRONT_END] = {
            "tools": [one.model_dump(by_alias=True) for one in given.tools or ()],
            "context": [one.model_dump(by_alias=True) for one in given.context or ()],
        }
    content: Json = {}
    if len(fresh) == 1 and fresh[0].role == "user":
        content["message"] = _said(fresh[0].content)
    elif fresh:
        beside["messages"] = [_message(one) for one in fresh]
    if beside or not fresh:
        content["input"] = beside
    return content


def _new_messages(messages: Sequence[Any], earlier: Sequence[Execution]) -> list[Any]:
    """Those that no run of the thread had yet. Without any, the user's last one again: it is sent once more."""
    told = [one for one in messages if one.role not in _NO_INPUT and not getattr(one, "subagent_run_id", None)]
    if not earlier:
        return told
    said = next((n for n in range(len(told) - 1, -1, -1) if told[n].role == "assistant"), -1)
    tail = [one for one in told[said + 1 :] if one.role != "tool" or one.id != result_id(one.tool_call_id)]
    known = {id_ for one in earlier for id_ in noted_of(one).get("message_ids") or ()}
    return [one for one in tail if one.id not in known] or [one for one in tail if one.role == "user"][-1:]


def _changed(state: Any, last: State) -> Json:
    """The fields that differ from what the front end was told last: it sends all of them back."""
    if not isinstance(state, dict):
        return {}
    shown = last.fields if last.fields is not None else last.output
    held = {**(shown if isinstance(shown, dict) else {}), "todos": _plain_todos(last)}
    given = {name: value for name, value in state.items() if name != "messages"}
    if "todos" in given and _same_todos(given["todos"], held["todos"]):
        del given["todos"]
    return {name: value for name, value in given.items() if name not in held or held[name] != value}


def _plain_todos(state: State) -> list[Json]:
    return [{"content": todo.get("content"), "status": todo.get("status")} for todo in state.todos]


def _same_todos(given: Any, held: Sequence[Json]) -> bool:
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return False
    contents = [str(one.get("content")) for one in given]
    return contents == [str(one["content"]) for one in held]


async def _answers(given: t.RunAgentInput, runs: FrontRuns) -> Json:
    waiting = (await runs.waiting(given.thread_id)).questions
    answers: Json = {}
    for entry in given.resume or ():
        question = waiting.get(entry.interrupt_id)
        answers[entry.interrupt_id] = entry.payload if entry.status == "resolved" else _refusal(question or {})
    return answers


def _refusal(question: Json) -> Any:
    """The answer of a person who does not want to answer."""
    expects = question.get("expects") or {}
    match expects.get("kind"):
        case "decisions":
            return {"decisions": [{"type": "reject"} for _ in expects["actions"]]}
        case "decision":
            return {"type": "reject"}
        case "responses" if "ignore" in expects["allowed"]:
            return [{"type": "ignore", "args": None}]
    return None


def _message(one: Any) -> Json:
    """In OpenAI's form, which graphs take."""
    told: Json = {"role": one.role, "id": one.id, "content": _blocks(one.content) if one.content else ""}
    if one.role == "tool":
        return {**told, "tool_call_id": one.tool_call_id}
    if calls := getattr(one, "tool_calls", None):
        told["tool_calls"] = [call.model_dump(by_alias=True, include={"id", "type", "function"}) for call in calls]
    return told


def _said(content: Any) -> Any:
    """What a run begins with. Raises INVALID_ARGUMENT if it is nothing."""
    told = _blocks(content)
    if not told or (isinstance(told, list) and all(not block.get("text", "a file").strip() for block in told)):
        raise invalid("messages: the last one of the user, which is the new one, has neither text nor a file")
    return told


def _blocks(content: Any) -> Any:
    return content if isinstance(content, str) else list(_each_block(content))


def _each_block(parts: Sequence[Any]) -> Iterator[Json]:
    for part in parts:
        if part.type == "text":
            yield {"type": "text", "text": part.text}
            continue
        block: Json = {"type": "file" if part.type == "document" else part.type}
        source = part.source
        block[{"data": "base64", "url": "url", "file": "file_id"}[source.type]] = source.value
        if source.mime_type:
            block["mime_type"] = source.mime_type
        yield block
