"""What follows an end: readers wake, and the session's next execution is published."""

import asyncio
from collections.abc import Mapping
from typing import Any

from app.server.context import ServerContext
from status.failures import Code
from status.store.records import Settled


def follow_up(ctx: ServerContext, settled: Settled) -> None:
    """After every write that may have ended an execution."""
    if settled.execution is not None:
        ctx.wakeups.notify(settled.execution.id)
    if settled.promoted:
        ctx.soon(ctx.dispatcher.send_later_if_failing(settled.promoted))


async def fail(
    ctx: ServerContext, execution_id: str, code: Code, facts: Mapping[str, Any], *, after_grace: bool = False
) -> Settled:
    """End an execution from outside. `after_grace` leaves time for a truer reason; a terminal row stays as it is."""
    if after_grace:
        await asyncio.sleep(ctx.settings.worker_lost_grace_s)
    settled = await ctx.store.fail(execution_id, code, facts)
    if settled.accepted:
        follow_up(ctx, settled)
    return settled
