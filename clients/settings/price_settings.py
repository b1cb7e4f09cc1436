"""Settings of models, besides those that choose the first one: what tokens cost, and which models stand in."""

from pydantic import field_validator

from agent_runner.clients.models.prices import Prices
from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.mcp_settings import McpSettings
from agent_runner.status.requests.model_order import names_of


class PriceSettings(McpSettings):
    prices: str = setting(
        "AGENT_RUNNER_PRICES",
        default="",
        about="workers: what a million tokens cost by model, as JSON or a file of it; no cost is told without",
        shown="none",
    )

    @field_validator("prices", mode="after")
    @classmethod
    def _readable_prices(cls, value: str) -> str:
        Prices(value)
        return value


class OrderSettings(PriceSettings):
    fallback_models: str = setting(
        "AGENT_RUNNER_FALLBACK_MODELS",
        default="",
        about="models that stand in for one that gives no answer, in order: a,b; agents may name others",
        shown="none",
    )

    @field_validator("fallback_models")
    @classmethod
    def _names(cls, given: str) -> str:
        names_of(given)
        return given
