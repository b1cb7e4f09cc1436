"""Calls of webhooks in the store: due with what they tell, taken by one server at a time, tried until they are over."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import select, update

from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store.clock import FOREVER
from agent_runner.status.store.connection import open_engine
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import Claimed, Outcome
from agent_runner.status.store.schema import executions, webhook_deliveries
from agent_runner.status.store.store import Store
from agent_runner.status.store.turns.webhook_calls import (
    DELIVERED,
    GIVEN_UP,
    LEASE_S,
    PAUSE_MOST_S,
    TRIES,
    WebhookCall,
)
from tests.store.conftest import Clock, Flow

ALL = (b"sealed", "start question end")


async def events(store: Store) -> list[str]:
    """Those that are due, all answered."""
    calls = await store.take_webhook_calls(20)
    for call in calls:
        assert await store.webhook_called(call, ok=True) == DELIVERED
    return [call.event for call in calls]


async def ended(store: Store, claimed: Claimed, *, waiting: bool = False, code: Code | None = None) -> Execution:
    execution = claimed.execution
    assert execution is not None
    phase = Phase.FAILED if code else Phase.COMPLETED
    settled = await store.settle(
        execution.handle, execution.fence, 0, [], "h", Outcome(phase=phase, code=code, waiting=waiting)
    )
    assert settled.accepted
    return execution


async def one_due(store: Store) -> WebhookCall:
    (call,) = await store.take_webhook_calls(20)
    return call


@pytest.mark.parametrize(
    ("wanted", "waiting", "told"),
    [
        ("start question end", False, ["start", "end"]),
        ("start question end", True, ["start", "question"]),
        ("start end", True, ["start", "end"]),
        ("question", False, []),
        ("end", True, ["end"]),
    ],
)
async def test_what_is_wanted_is_due_when_it_happens(
    store: Store, flow: Flow, wanted: str, waiting: bool, told: list[str]
) -> None:
    """A start once, however often it is claimed; one call about the end, which is the question if it asks."""
    claimed = await flow.claimed(webhook=(b"sealed", wanted))
    found = await events(store)
    execution = claimed.execution
    assert execution is not None
    assert (await store.claim(execution.id, "c1", "w1")).granted  # the same delivery again
    assert await events(store) == []
    await ended(store, claimed, waiting=waiting)
    assert found + await events(store) == told
    assert await events(store) == []


async def test_an_end_that_the_server_writes_is_told(store: Store, flow: Flow, clock: Clock) -> None:
    """By a cancel of what waits, and by the sweeper."""
    pending = await flow.created(webhook=ALL)
    await store.request_cancel(pending.id, "somebody")
    assert await events(store) == ["end"]
    claimed = await flow.claimed(webhook=ALL)
    assert await events(store) == ["start"]
    clock.advance(10_000)
    await store.tick(period_s=1.0)  # grants amnesty for the gap
    clock.advance(10_000)
    for _ in range(3):
        await store.tick(period_s=1.0)
        clock.advance(1)
    assert claimed.execution is not None
    assert (await flow.facts(claimed.execution.id)).phase is Phase.FAILED
    assert await events(store) == ["end"]


async def test_of_two_servers_one_calls(store: Store, database_url: str, flow: Flow, clock: Clock) -> None:
    """A call is taken once; it is due again if its server says nothing; who comes late changes nothing."""
    second = Store.open(database_url, now=clock)
    try:
        await flow.claimed(webhook=(b"sealed", "start"))
        taken: Sequence[Sequence[WebhookCall]] = await asyncio.gather(
            *((store, second)[n % 2].take_webhook_calls(5) for n in range(6))
        )
        (call,) = [one for some in taken for one in some]
        clock.advance(LEASE_S - 1)
        assert not await second.take_webhook_calls(5)
        clock.advance(1)
        again = await one_due(second)
        assert (again.id, again.tries) == (call.id, 2)
        await store.webhook_called(call, ok=True)  # the first one was only slow
        clock.advance(LEASE_S)
        assert (await one_due(store)).tries == 3
    finally:
        await second.close()


async def test_a_call_is_given_up_after_its_last_try(store: Store, database_url: str, flow: Flow, clock: Clock) -> None:
    """The pauses grow; in the end the address goes, as it does after an answer."""
    claimed = await flow.claimed(webhook=(b"sealed", "end"))
    execution = await ended(store, claimed)
    outcomes = []
    for _ in range(TRIES):
        call = await one_due(store)
        assert call.sealed == b"sealed"
        outcomes.append(await store.webhook_called(call, ok=False))
        assert not await store.take_webhook_calls(5)
        clock.advance(PAUSE_MOST_S)
    assert outcomes == [""] * (TRIES - 1) + [GIVEN_UP]
    assert not await store.take_webhook_calls(5)
    assert address_of(database_url, execution) is None


async def test_the_address_stays_with_a_question(store: Store, database_url: str, flow: Flow) -> None:
    """For the execution that brings the answer; a start that is still to be told keeps it too."""
    claimed = await flow.claimed(webhook=ALL)
    start = await one_due(store)
    asked = await ended(store, claimed, waiting=True)
    assert await events(store) == ["question"]
    assert await store.webhook_called(start, ok=True) == DELIVERED
    assert address_of(database_url, asked) == b"sealed"
    done = await flow.claimed(webhook=ALL)
    start = await one_due(store)
    last = await ended(store, done)
    assert await events(store) == ["end"]
    assert address_of(database_url, last) == b"sealed"
    await store.webhook_called(start, ok=True)
    assert address_of(database_url, last) is None


async def test_what_an_earlier_server_made_due_is_called(
    store: Store, database_url: str, flow: Flow, clock: Clock
) -> None:
    """In a rolling deploy: it writes into the row of the execution."""
    claimed = await flow.claimed(webhook=(b"sealed", ""))
    execution = await ended(store, claimed)
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(update(executions).values(webhook_due_at=clock.at))
    assert await events(store) == ["end"]
    with engine.connect() as connection:
        assert connection.scalar(select(executions.c.webhook_due_at)) == FOREVER
    engine.dispose()
    assert address_of(database_url, execution) is None


async def test_calls_go_with_their_execution(store: Store, database_url: str, flow: Flow) -> None:
    """Retention leaves nothing; an execution without a webhook has no row."""
    execution = await ended(store, await flow.claimed(webhook=ALL))
    await ended(store, await flow.claimed())
    engine = open_engine(database_url)
    with engine.connect() as connection:
        assert len(connection.execute(select(webhook_deliveries)).all()) == 2
    assert await store.delete(execution.id)
    with engine.connect() as connection:
        assert connection.execute(select(webhook_deliveries)).all() == []
    engine.dispose()


def address_of(database_url: str, execution: Execution) -> bytes | None:
    engine = open_engine(database_url)
    with engine.connect() as connection:
        found: bytes | None = connection.scalar(select(executions.c.webhook).where(executions.c.id == execution.id))
    engine.dispose()
    return found
