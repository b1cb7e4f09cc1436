"""The webhook of an execution: checked when it is asked for, kept sealed, opened to be called."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.problems import invalid
from agent_runner.app.server.resources.sealing import EnvValue, SealBroken
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.web.webhook_address import WebhookPolicy, WebhookRefused
from agent_runner.status.requests.webhooks import Webhook, WebhookError, checked

DEFAULT = b"default"
"""Stands in the row for the server's own webhook, which is looked up when it is called."""
Kept = tuple[bytes, str]
"""What the row keeps: the webhook, sealed, and its events with spaces between."""


def webhook_of(given: Any, where: str = "webhook") -> Webhook:
    """Raises INVALID_ARGUMENT."""
    try:
        return checked(given, where)
    except WebhookError as error:
        raise invalid(str(error)) from None


def policy_of(settings: Settings) -> WebhookPolicy:
    return WebhookPolicy.of(settings.graphs, private=settings.webhook_private)


def check_webhook(settings: Settings, hook: Webhook) -> None:
    """Raises INVALID_ARGUMENT for an address that may not be called."""
    try:
        policy_of(settings).check(hook.url)
    except WebhookRefused as refused:
        raise invalid(f"webhook: {refused}") from None


def kept_webhook(ctx: ServerContext, hook: Webhook | None) -> Kept | None:
    """What the row of a new execution keeps: its own webhook, else the server's, if there is one."""
    if hook is not None:
        values: Mapping[str, str] = {"url": hook.url, "more": hook.to_json()}
        sealed = ctx.sealing.seal_env({name: EnvValue(value=text, is_secret=True) for name, text in values.items()})
        return sealed, " ".join(hook.events)
    if ctx.settings.webhook_url.get_secret_value():
        return DEFAULT, " ".join(ctx.settings.events_of_webhook)
    return None


def opened_webhook(ctx: ServerContext, sealed: bytes) -> tuple[Webhook, WebhookPolicy]:
    """Where to call, and where it may lead. Raises SealBroken; its text is for the log.

    The server's own webhook is the operator's, and may lead anywhere."""
    settings = ctx.settings
    if sealed == DEFAULT:
        url = settings.webhook_url.get_secret_value()
        if not url:
            raise SealBroken("AGENT_RUNNER_WEBHOOK_URL is not set any more")
        hook = Webhook(url=url, answer_tokens=settings.webhook_answer_tokens)
        return hook, replace(policy_of(settings), private=True, https_only=False)
    values = ctx.sealing.open_env(sealed)
    if not values:
        raise SealBroken("its address was removed")
    url = values["url"].value
    more = values.get("more")
    hook = Webhook.from_json(url, more.value) if more else Webhook(url=url, of_run=True)
    return hook, policy_of(settings)
