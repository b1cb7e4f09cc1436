"""The body of a webhook's call about a run of the Agent Server API: the run with its values, as LangGraph's has it."""

from datetime import UTC, datetime
from typing import Any

from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.app.server.agent_server.runs.run_drafts import RUN
from agent_runner.app.server.agent_server.runs.run_view import run_json
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.context import ServerContext
from agent_runner.status.store.records import Execution


async def run_told(ctx: ServerContext, run: Execution) -> dict[str, Any]:
    first = await ctx.store.read_log(run.id, 0, 1)
    end = await run_end(ctx, run)
    temporary = ((run.spec.get(RUN) or {}).get("kwargs") or {}).get("temporary")
    told = run_json(run, first[0].payload if first else {})
    told |= {
        "values": None if temporary else end.values,
        "run_started_at": iso(run.claimed_at),
        "run_ended_at": iso(run.completed_at),
        "webhook_sent_at": datetime.now(UTC).isoformat(timespec="microseconds"),
    }
    return told | ({"error": end.error} if end.error else {})
