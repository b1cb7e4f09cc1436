"""The setting for what tokens cost."""

from pydantic import field_validator

from agent_runner.clients.models.prices import Prices
from agent_runner.clients.settings.environment import setting
from agent_runner.clients.settings.mcp_settings import McpSettings


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
