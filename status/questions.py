"""Open questions of a run, as data: what is asked, what kind of answer is expected, and which answer belongs to which.

A question is JSON: `id` (the interrupt's), `value` (the whole value of the interrupt), `text` (the value as text),
`node`, `scope` (the sub-agent or sub-graph that asks), `expects`. `expects.kind` is one of

- `decisions`: langchain's approval of tool calls; `actions` says for each call its name and the `allowed` decisions
- `decision`: one decision about one tool call, `allowed` types
- `responses`: the older form of approvals; `allowed` types
- `choice`: `options`
- `schema`: `schema`, a JSON Schema
- `go_on`: a breakpoint; the run continues after any answer
- `any`: any JSON
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

NOTHING: Any = object()
"""Stands for a missing answer, because None is an answer."""
OPTION_KEYS = ("options", "choices")
RESPONSES = {
    "allow_accept": "accept",
    "allow_edit": "edit",
    "allow_respond": "response",
    "allow_ignore": "ignore",
}
_YES = frozenset({"approve", "approved", "accept", "yes", "y", "ok"})
_NO = frozenset({"reject", "rejected", "ignore", "no", "n"})
_WORDS = re.compile(r"\s*(\w+)(?:\s+(?:to\s+)?(all))?\s*(?:[:,;-]\s*(.*\S))?\s*[.!]?\s*", re.DOTALL | re.IGNORECASE)
_REPLY = frozenset({"respond", "response", "reply", "answer"})
_JSON_TYPES = ("object", "array", "number", "integer", "boolean")
SHOWN_CHARS = 400


class AnswerError(Exception):
    """An answer fits no question, or its question cannot use it. The text says what is expected."""


def expects_of(value: Any, schema: Any = None) -> Json:
    """What kind of answer a question with this value expects; `any` if the value does not say it."""
    if isinstance(value, Mapping):
        if isinstance(requests := value.get("action_requests"), list) and requests:
            return {"kind": "decisions", "actions": _actions(requests, value.get("review_configs"))}
        if value.get("type") == "tool_approval":
            return {"kind": "decision", "allowed": sorted(_types_in(schema)), "schema": schema}
        for key in OPTION_KEYS:
            if isinstance(options := value.get(key), list) and options:
                return {"kind": "choice", "options": options}
    if allowed := _responses(value):
        return {"kind": "responses", "allowed": allowed}
    if isinstance(schema, Mapping):
        return {"kind": "schema", "schema": dict(schema)}
    return {"kind": "any"}


def expected_text(question: Mapping[str, Any]) -> str:
    """The form that an answer must have, as text."""
    expects = question.get("expects") or {}
    allowed = ", ".join(expects.get("allowed") or ())
    match expects.get("kind"):
        case "decisions":
            actions = expects["actions"]
            each = "; ".join(f"{a['name']}: {' or '.join(a['allowed']) or 'any'}" for a in actions)
            example = json.dumps({"decisions": [_example(a["allowed"]) for a in actions]})
            return f"{len(actions)} decision{'s' * (len(actions) > 1)} ({each}), as JSON: {example}"
        case "decision":
            return f"one decision ({allowed}), as JSON: {json.dumps(_example(expects['allowed']))}"
        case "responses":
            return (
                f'a list with one response ({allowed}), as JSON: [{{"type": "{expects["allowed"][0]}", "args": null}}]'
            )
        case "choice":
            return "one of " + ", ".join(json.dumps(o, ensure_ascii=False) for o in expects["options"])
        case "schema":
            return f"JSON of the schema {json.dumps(expects['schema'], ensure_ascii=False)[:SHOWN_CHARS]}"
        case "go_on":
            return "anything: the run goes on"
    return "any text or JSON"


def next_step_of(questions: Sequence[Mapping[str, Any]], session_id: str) -> str:
    """A text that says what a person can do about an execution that waits."""
    if not questions:
        return ""
    if len(questions) == 1:
        (one,) = questions
        return f"Answer with {expected_text(one)}. Send it as the session's next message (session {session_id})."
    listed = "; ".join(f"{q['id']} ({_short(q)}): {expected_text(q)}" for q in questions)
    return f"Answer the {len(questions)} questions of session {session_id} by their ids, all or some: {listed}."


def answers_for(
    questions: Sequence[Mapping[str, Any]], message: str, given: Any = NOTHING, by_id: Mapping[str, Any] | None = None
) -> Json:
    """The answer for each question, by id. `given`: JSON for the only question, or an object whose keys name questions.
    `by_id`: answers by the names of questions. `message`: the text that is used if nothing else was given.

    Raises AnswerError: an unknown name, one answer to several questions, or one that its question cannot use.
    """
    if by_id:
        named = _named(questions, by_id)
        if unknown := sorted(by_id.keys() - named.keys()):
            raise AnswerError(f"no open question is called {', '.join(unknown)}. {listed(questions)}")
        return {named[name]["id"]: usable(named[name], answer) for name, answer in by_id.items()}
    if isinstance(given, Mapping) and given and len(named := _named(questions, given)) == len(given):
        return {named[name]["id"]: usable(named[name], answer) for name, answer in given.items()}
    if len(questions) > 1:
        raise AnswerError(f"{len(questions)} questions are open, and one answer was given. {listed(questions)}")
    (only,) = questions
    return {only["id"]: usable(only, message if given is NOTHING else given)}


def listed(questions: Sequence[Mapping[str, Any]]) -> str:
    """The open questions with their ids, for an error."""
    return "Open: " + "; ".join(f"{q['id']} ({_short(q)}), expected: {expected_text(q)}" for q in questions)


def usable(question: Mapping[str, Any], answer: Any) -> Any:
    """The answer in the graph's form: an approval in plain words becomes the decision that it means, and JSON that
    came as a text (the words of a chat) becomes that JSON where the question asks for JSON.

    Raises AnswerError if the question says what it expects and the answer is something else.
    """
    expects = question.get("expects") or {}
    answer = _json_in(answer, expects)
    match expects.get("kind"):
        case "decisions":
            return _decisions(question, expects["actions"], answer)
        case "decision" if expects["allowed"]:
            return _decision(question, expects["allowed"], answer)
        case "responses":
            return _response(question, expects["allowed"], answer)
    return answer


def _json_in(answer: Any, expects: Mapping[str, Any]) -> Any:
    """The JSON that a text is, if the question expects JSON that is no text; else the answer as it is."""
    kind = expects.get("kind")
    schema = expects.get("schema") if kind == "schema" else None
    wants = isinstance(schema, Mapping) and schema.get("type") in _JSON_TYPES
    if not isinstance(answer, str) or not (wants or kind in ("decisions", "decision", "responses")):
        return answer
    try:
        return json.loads(answer)
    except ValueError:
        return answer


def _named(questions: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The questions that these keys name: by id, or by a text that only one of them has."""
    texts = [q.get("text") for q in questions]
    named = {q["id"]: q for q in questions} | {q["text"]: q for q in questions if texts.count(q.get("text")) == 1}
    found = {name: named[name] for name in given if name in named}
    twice = len({q["id"] for q in found.values()}) < len(found)
    return {} if twice else found


