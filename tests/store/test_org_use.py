"""A budget of an org holds over all servers, in its window and no longer; time is moved by the test."""

import asyncio
from collections import Counter

import pytest

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.requests.multitask import Multitask
from agent_runner.status.requests.org_budgets import BudgetsError, OrgBudgets, budgets_of
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.errors import OrgBudgetSpent
from agent_runner.status.store.records import CreateVerdict
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from tests.store.conftest import Clock, Flow

HOUR = 3600.0


def budgets(limit: str, reached: str = "refuse", window: str = "hour") -> OrgBudgets:
    return budgets_of(f'[{{"org": "acme", "window": "{window}", "reached": "{reached}", {limit}}}]')


async def used(store: Store, org: str = "acme") -> dict[str, float]:
    (use,) = await store.org_uses(org=org)
    return dict(use.used)


@pytest.mark.promise("6.06")
async def test_two_servers_never_exceed_it(store: Store, database_url: str, clock: Clock) -> None:
    """Of many who create at once as many are accepted as there is room; other orgs are not held up; in the next window
    there is room again."""
    second = Store.open(database_url, now=clock)
    store.budgets = second.budgets = budgets('"executions": 5')
    flow = Flow(store)
    try:
        calls = [(store, second)[n % 2].create(flow.new(org="acme")) for n in range(16)]
        others = [store.create(flow.new(org="labs")) for _ in range(7)]
        answers = await asyncio.gather(*calls, *others, return_exceptions=True)
    finally:
        await second.close()
    refused = [one for one in answers if isinstance(one, OrgBudgetSpent)]
    assert Counter(map(type, answers))[OrgBudgetSpent] == len(refused) == 11
    spent = refused[0].spent
    assert (spent.org, spent.measure, spent.used, spent.limit) == ("acme", "executions", 5, 5)
    assert (spent.now, spent.free_at % HOUR) == (clock.at, 0)
    assert 0 < spent.free_at - clock.at <= HOUR
    clock.at = spent.free_at - 0.5
    with pytest.raises(OrgBudgetSpent):
        await flow.created(org="acme")
    clock.at = spent.free_at
    await flow.created(org="acme")
    assert await used(store) == {"executions": 1}


async def test_what_is_to_wait_waits_for_its_window(store: Store, flow: Flow, clock: Clock) -> None:
    """Each in the first window that has room for it, so that the next one is not exceeded either."""
    store.budgets = budgets('"executions": 2', "wait")
    began = clock.at // HOUR * HOUR
    made = [await flow.created(org="acme") for _ in range(5)]
    assert [one.not_before for one in made] == [0, 0, began + HOUR, began + HOUR, began + 2 * HOUR]
    clock.at = began + HOUR
    assert await used(store) == {"executions": 2}


async def test_tokens_and_costs_count_once_at_the_end_of_an_attempt(store: Store, flow: Flow, clock: Clock) -> None:
    """A repeated report counts nothing; an attempt with another one after it counts; what is not limited does not."""
    store.budgets = budgets('"tokens": 100, "cost": 1, "currency": "USD"')
    claimed = await flow.claimed(org="acme", retry=RetryPolicy(maximum_attempts=2))
    execution = claimed.execution
    assert execution is not None
    failed = Outcome(
        phase=Phase.FAILED, code=Code.WORKER_SHUTDOWN, used={"tokens": 60.0, "cost:USD": 0.5, "cost:EUR": 9.0}
    )
    for _ in range(2):
        await store.settle(execution.handle, execution.fence, 0, [], "", failed)
    assert await used(store) == {"executions": 1, "tokens": 60, "cost:USD": 0.5}
    other = (await flow.claimed(org="acme")).execution
    assert other is not None
    done = Outcome(phase=Phase.COMPLETED, used={"tokens": 50.0})
    for _ in range(2):
        assert (await store.settle(other.handle, other.fence, 0, [], "", done)).accepted
    assert (await used(store))["tokens"] == 110
    with pytest.raises(OrgBudgetSpent) as refused:
        await flow.created(org="acme")
    assert refused.value.spent.measure == "tokens"


async def test_what_is_not_accepted_is_not_counted(store: Store, flow: Flow) -> None:
    """A known key, a busy session; nothing is kept of a refusal."""
    store.budgets = budgets('"executions": 2')
    first = await flow.created(org="acme", idempotency_key="k")
    assert (await store.create(flow.new(org="acme", idempotency_key="k"))).verdict is CreateVerdict.KNOWN
    busy = flow.new(org="acme", session_id=first.session_id, multitask=Multitask.REJECT)
    assert (await store.create(busy)).verdict is CreateVerdict.SESSION_BUSY
    assert await used(store) == {"executions": 1}
    await flow.created(org="acme")
    assert (await store.create(flow.new(org="acme", idempotency_key="k"))).verdict is CreateVerdict.KNOWN
    with pytest.raises(OrgBudgetSpent):
        await flow.created(org="acme")


async def test_both_windows_hold_and_others_share_a_rule_not_a_budget(store: Store, flow: Flow, clock: Clock) -> None:
    """`*` is a budget for each org that is not named; an org without one has no rows."""
    text = """[{"org": "*", "window": "hour", "executions": 2}, {"org": "*", "window": "day", "executions": 3},
               {"org": "free", "window": "day", "tokens": 5}]"""
    store.budgets = budgets_of(text)
    clock.at = clock.at // 86_400 * 86_400
    for org in ("acme", "labs"):
        for _ in range(2):
            await flow.created(org=org)
    clock.advance(HOUR)
    await flow.created(org="acme")
    with pytest.raises(OrgBudgetSpent) as refused:
        await flow.created(org="acme")
    assert refused.value.spent.window == "day"
    for _ in range(4):
        await flow.created(org="free")
    assert {(use.org, use.budget.window) for use in await store.org_uses(org="")} == {
        *(("acme", one) for one in ("hour", "day")),
        *(("labs", one) for one in ("hour", "day")),
        ("free", "day"),
    }
    store.budgets = OrgBudgets()
    await flow.created(org="acme")
    assert await store.org_uses(org="acme") == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{}", "a list"),
        ("[", "JSON"),
        ('[{"org": "", "window": "day", "tokens": 1}]', "org"),
        ('[{"org": "a", "window": "week", "tokens": 1}]', "window"),
        ('[{"org": "a", "window": "day"}]', "needs executions"),
        ('[{"org": "a", "window": "day", "tokens": 0}]', "tokens"),
        ('[{"org": "a", "window": "day", "cost": 1}]', "currency"),
        ('[{"org": "a", "window": "day", "tokens": 1, "reached": "ask"}]', "reached"),
        ('[{"org": "a", "window": "day", "tokens": 1, "colour": 1}]', "entry 1"),
        (
            '[{"org": "a", "window": "day", "tokens": 1}, {"org": "a", "window": "day", "cost": 1, "currency": "x"}]',
            "2",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(text: str, named: str) -> None:
    """Which entry, and what it may be."""
    with pytest.raises(BudgetsError, match=named):
        budgets_of(text)
