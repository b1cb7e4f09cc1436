"""Eight clients report on one execution at the same time, each over a connection of its own: nothing is lost.

By the contract a list that is sent replaces the one that is stored. So "nothing is lost" means: the result is that of
the same updates one after the other in some order, which the log shows; every one of them is in it once, whole.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.composition import RunningServer
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from tests.control_plane.caller import Caller, resource_of
from tests.control_plane.model import COMPLETED, IN_PROGRESS, Execution, Report
from tests.control_plane.seen import modelled, of_execution, status_of
from tests.unit.server.conftest import http_client

CLIENTS, UPDATES = 8, 12
FIELDS = ("messages", "calls", "subs", "todos", "error")
SAME = 3
"""A kind of update that changes all of these at once."""


@dataclass(frozen=True, slots=True)
class Update:
    client: int
    number: int
    report: Report = field(compare=False)


@pytest.fixture
async def callers(servers: list[RunningServer]) -> AsyncIterator[list[Caller]]:
    """Over connections that share nothing, to all replicas."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client(servers[0]))
        made = []
        for number in range(CLIENTS):
            target = f"127.0.0.1:{servers[number % len(servers)].grpc_port}"
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))
            made.append(Caller(channel, http))
        yield made


@pytest.fixture
async def execution(callers: list[Caller]) -> AgentExecution:
    agent = await callers[0].call(callers[0].commands["Agent"].create, resource_of("Agent", "Helper"))
    return await callers[0].execute("do it", agent_id=agent.metadata.id, name="a run")


def update(client: int, number: int) -> Update:
    """One client after the other sends each of the fields, and now and then all of them, all marked as its own."""
    mark = f"{client}.{number}"
    whole = Report(
        messages=[(1, "do it"), (2, f"said {mark}"), (2, f"and {mark}")],
        calls=[(f"c{mark}", "shell", 2, ""), (f"d{mark}", "read", 3, "")],
        subs=[(f"s{mark}", "helper", 2, "")],
        todos={f"t{mark}": (f"todo {mark}", 2)},
        error=f"trouble {mark}",
    )
    chosen = set(FIELDS) if number % SAME == 0 else {FIELDS[(client + number) % len(FIELDS)]}
    kept = {field: getattr(whole, field) for field in chosen}
    return Update(client, number, Report(phase=IN_PROGRESS if number == 1 else 0, **kept))


async def log_of(server: RunningServer, caller: Caller, id: str) -> list[own.Update]:
    """Every row after the first, up to what there is now."""
    last = len(await server.ctx.store.read_log(id))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub: Any = own_grpc.ExecutionsStub(channel)
        rows: list[own.Update] = []
        watching = stub.watch(own.WatchRequest(execution_id=id, from_seq=1), metadata=caller.metadata, timeout=20)
        async for event in watching:
            rows.append(event.update)
            if event.update.seq >= last:
                break
        watching.cancel()
        return rows


def told(rows: Iterable[own.Update], plan: Iterable[Update]) -> list[Update]:
    """The updates that are in the log, in its order. Each row must be one of the plan, as it was sent."""
    sent = {_key(json_format.MessageToDict(status_of(u.report), preserving_proto_field_name=True)): u for u in plan}
    assert len(sent) % UPDATES == 0, "updates that cannot be told apart"
    return [sent[_key(json.loads(row.payload)["status"])] for row in rows if row.kind == "merge"]


def _key(status: Any) -> str:
    return json.dumps(status, sort_keys=True)


def replayed(execution: AgentExecution, reports: Iterable[Report]) -> list[dict[str, Any]]:
    """The model after each of these updates, one after the other."""
    model, after = Execution(number=0, **of_execution(execution)), []
    for report in reports:
        model.merge(report)
        after.append(modelled(model))
    return after


def plan_of(clients: Iterable[int]) -> dict[int, list[Update]]:
    return {client: [update(client, number) for number in range(UPDATES)] for client in clients}


@pytest.mark.promise("0.18")
@pytest.mark.promise("1.95")
async def test_concurrent_updates_have_an_order(
    servers: list[RunningServer], callers: list[Caller], execution: AgentExecution
) -> None:
    """Each update is in the log once, whole, in its client's order; the status is their merge in the log's order."""
    id, plan = execution.metadata.id, plan_of(range(CLIENTS))
    answers: dict[Update, dict[str, Any]] = {}

    async def play(client: int) -> None:
        for one in plan[client]:
            answers[one] = of_execution(await callers[client].report(id, status_of(one.report)))

    await asyncio.gather(*(play(client) for client in range(CLIENTS)))
    rows = await log_of(servers[0], callers[0], id)
    assert [row.seq for row in rows] == list(range(2, 2 + len(rows)))
    order = told(rows, (one for mine in plan.values() for one in mine))
    assert len(order) == len(set(order)) == CLIENTS * UPDATES
    for client in range(CLIENTS):
        assert [one for one in order if one.client == client] == plan[client]
    after = replayed(execution, (one.report for one in order))
    for place, one in enumerate(order):
        assert answers[one] in after[place:], "an answer that does not hold its own update"
    for caller in callers:
        assert of_execution(await caller.execution(id)) == after[-1]


