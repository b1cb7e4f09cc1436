"""A run as this API asks for it, as the draft of an execution: from here on it is made as all others are."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.agent_server.assistants.assistant_service import Target
from agent_runner.app.server.agent_server.refusals import unprocessable
from agent_runner.app.server.agent_server.runs.run_bodies import RunCreate
from agent_runner.app.server.agent_server.uuids import thread_uuid
from agent_runner.app.server.executions.drafts.content import Taken, input_content
from agent_runner.app.server.executions.drafts.draft import Draft
from agent_runner.app.server.executions.drafts.input_rows import input_rows
from agent_runner.app.server.executions.drafts.run_config import OURS, put_annotations
from agent_runner.app.server.executions.view import API_VERSION
from agent_runner.app.server.problems import invalid
from agent_runner.status.requests import fair_turns
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.run_request import EVERY_NODE, MESSAGES, RunRequest
from agent_runner.status.requests.webhooks import END, Webhook
from agent_runner.status.store.registry.assistants import Assistant
from agent_runner.status.store.registry.threads import Thread

RUN, PROTOCOL = "agent_server_run", "protocol"
"""Where an execution keeps what this API shows of a run besides its input."""
Json = dict[str, Any]


def draft_of_run(
    asked: RunCreate,
    assistant: Assistant,
    target: Target,
    thread: Thread,
    *,
    keeps_stream: bool,
    temporary: bool,
    protocol: bool = False,
) -> Draft:
    """Raises INVALID_ARGUMENT, UNPROCESSABLE and UNIMPLEMENTED. `keeps_stream`: somebody may read its stream."""
    _check(asked)
    taken = Taken()
    command = asked.command.model_dump(exclude_unset=True) if asked.command else None
    given = None if command is not None else input_content(asked.input, taken)
    execution = AgentExecution(api_version=API_VERSION, kind="AgentExecution")
    execution.metadata.org = thread.org
    execution.spec.session_id = thread.session_id
    shown = command if given is None and command else given
    execution.spec.message = input_rows(shown, taken.attachments).text if given is not None else _dumped(shown)
    metadata = metadata_of(asked, assistant, thread)
    config, checkpoint_id = config_of(asked, assistant, metadata)
    context = context_of(asked, assistant) or None
    told = {"context": context, "config": config or None, "priority": metadata.get(fair_turns.ANNOTATION)}
    put_annotations(execution.metadata.annotations, told)
    request = RunRequest(
        parts=parts_of(asked.modes) if keeps_stream else (),
        subgraphs=asked.stream_subgraphs,
        command=command,
        checkpoint_id=checkpoint_id,
        interrupt_before=_nodes(asked.interrupt_before),
        interrupt_after=_nodes(asked.interrupt_after),
        durability=durability_of(asked),
        facts={"graph_id": assistant.graph, "assistant_id": assistant.id},
    )
    return Draft(
        execution=execution,
        agent=target.agent,
        graph=target.graph,
        input=given,
        spoken=False,
        attachments=taken.attachments,
        asked=request.to_json(),
        thread_id=thread_uuid(thread.session_id),
        place=thread.made,
        webhook=Webhook(url=asked.webhook, events=(END,), of_run=True) if asked.webhook else None,
        multitask=Multitask(asked.multitask_strategy or "enqueue"),
        after_s=asked.after_seconds or 0.0,
        noted={RUN: _kept(asked, assistant, metadata, temporary=temporary) | ({PROTOCOL: True} if protocol else {})},
    )


def _check(asked: RunCreate) -> None:
    if asked.context and asked.config and asked.config.configurable:
        raise invalid("config.configurable and context: only one of the two can be given", next_step="Use context.")


def parts_of(modes: list[str]) -> tuple[str, ...]:
    """The parts of the graph's stream for these modes: both forms of messages come from the same part."""
    return tuple(dict.fromkeys(MESSAGES if mode == "messages-tuple" else mode for mode in modes))


def config_of(asked: RunCreate, assistant: Assistant, metadata: Json) -> tuple[Json, str]:
    """(the config of the run, the checkpoint that it begins at). Names of the runner's own are left out silently, as
    clients send back what they were shown."""
    own, below = asked.config, dict(assistant.config or {})
    given = (own.configurable if own else None) or {}
    configurable = {**_below(below, asked.context), **given}
    named = asked.checkpoint.checkpoint_id if asked.checkpoint else None
    checkpoint_id = named or asked.checkpoint_id or given.get("checkpoint_id") or ""
    config: Json = {
        "configurable": _without_ours(configurable),
        "metadata": _without_ours(metadata),
        "tags": [*(below.get("tags") or []), *((own.tags if own else None) or [])],
        "recursion_limit": (own.recursion_limit if own else None) or below.get("recursion_limit"),
    }
    return {name: value for name, value in config.items() if value}, str(checkpoint_id)


def context_of(asked: RunCreate, assistant: Assistant) -> Json:
    """The assistant's context below the run's. What an assistant has as context, a run may also name in
    `config.configurable`: they are the same values."""
    context = dict(assistant.context or {})
    given = (asked.config.configurable if asked.config else None) or {}
    if context:
        context |= _without_ours(given)
    return {**context, **(asked.context or {})}


def metadata_of(asked: RunCreate, assistant: Assistant, thread: Thread) -> Json:
    own = (asked.config.metadata if asked.config else None) or {}
    return {**(assistant.metadata or {}), **thread.metadata, **own, **(asked.metadata or {})} | {
        "graph_id": assistant.graph,
        "assistant_id": assistant.id,
    }


def durability_of(asked: RunCreate) -> str:
    return asked.durability or ("exit" if asked.checkpoint_during is False else "")


def shown_webhook(url: str | None) -> str | None:
    """The address without its path and its parameters, which may be secrets."""
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.hostname}/..." if url else None


def _without_ours(given: Mapping[str, Any]) -> Json:
    return {n: v for n, v in given.items() if n not in OURS and not n.startswith(("__", "langgraph_"))}


def _below(config: Mapping[str, Any], context: Mapping[str, Any] | None) -> Json:
    """The assistant's `configurable`, without what the run's context says otherwise."""
    return {name: value for name, value in (config.get("configurable") or {}).items() if name not in (context or {})}


def _nodes(given: str | list[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (EVERY_NODE,) if given == EVERY_NODE else tuple(given)


def _kept(asked: RunCreate, assistant: Assistant, metadata: Json, *, temporary: bool) -> Json:
    """What a run shows of itself besides its input and its command, which are in the log."""
    config = asked.config.model_dump(exclude_unset=True) if asked.config else {}
    return {
        "assistant_id": assistant.id,
        "metadata": metadata,
        "on_disconnect": asked.on_disconnect or "continue",
        "kwargs": {
            "config": config,
            "context": asked.context or {},
            "stream_mode": asked.modes,
            "interrupt_before": asked.interrupt_before,
            "interrupt_after": asked.interrupt_after,
            "webhook": shown_webhook(asked.webhook),
            "feedback_keys": asked.feedback_keys,
            "temporary": temporary,
            "subgraphs": asked.stream_subgraphs,
            "resumable": asked.stream_resumable,
            "checkpoint_during": durability_of(asked) != "exit",
            "durability": durability_of(asked) or "async",
        },
    }


def _dumped(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except ValueError:
        raise unprocessable("the input is not JSON") from None
