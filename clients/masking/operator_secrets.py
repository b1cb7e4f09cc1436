"""The operator's own secrets, as text that must never be shown: every run's mask knows them."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import SecretStr

from agent_runner.clients.settings.access_settings import DUMMY_LOCAL_KEY
from agent_runner.clients.settings.service_urls import passwords_in

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

MIN_LENGTH = 8
"""Shorter ones are words that people write: `guest` in every text would become asterisks."""

KEYS_OF_PROVIDERS = ("_API_KEY", "_API_TOKEN", "_SECRET_ACCESS_KEY", "_SESSION_TOKEN")
"""Ends of the variables from which packages of model providers read their keys."""


def operator_secrets(settings: "Settings") -> frozenset[str]:
    """Secret settings, and the passwords in URLs of settings and of proxies."""
    return frozenset(each for each in _all(settings) if len(each) >= MIN_LENGTH and each != DUMMY_LOCAL_KEY)


def _all(settings: "Settings") -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            yield secret
            for part in secret.split(","):  # AGENT_RUNNER_SECRET_KEY may hold several keys
                yield part.strip()
                if name == "otlp_headers":  # NAME=SCHEME VALUE
                    yield from part.partition("=")[2].split()
        elif isinstance(value, str):
            yield from passwords_in(value)
    for name, value in os.environ.items():
        if name.upper().endswith("_PROXY"):
            yield from passwords_in(value)
        elif name.upper().endswith(KEYS_OF_PROVIDERS):
            yield value.strip()