@pytest.mark.promise("1.89")
async def test_no_reader_sees_half_an_update(callers: list[Caller], execution: AgentExecution) -> None:
    """While six clients replace everything at once, get and subscribe only ever show what one of them sent."""
    id = execution.metadata.id
    done = asyncio.Event()
    seen: set[str] = set()

    def look(shown: AgentExecution) -> None:
        status = shown.status
        marks = {m.content.split()[1] for m in status.messages if m.type == 2}
        marks |= {call.id[1:] for call in status.tool_calls} | {sub.id[1:] for sub in status.sub_agent_executions}
        marks |= {todo[1:] for todo in status.todos} | ({status.error.split()[1]} if status.error else set())
        assert len(marks) <= 1, f"parts of several updates at once: {marks}"
        assert not marks or len(status.messages) == 3
        assert shown.spec.message == "do it"
        seen.update(marks)

    async def read() -> None:
        while not done.is_set():
            look(await callers[6].execution(id))

    async def follow() -> None:
        request = {"timeout": 30, "metadata": callers[7].metadata}
        async for shown in callers[7].query.subscribe(io_pb2.AgentExecutionId(value=id), **request):
            look(shown)

    async def write(client: int) -> None:
        for number in range(UPDATES):
            await callers[client].report(id, status_of(update(client, number * SAME).report))

    reading, following = asyncio.create_task(read()), asyncio.create_task(follow())
    await asyncio.gather(*(write(client) for client in range(6)))
    await callers[0].report(id, status_of(Report(phase=COMPLETED)))
    done.set()
    await asyncio.gather(reading, following)
    assert len(seen) >= 2


async def test_one_end_and_nothing_after_it(
    servers: list[RunningServer], callers: list[Caller], execution: AgentExecution
) -> None:
    """Of all clients that report an end, one is heard; later reports are refused and are not in the log."""
    id = execution.metadata.id
    heard: list[int] = []
    refused: list[int] = []

    async def play(client: int) -> None:
        for number in range(UPDATES):
            report = update(client, number).report
            report.phase = COMPLETED if number == UPDATES // 2 else report.phase
            try:
                await callers[client].report(id, status_of(report))
                heard.append(client)
            except grpc.aio.AioRpcError as error:
                refused.append(client)
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise

    await asyncio.gather(*(play(client) for client in range(CLIENTS)))
    rows = await log_of(servers[0], callers[0], id)
    assert [row.seq for row in rows] == list(range(2, len(rows) + 2))
    assert [row.phase for row in rows if row.phase >= COMPLETED] == [COMPLETED]
    assert rows[-1].phase == COMPLETED
    assert len([row for row in rows if row.kind == "merge"]) == len(heard)
    assert len(heard) + len(refused) == CLIENTS * UPDATES
    assert set(refused) == set(range(CLIENTS))


@pytest.mark.promise("1.81")
@pytest.mark.promise("2.07")
async def test_update_and_update_status_do_not_meet(
    servers: list[RunningServer], callers: list[Caller], execution: AgentExecution
) -> None:
    """While four clients report, four others label: every report is there, and the labels are those of one update."""
    id, plan = execution.metadata.id, plan_of(range(4, CLIENTS))
    labelled: list[str] = []

    async def label(client: int) -> None:
        for number in range(UPDATES):
            wanted = AgentExecution()
            wanted.CopyFrom(execution)
            wanted.metadata.labels["mark"] = mark = f"{client}.{number}"
            wanted.metadata.tags.append(f"tag-{mark}")
            try:
                await callers[client].update(wanted)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED:  # another update came in between
                    raise
            else:
                labelled.append(mark)

    async def play(client: int) -> None:
        for one in plan[client]:
            await callers[client].report(id, status_of(one.report))

    await asyncio.gather(*(label(client) for client in range(4)), *(play(client) for client in plan))
    rows = await log_of(servers[0], callers[0], id)
    order = told(rows, (one for mine in plan.values() for one in mine))
    assert len(order) == len(set(order)) == len(plan) * UPDATES
    end = await callers[0].execution(id)
    mark = end.metadata.labels["mark"]
    assert mark in labelled
    labels = {"labels": {"mark": mark}, "tags": (f"tag-{mark}",)}
    assert of_execution(end) == replayed(execution, (one.report for one in order))[-1] | labels
    assert end.status.audit.spec_audit.updated_by.id == "STIGMER_API_KEY"
    found, _ = await callers[0].listed(callers[0].query.list, io_pb2.ListAgentExecutionsRequest(tags=[f"tag-{mark}"]))
    assert [e.metadata.id for e in found.entries] == [id]
