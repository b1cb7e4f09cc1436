"""Calls the webhooks of runs that have ended: signed, tried again, never to an address that may not be called."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx

from agent_runner.app.server.agent_server.offsets import iso
from agent_runner.app.server.agent_server.runs.run_drafts import RUN
from agent_runner.app.server.agent_server.runs.run_view import run_json
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.resources.sealing import SealBroken
from agent_runner.clients.web.webhook_address import WebhookPolicy, WebhookRefused
from agent_runner.status.event_logger import event_logger
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.turns.webhook_calls import WebhookCall

log = event_logger(__name__)
EVERY_S, AT_ONCE = 0.5, 20


class WebhookSender(Background):
    NAME = "calling webhooks"

    def __init__(self, ctx: ServerContext) -> None:
        super().__init__(EVERY_S)
        self._ctx = ctx

    async def round(self) -> None:
        while calls := await self._ctx.store.take_webhook_calls(AT_ONCE):
            await asyncio.gather(*(self._call(one) for one in calls))

    async def _call(self, call: WebhookCall) -> None:
        settings = self._ctx.settings
        ok, why = False, ""
        try:
            url = self._ctx.sealing.open_env(call.sealed)["url"].value
            policy = WebhookPolicy.of(settings.graphs, private=settings.webhook_private)
            body = json.dumps(await self._body(call), ensure_ascii=False).encode()
            await policy.call(url, body, settings.webhook_secret.get_secret_value())
            ok = True
        except StoreUnavailable:
            raise
        except (WebhookRefused, SealBroken, httpx.HTTPError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        if not ok:
            log.warning("webhook.failed", execution_id=call.execution.id, tries=call.tries, error=why)
        await self._ctx.store.webhook_called(call.execution.id, ok=ok, tries=call.tries)

    async def _body(self, call: WebhookCall) -> dict[str, Any]:
        run = call.execution
        first = await self._ctx.store.read_log(run.id, 0, 1)
        end = await run_end(self._ctx, run)
        temporary = ((run.spec.get(RUN) or {}).get("kwargs") or {}).get("temporary")
        told = run_json(run, first[0].payload if first else {})
        told |= {
            "values": None if temporary else end.values,
            "run_started_at": iso(run.claimed_at),
            "run_ended_at": iso(run.completed_at),
            "webhook_sent_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        return told | ({"error": end.error} if end.error else {})