def _decisions(question: Mapping[str, Any], actions: Sequence[Json], answer: Any) -> Json:
    if isinstance(answer, str):
        said = _said(answer)
        if said is None or (len(actions) > 1 and not said[2]):
            raise _refused(question, answer)
        answer = {"decisions": [_decision_of(said, a["allowed"], question, answer) for a in actions]}
    elif isinstance(answer, list):
        answer = {"decisions": answer}
    elif isinstance(answer, Mapping) and "type" in answer:
        answer = {"decisions": [answer]}
    given = answer.get("decisions") if isinstance(answer, Mapping) else None
    if not isinstance(given, list) or len(given) != len(actions):
        raise _refused(question, answer)
    if not all(_is_decision(one, action["allowed"]) for one, action in zip(given, actions, strict=True)):
        raise _refused(question, answer)
    return dict(answer)


def _decision(question: Mapping[str, Any], allowed: Sequence[str], answer: Any) -> Any:
    if isinstance(answer, str) and (said := _said(answer)):
        return _decision_of(said, allowed, question, answer)
    if not _is_decision(answer, allowed):
        raise _refused(question, answer)
    return answer


def _response(question: Mapping[str, Any], allowed: Sequence[str], answer: Any) -> Any:
    if isinstance(answer, str):
        said = _said(answer)
        kind = "" if said is None else {"approve": "accept", "reject": "ignore"}.get(said[0], "")
        if said is not None and said[1] and "response" in allowed:
            return [{"type": "response", "args": said[1]}]
        if kind not in allowed:
            raise _refused(question, answer)
        return [{"type": kind, "args": None}]
    parts = answer if isinstance(answer, list) else [answer]
    if not parts or not all(isinstance(one, Mapping) and one.get("type") in allowed for one in parts):
        raise _refused(question, answer)
    return parts


