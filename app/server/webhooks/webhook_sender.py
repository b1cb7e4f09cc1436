"""Calls webhooks: signed, tried again, never at an address that may not be called."""

import asyncio
import json
from typing import Any

import httpx

from agent_runner.app.server.agent_server.runs.run_calls import run_told
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.maintenance.periodic import Background
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.resources.sealing import SealBroken
from agent_runner.app.server.webhooks.execution_calls import execution_told
from agent_runner.app.server.webhooks.webhook_request import opened_webhook
from agent_runner.clients.web.webhook_address import WebhookRefused
from agent_runner.status.event_logger import event_logger
from agent_runner.status.requests.webhooks import Webhook
from agent_runner.status.store.errors import StoreUnavailable
from agent_runner.status.store.turns.webhook_calls import WebhookCall

log = event_logger(__name__)
EVERY_S, AT_ONCE = 0.5, 20
DELIVERY, EVENT = "X-Agent-Runner-Delivery", "X-Agent-Runner-Event"


class WebhookSender(Background):
    NAME = "calling webhooks"

    def __init__(self, ctx: ServerContext) -> None:
        super().__init__(EVERY_S)
        self._ctx = ctx

    async def round(self) -> None:
        while calls := await self._ctx.store.take_webhook_calls(AT_ONCE):
            await asyncio.gather(*(self._call(one) for one in calls))

    async def _call(self, call: WebhookCall) -> None:
        ok, why = False, ""
        try:
            hook, policy = opened_webhook(self._ctx, call.sealed)
            body = json.dumps(await self._body(call, hook), ensure_ascii=False).encode()
            secret = hook.secret or self._ctx.settings.webhook_secret.get_secret_value()
            headers = {**hook.headers, DELIVERY: call.id, EVENT: call.event}
            await policy.call(hook.url, body, secret, headers=headers)
            ok = True
        except StoreUnavailable:
            raise
        except (WebhookRefused, SealBroken, Problem, httpx.HTTPError, OSError) as error:
            why = f"{type(error).__name__}: {error}"
        outcome = await self._ctx.store.webhook_called(call, ok=ok)
        self._ctx.counted.webhooks.labels(call.event, outcome or "failed").inc()
        if not ok:
            log.warning("webhook.failed", execution_id=call.execution.id, call=call.event, tries=call.tries, error=why)

    async def _body(self, call: WebhookCall, hook: Webhook) -> dict[str, Any]:
        if hook.of_run:
            return await run_told(self._ctx, call.execution)
        return await execution_told(self._ctx, call, hook)
