"""Takes the exit reports that supervisors left in Redis because they could not send them over HTTP."""

from contextlib import suppress

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.runners.failure_reports import ExitReport, Reports
from agent_runner.clients.backend.exit_reports import take
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.errors import StoreUnavailable

log = event_logger(__name__)


class LeftReports(Background):
    """`start()`, `stop()`. Looks once per sweep interval. Without Redis these reports come later, nothing else."""

    NAME = "the look for exit reports in Redis"
    LAST_ROUND_S = None  # a cancel in the middle of a call would lose the reports that it has taken

    def __init__(self, settings: Settings, reports: Reports) -> None:
        super().__init__(settings.sweep_interval_s)
        self._redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2)
        self._queues = (settings.runner_queue, settings.orchestrator_queue)
        self._reports = reports

    async def stop(self) -> None:
        await super().stop()
        with suppress(RedisError, OSError):
            await self._redis.aclose()

    async def round(self) -> None:
        try:
            for queue in self._queues:
                for given in await take(self._redis, queue):
                    await self._apply(given)
        except (RedisError, OSError) as error:
            log.debug("exit_report.look_failed", error=error)

    async def _apply(self, given: object) -> None:
        try:
            ended = await self._reports.exit(ExitReport.model_validate(given), late=True)
            log.info("exit_report.applied", executions=len(ended))
        except ValidationError as error:
            log.warning("exit_report.invalid", error=error)
        except StoreUnavailable as error:
            log.error("exit_report.lost", error=error)
