"""The store's verbs are the edges of the state machine: each works from its steps, does what it says, and no more."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import update

from agent_runner.status.failures import Code
from agent_runner.status.phases import REPORT, REPORT_END, REPORT_FIRST, TRANSITIONS, Phase, Step, Transition
from agent_runner.status.requests.retries import RetryPolicy
from agent_runner.status.store.edges import take
from agent_runner.status.store.executions.ending import E, End
from agent_runner.status.store.lists.queries import ExecutionQuery
from agent_runner.status.store.records import Execution
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.schema import executions
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Kind
from agent_runner.status.timeouts import TIMEOUT_CODES, TimeoutType
from tests.store.conftest import Clock, Flow
from tests.store.test_deadlines import ended
from tests.support.tables import change

COMPLETED = Outcome(phase=Phase.COMPLETED)


async def at_step(flow: Flow, step: Step, **given: object) -> Execution:
    """An execution in this step, with every token that its calls need."""
    if step is Step.WAITING:
        await flow.claimed("w1", session_id="ses-t", **given)
        return await flow.created(session_id="ses-t", **given)
    if step is Step.ENSURE_THREAD:
        execution = await flow.created(**given)
    elif step is Step.THREAD_STARTED:
        execution = await flow.created(**given)
        assert (await flow.store.begin(execution.id, "b0", "w1")).granted
    elif step is Step.EXECUTE:
        execution = await flow.executable(**given)
    else:
        claimed = (await flow.claimed("w1", **given)).execution
        assert claimed is not None
        execution = claimed
        if step is Step.SETTLED:
            await flow.store.settle(execution.handle, execution.fence, 0, [], "", COMPLETED)
    return await flow.facts(execution.id)


async def admit(store: Store, e: Execution) -> None:
    """Whoever is in front of it ends."""
    for other in (await store.list(ExecutionQuery(session_id="ses-t"))).executions:
        if other.id != e.id:
            await store.fail(other.id, Code.SYSTEM, {})


async def begin(store: Store, e: Execution) -> None:
    await store.begin(e.id, "b9", "w9")


async def done(store: Store, e: Execution) -> None:
    await store.done(e.id, "b0", "thread-9")


async def claim(store: Store, e: Execution) -> None:
    await store.claim(e.id, "c9", "w9")


async def hand_back(store: Store, e: Execution) -> None:
    await store.hand_back(e.handle, e.fence, e.runner_seq, [], "", "deploy")


async def retry(store: Store, e: Execution) -> None:
    await store.fail(e.id, Code.WORKER_LOST, {}, only_steps=frozenset({Step.RUNNING}))


async def retry_thread(store: Store, e: Execution) -> None:
    await store.fail(e.id, Code.WORKER_LOST, {}, only_steps=frozenset({Step.THREAD_STARTED}))


async def settle(store: Store, e: Execution) -> None:
    await store.settle(e.handle, e.fence, e.runner_seq, [], "", COMPLETED)


async def cancel_pending(store: Store, e: Execution) -> None:
    await store.request_cancel(e.id, "test")


async def fail(store: Store, e: Execution) -> None:
    await store.fail(e.id, Code.SYSTEM, {}, only_steps=frozenset())


VERBS: dict[str, Callable[[Store, Execution], Awaitable[None]]] = {
    f.__name__: f for f in (admit, begin, done, claim, hand_back, retry, retry_thread, settle, cancel_pending, fail)
}
REPORTED = {REPORT_FIRST.name, REPORT.name, REPORT_END.name}
"""One verb, `merge_status`, takes one or two of these: tests/store/test_reported.py."""


def test_every_edge_has_its_verb() -> None:
    """There is nothing in the table that the store cannot do."""
    assert VERBS.keys() | REPORTED == TRANSITIONS.keys()


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(
    ("edge", "phase"),
    [pytest.param(t, p, id=f"{t.name}-{p.name}") for t in TRANSITIONS.values() for p in sorted(t.phases)],
)
async def test_a_statement_of_an_edge_is_that_edge(
    store: Store, flow: Flow, edge: Transition, phase: Phase, step: Step
) -> None:
    """Without any condition of a verb: from the edge's sources only, to the named phase, with its fence."""
    before = await at_step(flow, step)
    statement, clock = take(edge, E.id == before.id, phase=phase), store.params()
    taken = await store.transact(Kind.WRITES, lambda connection: connection.execute(statement, clock).one_or_none())
    after = await flow.facts(before.id)
    assert (taken is not None) == (step in edge.sources)
    led_to = (edge.step, phase, before.fence + edge.raises_fence)
    stayed = (before.step, before.phase, before.fence)
    assert (after.step, after.phase, after.fence) == (led_to if taken else stayed)