def _said(words: str) -> tuple[str, str, bool] | None:
    """(approve, reject or respond, the reason or the reply, whether it is about all calls) of an answer as text; None
    if it is none of these."""
    match = _WORDS.fullmatch(words)
    if match is None:
        return None
    word, reason = match[1].lower(), match[3] or ""
    if word in _YES and not reason:
        return "approve", "", bool(match[2])
    if word in _REPLY and reason:
        return "respond", reason, bool(match[2])
    return ("reject", reason, bool(match[2])) if word in _NO else None


def _decision_of(said: tuple[str, str, bool], allowed: Sequence[str], question: Mapping[str, Any], answer: str) -> Json:
    if allowed and said[0] not in allowed:
        raise _refused(question, answer)
    return {"type": said[0], **({"message": said[1]} if said[1] else {})}


def _is_decision(one: Any, allowed: Sequence[str]) -> bool:
    if not isinstance(one, Mapping) or (allowed and one.get("type") not in allowed):
        return False
    match one.get("type"):
        case "edit":
            edited = one.get("edited_action")
            return isinstance(edited, Mapping) and isinstance(edited.get("args"), Mapping) and "name" in edited
        case "respond":
            return isinstance(one.get("message"), str)
    return isinstance(one.get("type"), str)


def _refused(question: Mapping[str, Any], answer: Any) -> AnswerError:
    shown = json.dumps(answer, ensure_ascii=False, default=str)[:SHOWN_CHARS]
    return AnswerError(
        f"{shown} cannot be used for the question {_short(question)}. Expected: {expected_text(question)}"
    )


def _short(question: Mapping[str, Any]) -> str:
    return json.dumps(" ".join(str(question.get("text", "")).split())[:120], ensure_ascii=False)


def _actions(requests: Sequence[Any], configs: Any) -> list[Json]:
    reviewed = [c for c in configs if isinstance(c, Mapping)] if isinstance(configs, list) else []
    allowed = {c.get("action_name"): c.get("allowed_decisions") for c in reviewed}
    names = [str(r.get("name") or r.get("action") or "") if isinstance(r, Mapping) else str(r) for r in requests]
    return [{"name": name, "allowed": [str(one) for one in allowed.get(name) or ()]} for name in names]


def _responses(value: Any) -> list[str]:
    one = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    config = one.get("config") if isinstance(one, Mapping) and "action_request" in one else None
    return [name for key, name in RESPONSES.items() if config.get(key)] if isinstance(config, Mapping) else []


def _types_in(schema: Any) -> set[str]:
    """The decisions that a schema lists, as the constants of its `type` properties."""
    if isinstance(schema, list):
        return set().union(*(_types_in(one) for one in schema)) if schema else set()
    if not isinstance(schema, Mapping):
        return set()
    tagged = (schema.get("properties") or {}).get("type")
    own = {str(tagged["const"])} if isinstance(tagged, Mapping) and "const" in tagged else set()
    parts = [*(schema.get("$defs") or {}).values(), *(schema.get("oneOf") or ()), *(schema.get("anyOf") or ())]
    return own.union(*(_types_in(one) for one in parts))


def _example(allowed: Sequence[str]) -> Json:
    kind = allowed[0] if allowed else "approve"
    more: dict[str, Json] = {
        "edit": {"edited_action": {"name": "NAME", "args": {}}},
        "respond": {"message": "TEXT"},
    }
    return {"type": kind, **more.get(kind, {})}
