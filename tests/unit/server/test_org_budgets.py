"""A budget of an org at the server's edges: the refusal, what is used, the metric."""

from pathlib import Path

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.runners.runner_requests import outcome_of
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.server.conftest import created, http_client, settings_of
from tests.unit.server.identity import key
from tests.unit.server.test_create import assert_problem

BUDGETS = """[{"org": "acme", "window": "day", "executions": 1},
              {"org": "*", "window": "hour", "tokens": 1000, "cost": 2, "currency": "EUR", "reached": "wait"}]"""


@pytest.fixture
def own_settings(tmp_path: Path, redis_url: str) -> Settings:
    return settings_of(tmp_path, redis_url).model_copy(update={"org_budgets": BUDGETS})


async def test_a_spent_budget_is_told(server: RunningServer, http: httpx.AsyncClient) -> None:
    """429 with what is used and when there is room again; no session is left behind; the use is the org's to see."""
    async with http_client(server, key=await key(server, "execute", org="acme")) as client:
        await created(client)
        sessions = (await client.get("/v1/sessions")).json()["total"]
        refused = await client.post("/v1/executions", json={"message": "one more"})
        problem = assert_problem(refused, 429, "ORG_BUDGET_SPENT")
        assert "1 of 1 (executions)" in problem["detail"]
        assert "room again at" in problem["next_step"]
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        assert (await client.get("/v1/sessions")).json()["total"] == sessions
        (mine,) = (await client.get("/v1/budgets")).json()["budgets"]
    assert (mine["org"], mine["spent"], mine["used"], mine["limits"]) == (
        "acme", "executions", {"executions": 1.0}, {"executions": 1.0},
    )  # fmt: skip
    await created(http)
    every = (await http.get("/v1/budgets")).json()["budgets"]
    assert {(one["org"], one["window"], one["reached"]) for one in every} == {
        ("acme", "day", "refuse"), ("local", "hour", "wait"),
    }  # fmt: skip
    scraped = (await http.get("/metrics")).text
    assert 'agent_runner_org_budget_used{measure="executions",org="acme",window="day"} 1.0' in scraped
    assert 'agent_runner_org_budget_limit{measure="cost:EUR",org="local",window="hour"} 2.0' in scraped


def test_what_a_worker_reports_is_what_its_org_used() -> None:
    """The tokens of all models, and costs by currency; a cost without one is none."""
    told = [
        pb.ModelTokens(model="a", input_tokens=5, output_tokens=2, cost=0.25, currency="USD"),
        pb.ModelTokens(model="b", input_tokens=10, output_tokens=-3, cost=0.5, currency="USD"),
        pb.ModelTokens(model="c", input_tokens=1, cost=7.0),
    ]
    outcome = outcome_of(pb.SettleRequest(phase=int(Phase.COMPLETED), tokens=told))
    assert outcome.used == {"tokens": 18.0, "cost:USD": 0.75}
