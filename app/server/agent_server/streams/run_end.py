"""How a run ended, as this API tells it: the last values, the open interrupts, the error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.status.failures import Code
from agent_runner.status.log.stream.stream_parts import STREAM_END
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Execution

LAST_ROWS = 60
"""The end of the graph is told among the last rows of a log."""
SHOWN_ERRORS = frozenset(
    {
        *("ValueError", "TypeError", "KeyError", "AttributeError", "RuntimeError", "RecursionError", "TimeoutError"),
        *("InvalidUpdateError", "EmptyInputError", "GraphRecursionError", "HTTPException"),
        # Ours, of which the request or its thread is the reason: a message of no known role, a name in `configurable`
        # that the graph does not take, a state that is gone or that another run has changed.
        *("GraphInputError", "RunContextError", "MemoryGone", "HeadMovedError"),
    }
)
"""The texts of these errors are shown to clients of this API, as LangGraph's server does. All others are shown by
`/v1/executions` only."""
HIDDEN_TEXT = "An internal error occurred"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnd:
    """`values` is None if the graph made no step. `error`: None unless the run failed."""

    values: Any = None
    interrupts: list[Json] = field(default_factory=list)
    error: Json | None = None

    def answer(self) -> Any:
        """What `wait` and `join` answer."""
        if self.error is not None:
            return {"__error__": {name: self.error[name] for name in ("error", "message")}}
        if not self.interrupts:
            return {} if self.values is None else self.values
        shown = self.values if isinstance(self.values, dict) else {}
        return {**shown, "__interrupt__": self.interrupts}


async def run_end(ctx: ServerContext, execution: Execution) -> RunEnd:
    """Of an execution that has ended."""
    rows = await ctx.store.read_log(execution.id, max(0, execution.last_seq - LAST_ROWS), LAST_ROWS + 1)
    told: Json = next((row.payload for row in reversed(rows) if row.kind == STREAM_END), {})
    failure: Json = next(
        (row.payload for row in reversed(rows) if row.kind == "message" and row.payload.get("id") == "failure"), {}
    )
    failed = execution.phase is Phase.FAILED
    return RunEnd(
        values=told.get("values"),
        interrupts=list(told.get("interrupts") or ()),
        error=error_of(execution, told.get("error"), failure) if failed else None,
    )


def error_of(execution: Execution, raised: Mapping[str, Any] | None, failure: Mapping[str, Any]) -> Json:
    """The data of an `error` event. `raised`: the exception of the graph, if that is the reason."""
    code, beside = execution.error_code, failure.get("metadata") or {}
    told = {"error": name_of(code), "message": str(failure.get("content") or HIDDEN_TEXT)}
    if raised:
        name = str(raised.get("error"))
        told = {"error": name, "message": str(raised.get("message")) if name in SHOWN_ERRORS else HIDDEN_TEXT}
    next_step = str(beside.get("next_step") or "")
    return {
        **told,
        "code": code,
        "next_step": f"{next_step} GET /v1/executions/{execution.id} shows all that is known.".strip(),
        "execution_id": execution.id,
    }


def name_of(code: str) -> str:
    """The name of a failure in the form of an exception's name: `WorkerLost`."""
    names = {one.value: one.name for one in Code}
    return "".join(part.capitalize() for part in names.get(code, "SYSTEM").split("_"))
