"""The runs of a thread one after the other, also those that are made later: what readers of a whole thread follow."""

import asyncio
from collections.abc import AsyncGenerator

from agent_runner.app.server.agent_server.runs.run_view import has_ended
from agent_runner.app.server.context import ServerContext
from agent_runner.status.phases import Step
from agent_runner.status.store.records import Execution

LOOK_EVERY_S = 0.4
MOST_RUNS = 1000


async def runs_of_thread(ctx: ServerContext, session_id: str, after: int) -> AsyncGenerator[Execution | None, None]:
    """Each run that begins after the execution with this handle, in their order; None while there is no other one.

    Never ends. A run that waits for its time is not waited for."""
    seen: set[int] = set()
    while True:
        found = await ctx.store.runs_of_session(session_id, limit=MOST_RUNS)
        mine = sorted((one for one in found if one.handle > after and one.handle not in seen), key=lambda e: e.handle)
        ready = next((one for one in mine if has_ended(one) or one.step is not Step.WAITING), None)
        if ready is not None:
            seen.add(ready.handle)
            yield ready
            continue
        yield None
        await asyncio.sleep(LOOK_EVERY_S)
