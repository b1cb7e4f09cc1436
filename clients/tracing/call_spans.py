"""The spans of one run's model calls, tool calls and sub-agents, with the names that OpenTelemetry has for them.

    chat MODEL           one call of a model: provider, model, tokens, why it ended
    execute_tool TOOL    one call of a tool
    invoke_agent NAME    what a sub-agent did; the agent's own is made by the run

LangChain tells the steps of a run through callbacks. A step that has no span of its own hands down its parent's. Every
text has been through the mask of the run. What was said is left out unless the operator wants it (`content`).
"""

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from agent_runner.clients.engine.current import CurrentRun

AGENT = "lc_agent_name"
"""LangChain's metadata of what runs inside an agent: the agent's name."""
ROLES = {"human": "user", "ai": "assistant"}
PROVIDERS = {"google_genai": "gcp.gen_ai", "google_vertexai": "gcp.vertex_ai", "bedrock": "aws.bedrock"}
MAX_TEXT = 16 << 10
"""Characters of one attribute with content."""


class CallSpans(BaseCallbackHandler):
    run_inline = True
    ignore_retriever = True

    def __init__(self, tracer: trace.Tracer, run: "CurrentRun", *, content: bool) -> None:
        self._tracer, self._run, self._content = tracer, run, content
        self._root = trace.get_current_span()
        self._open: dict[UUID, trace.Span] = {}
        self._around: dict[UUID, tuple[trace.Span, str]] = {}
        """Step: the span that its own steps belong to, and the agent that it runs in."""

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **rest: Any
    ) -> None:
        around, agent = self._above(parent_run_id)
        name = str((rest.get("metadata") or {}).get(AGENT) or "")
        if parent_run_id is None or not name or name == agent:
            self._around[run_id] = around, name or agent
            return
        facts = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}
        self._around[run_id] = self._begin(run_id, around, f"invoke_agent {name}", facts), name

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id, error)

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **rest: Any,
    ) -> None:
        told = rest.get("metadata") or {}
        provider = str(told.get("ls_provider") or "")
        model = str(told.get("ls_model_name") or provider or "model")
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDERS.get(provider, provider) or None,
            "gen_ai.request.model": model,
            "gen_ai.request.temperature": told.get("ls_temperature"),
            "gen_ai.request.max_tokens": told.get("ls_max_tokens"),
        }
        if self._content:
            facts["gen_ai.input.messages"] = self._said(messages[0] if messages else [])
        self._begin(run_id, self._above(parent_run_id)[0], f"chat {model}", facts, SpanKind.CLIENT)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **rest: Any) -> None:
        first = response.generations[0][0] if response.generations and response.generations[0] else None
        message = getattr(first, "message", None)
        span = self._open.get(run_id)
        if span is not None and isinstance(message, AIMessage):
            used, told = message.usage_metadata, message.response_metadata
            ended = told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason")
            facts = {
                "gen_ai.usage.input_tokens": used["input_tokens"] if used else None,
                "gen_ai.usage.output_tokens": used["output_tokens"] if used else None,
                "gen_ai.response.model": told.get("model_name") or told.get("model"),
                "gen_ai.response.id": told.get("id"),
            }
            if self._content:
                facts["gen_ai.output.messages"] = self._said([message])
            self._tell(span, facts)
            if isinstance(ended, str):
                span.set_attribute("gen_ai.response.finish_reasons", [self._run.mask(ended)])
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id, error)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **rest: Any
    ) -> None:
        around, agent = self._above(parent_run_id)
        name = str((serialized or {}).get("name") or rest.get("name") or "tool")
        facts = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": rest.get("tool_call_id"),
            "gen_ai.tool.description": (serialized or {}).get("description") if self._content else None,
            "gen_ai.tool.call.arguments": input_str if self._content else None,
        }
        self._around[run_id] = self._begin(run_id, around, f"execute_tool {name}", facts), agent

    def on_tool_end(self, output: Any, *, run_id: UUID, **rest: Any) -> None:
        span = self._open.get(run_id)
        if span is not None and isinstance(output, ToolMessage):
            self._tell(span, {"gen_ai.tool.call.id": output.tool_call_id})
            if self._content:
                self._tell(span, {"gen_ai.tool.call.result": str(output.content)})
            if output.status == "error":
                span.set_attribute("error.type", "tool_error")
                span.set_status(Status(StatusCode.ERROR))
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id, error)

    def _above(self, run_id: UUID | None) -> tuple[trace.Span, str]:
        return self._around.get(run_id, (self._root, "")) if run_id is not None else (self._root, "")

    def _begin(
        self,
        run_id: UUID,
        around: trace.Span,
        name: str,
        facts: dict[str, Any],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> trace.Span:
        span = self._tracer.start_span(self._run.mask(name), trace.set_span_in_context(around), kind)
        self._tell(span, facts)
        self._open[run_id] = span
        return span

    def _tell(self, span: trace.Span, facts: dict[str, Any]) -> None:
        for name, value in facts.items():
            if isinstance(value, str):
                span.set_attribute(name, self._run.mask(value)[:MAX_TEXT])
            elif isinstance(value, (bool, int, float)):
                span.set_attribute(name, value)

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        self._around.pop(run_id, None)
        span = self._open.pop(run_id, None)
        if span is None:
            return
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR, self._run.mask(str(error))[:MAX_TEXT]))
        span.end()

    def _said(self, messages: list[BaseMessage]) -> str:
        """The messages as OpenTelemetry's JSON has them, masked text by text before they become one."""
        told = []
        for message in messages:
            parts: list[dict[str, Any]] = [{"type": "text", "content": self._run.mask(message.text)}]
            if isinstance(message, ToolMessage):
                parts = [{"type": "tool_call_response", "id": message.tool_call_id, "response": parts[0]["content"]}]
            elif isinstance(message, AIMessage):
                parts += [
                    {"type": "tool_call", "id": call["id"], **self._run.mask.within(_call(call))}
                    for call in message.tool_calls
                ]
            told.append({"role": ROLES.get(message.type, message.type), "parts": parts})
        return json.dumps(told, ensure_ascii=False, default=repr)


def _call(call: Any) -> dict[str, Any]:
    return {"name": call["name"], "arguments": call["args"]}
