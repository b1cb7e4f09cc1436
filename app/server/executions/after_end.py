"""The work after an execution's end: readers wake, and what comes next is published: of its session, or of any org."""

from agent_runner.app.server.context import ServerContext
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import Settled


def follow_up(ctx: ServerContext, settled: Settled) -> None:
    """Call it after a write that may have ended an execution."""
    if settled.execution is not None:
        ctx.grown(settled.execution.id, settled.execution.last_seq)
    if settled.promoted or ctx.settings.turns.on:
        publish_due(ctx)


def after_end(ctx: ServerContext, execution: Execution) -> None:
    """As `follow_up`, when it is not known whether another execution waits for the session."""
    ctx.wakeups.notify(execution.id)
    publish_due(ctx)


def publish_due(ctx: ServerContext) -> None:
    """Publish what has its turn, and every due row, now: instead of at the next round of the resender. Each row is
    taken by one server."""
    ctx.soon(ctx.dispatcher.resend_due())
