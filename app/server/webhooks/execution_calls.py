"""The body of a webhook's call about an execution: small, without content but the questions, without secrets."""

import time
from collections.abc import Mapping
from typing import Any

from agent_runner.app.server.answers.answer_service import issued
from agent_runner.app.server.context import ServerContext
from agent_runner.status.log.log import State, rfc3339
from agent_runner.status.phases import Phase
from agent_runner.status.questions import expected_text
from agent_runner.status.requests.webhooks import QUESTION, START, Webhook
from agent_runner.status.store.records import Execution
from agent_runner.status.store.turns.webhook_calls import WebhookCall

TEXT_CHARS, MOST_QUESTIONS = 2000, 20
Json = dict[str, Any]


async def execution_told(ctx: ServerContext, call: WebhookCall, hook: Webhook) -> Json:
    """`at`: when it happened; `sent_at`: of this try. A try has tokens of its own: only their digests are kept."""
    told: Json = {
        "delivery_id": call.id,
        "event": call.event,
        "at": rfc3339(call.at),
        "sent_at": rfc3339(time.time()),
        "try": call.tries,
        "execution": _facts(call.execution),
    }
    if call.event == START:
        return told | {"phase": Phase.IN_PROGRESS.wire_name}
    found = await ctx.store.state(call.execution.id)
    execution, state = found or (call.execution, State.empty())
    told |= {"phase": execution.phase.wire_name, "waiting_for_input": bool(execution.waiting)}
    if execution.error_code:
        failure = state.messages.get("failure", {}).get("metadata") or {}
        told |= {
            "code": execution.error_code,
            "reason": state.error[:TEXT_CHARS],
            "next_step": str(failure.get("next_step") or "")[:TEXT_CHARS],
        }
    if call.event == QUESTION:
        asked = list(state.questions.values())[:MOST_QUESTIONS]
        told["questions"] = [await _question(ctx, execution, one, hook) for one in asked]
    return told


def _facts(execution: Execution) -> Json:
    labels = execution.spec.get("metadata", {}).get("labels")
    names = ("id", "name", "org", "session_id", "agent_id", "graph", "redriven_from")
    shown = {name: value for name in names if (value := getattr(execution, name))}
    shown |= {"attempt": execution.attempt, "created_at": rfc3339(execution.created_at)}
    return shown | {"url": f"/v1/executions/{execution.id}"} | ({"labels": labels} if labels else {})


async def _question(ctx: ServerContext, execution: Execution, question: Mapping[str, Any], hook: Webhook) -> Json:
    shown: Json = {
        "id": question["id"],
        "text": str(question.get("text") or "")[:TEXT_CHARS],
        "node": question.get("node", ""),
        "expected": expected_text(question)[:TEXT_CHARS],
    }
    if hook.answer_tokens and execution.waiting:
        made = await issued(ctx.store, execution, question, ctx.settings.answer_token_s)
        its = {"token": made.token.text, "url": made.token.url, "expires_at": rfc3339(made.expires_at)}
        shown["answer"] = its
    return shown
