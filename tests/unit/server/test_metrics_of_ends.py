"""Ends are counted by code, with the delay of their detection."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from agent_runner.app.server.maintenance.end_counts import Ends
from agent_runner.status.failures import Code
from agent_runner.status.phases import Phase
from agent_runner.status.store import schema
from agent_runner.status.store.records import NewExecution
from agent_runner.status.store.run_records import Outcome
from agent_runner.status.store.store import Store
from agent_runner.status.timeouts import Timeouts


@pytest.mark.promise("3.37")
@pytest.mark.promise("1.106")
async def test_each_end_is_counted_once_and_sweeps_tell_their_delay(tmp_path: Path) -> None:
    """A settle, its repetition and a sweep make two ends; the sweep's delay is in the histogram."""
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(schema.migrate, url)
    now = 1000.0
    store = Store.open(url, now=lambda: now)
    counted = Ends()
    store.on_end = counted.count
    await store.tick(period_s=1)
    handles = []
    for name in ("aex-1", "aex-2"):
        new = NewExecution(
            id=name,
            org="local",
            session_id=name,
            agent_id="a",
            name="n",
            slug="n",
            message="m",
            timeouts=Timeouts(),
            runner_queue="q",
            orchestrator_queue="o",
        )
        created = await store.create(new)
        assert created.execution is not None
        handles.append(created.execution.handle)
        await store.dispatched(name)
    await store.begin("aex-1", "b", "w")
    await store.done("aex-1", "b", "t")
    await store.claim("aex-1", "c", "w")
    for _ in range(2):
        await store.settle(handles[0], 1, 0, [], "", Outcome(phase=Phase.COMPLETED))
    now = 1063.0
    await store.tick(period_s=100)
    await store.close()
    told = generate_latest(counted.registry).decode()
    assert 'agent_runner_executions_ended_total{code="",phase="COMPLETED"} 1.0' in told
    assert 'agent_runner_executions_ended_total{code="E101",phase="FAILED"} 1.0' in told
    assert 'agent_runner_detection_delay_seconds_sum{code="E101"} 3.0' in told
    for code in set(Code) - {Code.BROKER_UNAVAILABLE}:
        assert f'code="{code.value}"' in told
