"""The request of a caller, the contract's AgentExecution or the short form, as a `Draft`.

In the contract's form our additions are annotations: `agent-runner/graph`, `agent-runner/timeouts` (a JSON object with
the short form's names), `agent-runner/input` (JSON) and `agent-runner/answers` (a JSON object).

An execution always has a first message. If the user sent only JSON, that message is the JSON as text, and the agent
never sees it (`spoken` is false).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.contract.json_text import read_json
from agent_runner.app.server.contract.message_json import message_of
from agent_runner.app.server.executions.drafts.content import (
    Content,
    Taken,
    answer_contents,
    input_content,
    message_content,
)
from agent_runner.app.server.executions.drafts.input_rows import input_rows
from agent_runner.app.server.executions.drafts.run_config import check_annotations, put_annotations
from agent_runner.app.server.executions.view import API_VERSION, GRAPH_ANNOTATION
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.resources.sealing import EnvValue
from agent_runner.app.server.webhooks.webhook_request import Kept, webhook_of
from agent_runner.status.attachments import Attachment
from agent_runner.status.log.log import State
from agent_runner.status.media import Json
from agent_runner.status.requests import webhooks
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.webhooks import Webhook
from agent_runner.status.schedules.schedule import Mark
from agent_runner.status.store.records import Execution, Resource
from agent_runner.status.timeouts import Timeouts

GRAPH, TIMEOUTS, INPUT = GRAPH_ANNOTATION, "agent-runner/timeouts", "agent-runner/input"
ANSWERS = "agent-runner/answers"
CONTRACT_FIELDS = frozenset({"api_version", "apiVersion", "kind", "metadata", "spec", "status"})
SHORT_FIELDS = frozenset(
    {
        *("message", "input", "answers", "agent", "session_id", "graph", "model", "env", "timeouts", "org"),
        *("context", "config", "retry", "priority", "fallback_models", "webhook"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    execution: Execution
    known: bool
    """The idempotency key was used before: this is the execution of the first call."""
    state: State | None = None
    """Its content as it was created; None if it has to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The rules are applied to `execution`. `timeouts`: overrides, or all timeouts of a redriven execution."""

    execution: AgentExecution
    id: str = ""
    """Its id, if its caller follows it already; else it gets one."""
    agent: str = ""
    """Id or slug."""
    default_agent: bool = False
    """Without session, agent and graph the built-in agent is used."""
    graph: str = ""
    input: Any = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    """The answers, by the ids of the session's open questions."""
    spoken: bool = True
    """The message is the user's, and not the text of `input` or `answers`."""
    layout: Sequence[Json] = ()
    """The places of the blocks, if the message was a list of blocks."""
    attachments: Sequence[Attachment] = ()
    asked: Mapping[str, Any] | None = None
    """What a client of LangGraph's API asks of the run besides its input (`RunRequest.to_json`). Such a run may use
    another graph than the runs of its session before."""
    thread_id: str = ""
    """The id of its session's thread in memory, if the session has none yet."""
    noted: Mapping[str, Any] = field(default_factory=dict)
    """What an edge keeps with the execution, beside the contract's document."""
    webhook: Webhook | None = None
    kept_webhook: Kept | None = None
    """That of the execution that it answers, as that kept it."""
    multitask: Multitask = Multitask.ENQUEUE
    after_s: float = 0.0
    """It may begin only after this many seconds."""
    timeouts: Mapping[str, float] | Timeouts = field(default_factory=dict)
    idempotency_key: str = ""
    redriven_from: str = ""
    base_checkpoint_id: str | None = None
    resume_checkpoint_id: str = ""
    fired: Mark | None = None
    """It is the firing of a schedule."""
    answer_digest: str = ""
    """It answers by the token with this digest."""
    place: tuple[Resource, Resource] | None = None
    """Its session and that one's agent, if the session was made for it a moment ago."""
    shares_session: bool = False
    """A session that is made for it is that of the schedule's later firings too."""


def draft_of_json(body: Any, *, idempotency_key: str = "") -> Draft:
    """Reads either form; the fields show which one it is. Both spellings of the contract's names are accepted."""
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object: an AgentExecution or the short form with 'message'")
    if not CONTRACT_FIELDS & body.keys():
        return _short(body, idempotency_key)
    taken, said = Taken(), None
    match body:
        case {"spec": {"message": list(blocks)} as spec}:
            said = message_content(blocks, taken, "spec.message")
            body = {**body, "spec": {**spec, "message": said.text}}
    draft = draft_of_contract(message_of(body, AgentExecution()), idempotency_key=idempotency_key, taken=taken)
    return replace(draft, layout=said.layout) if said else draft


