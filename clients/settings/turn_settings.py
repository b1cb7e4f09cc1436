"""Settings of the turns that orgs take, where caps are set: see `FairTurns`."""

from pydantic import field_validator

from agent_runner.clients.settings.bound_settings import BoundSettings
from agent_runner.clients.settings.environment import setting
from agent_runner.status.requests.fair_turns import MOST_WEIGHT, FairTurns
from agent_runner.status.requests.org_budgets import OrgBudgets, budgets_of


class TurnSettings(BoundSettings):
    queue_published_max: int = setting(
        "AGENT_RUNNER_QUEUE_PUBLISHED_MAX",
        default=0,
        ge=0,
        about="executions of a queue on the broker, orgs take turns for them; 0: any",
    )
    org_published_max: int = setting(
        "AGENT_RUNNER_ORG_PUBLISHED_MAX", default=0, ge=0, about="the same for each org on each queue; 0: any"
    )
    org_running_max: int = setting(
        "AGENT_RUNNER_ORG_RUNNING_MAX", default=0, ge=0, about="executions of an org published or running; 0: any"
    )
    org_weights: str = setting(
        "AGENT_RUNNER_ORG_WEIGHTS",
        default="",
        about=f"turns of orgs, 1 to {MOST_WEIGHT}, as acme=3,labs=2; 1 for others",
    )

    require_worker: bool = setting(
        "AGENT_RUNNER_REQUIRE_WORKER",
        default=False,
        about="a new execution is refused with 503 while no worker of its queue is there",
    )
    org_budgets: str = setting(
        "AGENT_RUNNER_ORG_BUDGETS",
        default="",
        about="what orgs may use in an hour or a day, a JSON list; the same on every server",
        shown="none",
    )

    @field_validator("org_budgets", mode="after")
    @classmethod
    def _budgets_can_be_used(cls, value: str) -> str:
        budgets_of(value)
        return value

    @property
    def budgets(self) -> OrgBudgets:
        return budgets_of(self.org_budgets)

    @field_validator("org_weights", mode="after")
    @classmethod
    def _weights_are_numbers(cls, value: str) -> str:
        _weights(value)
        return value

    @property
    def turns(self) -> FairTurns:
        return FairTurns(
            queue_published=self.queue_published_max,
            org_published=self.org_published_max,
            org_running=self.org_running_max,
            weights=_weights(self.org_weights),
        )


def _weights(text: str) -> dict[str, int]:
    """Raises ValueError."""
    found: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        org, _, weight = (part.strip() for part in entry.rpartition("="))
        if not org or not weight.isdecimal() or not 1 <= int(weight[:9]) <= MOST_WEIGHT:
            raise ValueError(f"must be ORG=WEIGHT with commas between, each weight from 1 to {MOST_WEIGHT}")
        found[org] = int(weight)
    return found
