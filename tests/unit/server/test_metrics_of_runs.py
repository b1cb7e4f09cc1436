"""Waits, runs, tokens and bytes are counted where workers report; queues are told as database and broker see them."""

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
from prometheus_client import CollectorRegistry, generate_latest

from agent_runner.app.server.agent_server.load import Load
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.http import metrics
from agent_runner.app.server.maintenance.run_measures import MOST_CURRENCIES, MOST_MODELS, OTHER, RunMeasures
from agent_runner.clients.broker.publisher import PublishError
from agent_runner.status.store.run_records import NewDelta
from agent_runner.tasks.worker.measures import Measures
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1 import runner_pb2_grpc
from tests.support.ports import free_port
from tests.unit.server.conftest import created
from tests.unit.server.identity import bearer, key


def value(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


async def test_the_load_as_agent_server_tells_it(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Pending and running executions, their waits, the slots and the requests; nulls while nothing waits."""
    idle = (await http.get("/metrics", params={"format": "json"})).json()
    assert idle["queue"] == {
        "n_pending": 0,
        "n_running": 0,
        "pending_runs_wait_time_max_secs": None,
        "pending_runs_wait_time_med_secs": None,
        "pending_unblocked_runs_wait_time_max_secs": None,
    }
    assert idle["workers"] == {"max": 0, "active": 0, "available": 0}
    for _ in range(2):
        await created(http)
    waiting = await Load(server.ctx).told()
    assert waiting["queue"]["n_pending"] == 2
    waits = [value for name, value in waiting["queue"].items() if name.startswith("pending_")]
    assert [value >= 0 for value in waits] == [True, True, True]
    counted = {
        (one["method"], one["path"], one["status"]): one["count"] for one in waiting["api"]["http_requests_total"]
    }
    assert counted["POST", "/v1/executions", 201] == 2


async def test_a_run_over_grpc(server: RunningServer, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    """Its wait, its time, its tokens by model and its bytes are counted once, however often its end is reported; the
    list shows its tokens and their cost."""
    id = (await created(http))["metadata"]["id"]
    queue = server.ctx.settings.runner_queue
    runner = runner_pb2_grpc.RunnerStub(channel)
    mine = bearer(await key(server, "runner"))
    before = (await http.get("/metrics")).text
    assert value(before, f'agent_runner_queue_waiting{{queue="{queue}"}}') == 1
    assert (value(before, f'agent_runner_queue_oldest_waiting_seconds{{queue="{queue}"}}') or 0) > 0
    assert value(before, f'agent_runner_broker_queue_depth{{queue="{queue}"}}') == 1
    await runner.begin(pb.BeginRequest(execution_id=id, begin_id="b", incarnation="w1"), metadata=mine)
    await runner.done(pb.DoneRequest(execution_id=id, begin_id="b", thread_id="t"), metadata=mine)
    token = b"0123456789abcdef"
    claim = await runner.claim(
        pb.ClaimRequest(execution_id=id, claim_id="c", incarnation="w1", run_token=token), metadata=mine
    )
    assert claim.granted, claim.refusal
    settle = pb.SettleRequest(
        handle=claim.handle, fence=claim.fence, run_token=token, phase=3,
        deltas=[pb.Delta(kind="message", payload=b'{"id":"a1","content":"hi"}')],
        progress=pb.Progress(input_tokens=12, output_tokens=3, cost=0.25, currency="EUR"),
        tokens=[pb.ModelTokens(model="gpt", input_tokens=12, output_tokens=3, cost=0.25, currency="EUR")],
    )  # fmt: skip
    for _ in range(2):
        assert (await runner.settle(settle, metadata=mine)).accepted
    told = (await http.get("/metrics")).text
    assert value(told, f'agent_runner_wait_seconds_count{{queue="{queue}"}}') == 1
    assert value(told, 'agent_runner_run_seconds_count{phase="COMPLETED"}') == 1
    assert value(told, 'agent_runner_tokens_total{kind="input",model="gpt"}') == 12
    assert value(told, 'agent_runner_tokens_total{kind="output",model="gpt"}') == 3
    assert value(told, "agent_runner_log_bytes_total") == len(b'{"id":"a1","content":"hi"}')
    assert value(told, f'agent_runner_queue_waiting{{queue="{queue}"}}') == 0
    (row,) = (await http.get("/v1/executions", params={"view": "summary"})).json()["executions"]
    assert row["tokens"] == {"input": 12, "output": 3}
    assert row["cost"] == {"amount": 0.25, "currency": "EUR"}
    assert value(told, 'agent_runner_cost_total{currency="EUR",model="gpt"}') == 0.25


async def test_a_broker_that_does_not_answer(server: RunningServer, http: httpx.AsyncClient, monkeypatch: Any) -> None:
    """Its depth is missing instead of wrong, and everything else is told."""

    async def away(_queue: str) -> int:
        raise PublishError("away")

    monkeypatch.setattr(server.ctx.dispatcher, "depth", away)
    told = (await http.get("/metrics")).text
    assert "agent_runner_broker_queue_depth{" not in told
    assert value(told, "agent_runner_store_up") == 1


async def test_each_worker_process(server: RunningServer, http: httpx.AsyncClient) -> None:
    """Its slots, how many are busy, the lag of its loop and when it was last heard of; gone, it has no series."""
    who = {"role": "worker", "hostname": "h", "version": "1", "queue": "q", "name": "worker@h"}
    await server.ctx.store.hello(incarnation="w1", pid=1, slots=4, **who)
    await server.ctx.store.beat("w1", [], busy=3, loop_lag_s=0.25)
    told = (await http.get("/metrics")).text
    mine = '{queue="q",worker="worker@h"}'
    shown = {name: value(told, f"agent_runner_worker_process_{name}{mine}") for name in metrics.WORKER_GAUGES}
    assert (shown["slots"], shown["busy"], shown["loop_lag_seconds"]) == (4, 3, 0.25)
    assert shown["last_seen_seconds"] is not None
    await server.ctx.store.goodbye("w1")
    assert "worker@h" not in (await http.get("/metrics")).text


def test_series_of_models_are_bounded() -> None:
    """After so many names the rest is one series: callers name models as they like."""
    registry = CollectorRegistry()
    measures = RunMeasures(registry)
    ended: Any = SimpleNamespace(handle=1, claimed_at=1.0, completed_at=2.0, phase=SimpleNamespace(name="COMPLETED"))
    for n in range(2 * MOST_MODELS):
        used = pb.ModelTokens(model=f"model-{n}", input_tokens=1, output_tokens=1)
        measures.settled(ended, n + 1, pb.SettleRequest(tokens=[used]))
    told = generate_latest(registry).decode()
    assert told.count('kind="input"') == 2 * (MOST_MODELS + 1), "each total has a line for its creation, too"
    assert value(told, f'agent_runner_tokens_total{{kind="input",model="{OTHER}"}}') == MOST_MODELS
    assert "agent_runner_cost_total{" not in told
    measures.said([replace(NewDelta(kind="text", payload="12345"))])
    assert value(generate_latest(registry).decode(), "agent_runner_log_bytes_total") == 5


async def test_a_worker_serves_its_own() -> None:
    """On the port that is set, a second process of the machine on the next free one; closed, the port is free again."""
    port = free_port()
    made = [Measures(busy=lambda: 2, lag_s=lambda: 0.5, slots=4) for _ in range(2)]
    try:
        assert [one.serve("127.0.0.1", port) for one in made] == [True, True]
        assert made[0].port == port
        assert made[1].port > port
        made[0].flushed(0.02, 300)
        async with httpx.AsyncClient(trust_env=False) as http:
            first, second = [(await http.get(f"http://127.0.0.1:{one.port}/metrics")).text for one in made]
        assert value(first, "agent_runner_worker_flush_seconds_count") == 1
        assert value(first, "agent_runner_worker_sent_bytes_total") == 300
        assert (value(first, "agent_runner_worker_busy"), value(first, "agent_runner_worker_slots")) == (2, 4)
        assert value(second, "agent_runner_worker_flush_seconds_count") == 0
    finally:
        for one in made:
            one.close()


def test_series_of_currencies_are_bounded_and_amounts_are_numbers() -> None:
    """What has no currency, is less than nothing or no number is not counted, nor are currencies without end."""
    registry = CollectorRegistry()
    measures = RunMeasures(registry)
    ended: Any = SimpleNamespace(handle=1, claimed_at=None, completed_at=None, phase=None)
    told = [(1.0, ""), (-1.0, "A"), (float("nan"), "A"), (float("inf"), "A")]
    told += [(0.5, f"C{n}") for n in range(2 * MOST_CURRENCIES)]
    used = [pb.ModelTokens(model="m", cost=cost, currency=currency) for cost, currency in told]
    measures.settled(ended, 1, pb.SettleRequest(tokens=used))
    text = generate_latest(registry).decode()
    assert text.count("agent_runner_cost_total{") == MOST_CURRENCIES
    assert value(text, 'agent_runner_cost_total{currency="C0",model="m"}') == 0.5
