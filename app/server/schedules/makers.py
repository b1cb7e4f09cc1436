"""Who makes the executions of a schedule, by the API that it was made with."""

from collections.abc import Mapping

from agent_runner.app.server.agent_server.items.cron_runs import CronRuns
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.edge_services import Edges
from agent_runner.app.server.schedules.firer import Firer
from agent_runner.app.server.schedules.schedule_clock import ScheduleClock
from agent_runner.app.server.schedules.schedule_requests import Maker, ShortForms
from agent_runner.status.schedules.schedule import AGENT_SERVER, NATIVE


def makers_of(edges: Edges) -> Mapping[str, Maker]:
    return {NATIVE: ShortForms(edges), AGENT_SERVER: CronRuns(edges)}


def schedule_clock(ctx: ServerContext) -> ScheduleClock:
    return ScheduleClock(ctx, Firer(ctx, makers_of(Edges.of(ctx))), ctx.settings.sweep_interval_s)
