"""What follows an end: readers wake, and whatever may be published now is (the session's next execution)."""

from agent_runner.app.server.context import ServerContext
from agent_runner.status.store.records import Execution, Settled


def follow_up(ctx: ServerContext, settled: Settled) -> None:
    """After a write that may have ended an execution."""
    if settled.execution is not None:
        ctx.wakeups.notify(settled.execution.id)
    if settled.promoted:
        publish_due(ctx)


def after_end(ctx: ServerContext, execution: Execution) -> None:
    """As `follow_up`, where it is not known whether somebody waits for the session."""
    ctx.wakeups.notify(execution.id)
    publish_due(ctx)


def publish_due(ctx: ServerContext) -> None:
    """Publish every row whose time has come, now instead of at the next sweep. One server wins each row."""
    ctx.soon(ctx.dispatcher.resend_due())