@pytest.mark.parametrize("edge", [pytest.param(t, id=t.name) for t in TRANSITIONS.values()])
def test_an_edge_is_taken_to_its_phases_only(edge: Transition) -> None:
    """A phase that the table does not name is refused before anything is written, and so is an end without one."""
    for phase in set(Phase) - edge.phases:
        with pytest.raises(ValueError, match=edge.name):
            take(edge, phase=phase)
    if edge.step is Step.SETTLED and len(edge.phases) > 1:
        with pytest.raises(ValueError, match=edge.name):
            take(edge)
    assert edge.step is not Step.SETTLED or not edge.may_stay


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize("edge", [pytest.param(TRANSITIONS[name], id=name) for name in VERBS])
async def test_the_store_takes_each_edge_where_the_table_says(
    store: Store, flow: Flow, edge: Transition, step: Step
) -> None:
    """From its sources it leads to its step, one of its phases, and the next fence; from elsewhere nowhere."""
    before = await at_step(flow, step, retry=RetryPolicy(maximum_attempts=2))
    assert before.step is step
    await VERBS[edge.name](store, before)
    after = await flow.facts(before.id)
    if step not in edge.sources:
        assert (after.step, after.phase, after.fence) == (before.step, before.phase, before.fence)
        return
    assert after.step is edge.step
    assert after.phase in edge.phases
    assert after.fence == before.fence + edge.raises_fence


async def test_the_terminal_write_itself_refuses_what_is_over(store: Store, flow: Flow) -> None:
    """L2: whatever the other conditions are, the statement that ends an execution never matches one that has ended."""
    execution = await at_step(flow, Step.SETTLED)
    log = await flow.log(execution.id)
    end = End(phase=Phase.FAILED, code=Code.SYSTEM, facts={})
    assert await store.transact(Kind.WRITES, lambda c: store.end_row(c, end, E.id == execution.id)) is None
    assert await flow.facts(execution.id) == execution
    assert await flow.log(execution.id) == log


@pytest.mark.parametrize("timeout", TimeoutType)
async def test_each_timeout_is_swept_with_its_words(
    store: Store, flow: Flow, clock: Clock, timeout: TimeoutType
) -> None:
    """L5: the deadline that passes alone is the reason, and the text has nothing left to fill in."""
    await store.tick(period_s=1)
    execution = await at_step(flow, Step.RUNNING)
    await store.request_cancel(execution.id, "alice") if timeout is TimeoutType.CANCEL else None
    clocks = {t.column: clock.at + (2 if t is timeout else 5000) for t in TimeoutType}
    await change(store, update(executions).where(E.id == execution.id).values(**clocks))
    clock.advance(1.5)
    assert not (await store.tick(period_s=1)).ended
    clock.advance(0.5)
    assert [e.id for e in (await store.tick(period_s=1)).ended] == [execution.id]
    phase, code, error = await ended(store, execution.id)
    assert code == TIMEOUT_CODES[timeout].value
    assert phase is (Phase.CANCELLED if timeout is TimeoutType.CANCEL else Phase.FAILED)
    assert error.endswith(f"[{code} {TIMEOUT_CODES[timeout].name}]")
    assert not set(error) & set("{}?"), error
    assert "not known" not in error


@pytest.mark.parametrize(
    ("first", "second"),
    [(TimeoutType.HEARTBEAT, TimeoutType.START_TO_CLOSE), (TimeoutType.START_TO_CLOSE, TimeoutType.HEARTBEAT)],
)
async def test_of_several_passed_deadlines_the_earliest_is_the_reason(
    store: Store, flow: Flow, clock: Clock, first: TimeoutType, second: TimeoutType
) -> None:
    """L5: also when one sweep finds both."""
    await store.tick(period_s=1)
    execution = await at_step(flow, Step.RUNNING)
    clocks = {first.column: clock.at + 1, second.column: clock.at + 2}
    await change(store, update(executions).where(E.id == execution.id).values(**clocks))
    clock.advance(3)
    await store.tick(period_s=1)
    assert (await ended(store, execution.id))[1] == TIMEOUT_CODES[first].value