def draft_of_contract(execution: AgentExecution, *, idempotency_key: str = "", taken: Taken | None = None) -> Draft:
    """`taken`: the attachments that were taken out of the message, which is a text here."""
    taken = taken or Taken()
    annotations = execution.metadata.annotations
    draft = AgentExecution()
    draft.CopyFrom(execution)
    draft.ClearField("status")  # a caller never writes it
    check_annotations(annotations)
    hook = _json_in(annotations, webhooks.ANNOTATION)
    draft.metadata.annotations.pop(webhooks.ANNOTATION, None)  # its address may be a secret
    given, answers = input_content(_json_in(annotations, INPUT), taken), _json_in(annotations, ANSWERS)
    words = draft.spec.message
    told = answer_contents(_answers(answers), taken)
    if given is not None or answers is not None:
        draft.spec.message = words or _text_of(given, told, taken.attachments)
        for name in (INPUT, ANSWERS):  # they are content, which is kept in the log
            draft.metadata.annotations.pop(name, None)
    return Draft(
        execution=draft,
        agent=execution.spec.agent_id,
        graph=annotations.get(GRAPH, ""),
        input=given,
        answers=told,
        spoken=bool(words) or (given is None and answers is None),
        attachments=taken.attachments,
        webhook=None if hook is None else webhook_of(hook, f"metadata.annotations[{webhooks.ANNOTATION!r}]"),
        timeouts=_seconds(_json_in(annotations, TIMEOUTS) or {}),
        idempotency_key=idempotency_key,
    )


def _short(body: Mapping[str, Any], idempotency_key: str) -> Draft:
    if unknown := sorted(body.keys() - SHORT_FIELDS):
        raise invalid(f"unknown fields {', '.join(unknown)}; the short form knows {', '.join(sorted(SHORT_FIELDS))}")
    taken = Taken()
    answers = answer_contents(_answers(body.get("answers")), taken)
    said = _content(body.get("message"), taken)
    given = input_content(body.get("input"), taken)
    if "message" not in body and given is None and not answers:
        raise invalid(
            "give 'message' (text, or a list of content blocks), 'input' (JSON), both, or 'answers' (an object by the"
            " ids of questions)"
        )
    if answers and ("message" in body or given is not None):
        raise invalid("answers: they go alone, without 'message' and 'input'")
    execution = AgentExecution(api_version=API_VERSION, kind="AgentExecution")
    execution.metadata.org = _text(body, "org")
    execution.spec.session_id = _text(body, "session_id")
    execution.spec.message = said.text if "message" in body else _text_of(given, answers, taken.attachments)
    if model := _text(body, "model"):
        execution.spec.execution_config.model_name = model
    put_secrets(execution, env_of(body))
    put_annotations(execution.metadata.annotations, body)
    return Draft(
        execution=execution,
        agent=_text(body, "agent"),
        default_agent=True,
        graph=_text(body, "graph"),
        input=given,
        answers=answers,
        spoken="message" in body,
        layout=said.layout,
        attachments=taken.attachments,
        webhook=None if body.get("webhook") is None else webhook_of(body["webhook"]),
        timeouts=_seconds(_object(body, "timeouts")),
        idempotency_key=idempotency_key,
    )


def _content(message: Any, taken: Taken) -> Content:
    if isinstance(message, list):
        return message_content(message, taken)
    if message is not None and not isinstance(message, str):
        raise invalid("message: must be a string or a list of content blocks")
    return Content(text=_text({"message": message}, "message"))


def spoken(first: Mapping[str, Any]) -> bool:
    """Whether the first row of a log holds the user's own text, not only the JSON that the user sent, as text."""
    return bool(first.get("spoken", "input" not in (first.get("metadata") or {})))


def _text_of(given: Any, answers: Mapping[str, Any], attachments: Sequence[Attachment]) -> str:
    """The text if the user sent no message: the user's last message in the input, else the JSON."""
    return _dumped(answers) if answers else input_rows(given, attachments).text


def _answers(given: Any) -> dict[str, Any]:
    if given is not None and (not isinstance(given, dict) or not given):
        raise invalid('answers: must be an object of answers by the ids of questions, {"ID": JSON}')
    return given or {}


def env_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The short form's `env`."""
    env = _object(body, "env")
    for name, value in env.items():
        if not isinstance(value, str):
            raise invalid(f"env.{name}: must be a string")
    return env


def redrive_of(body: Any) -> tuple[dict[str, str], str]:
    """`env` and `from` of the body of a redrive, both optional. Raises INVALID_ARGUMENT."""
    if not isinstance(body, dict) or body.keys() - {"env", "from"}:
        raise invalid('the body must be {"env": {"NAME": "value"}, "from": "failed_step" or "start"}, or nothing')
    return env_of(body), _text(body, "from")


def put_secrets(execution: AgentExecution, env: Mapping[str, str]) -> None:
    for name, value in env.items():
        execution.spec.runtime_env[name].value = value
        execution.spec.runtime_env[name].is_secret = True


def env_values(execution: AgentExecution) -> dict[str, EnvValue]:
    values = execution.spec.runtime_env.items()
    return {name: EnvValue(value=value.value, is_secret=value.is_secret) for name, value in values}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name}: must be a string")
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise invalid(f"{name}: is not valid Unicode text") from None
    return value or ""


def _object(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid(f"{name}: must be an object")
    for key in value or {}:
        _text({name: key}, name)
        _text({name: (value or {})[key]}, name) if isinstance((value or {})[key], str) else None
    return value or {}


def _seconds(given: Any) -> dict[str, float]:
    if not isinstance(given, dict):
        raise invalid("timeouts: must be an object of seconds")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise invalid(f"timeouts.{name}: must be a number of seconds")
    try:
        return {name: float(value) for name, value in given.items()}
    except OverflowError:
        raise invalid("timeouts: must be finite numbers of seconds") from None


def _json_in(annotations: Mapping[str, str], name: str) -> Any:
    text = annotations.get(name, "")
    return read_json(text.encode(), f"metadata.annotations[{name!r}]") if text else None


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
