"""Two servers on one Postgres are one system: whatever happens at one of them is seen, once, at the other."""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_COMPLETED, EXECUTION_IN_PROGRESS
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.replicas import Followers, Server, an_agent, two_servers
from tests.integration.shared import SharedStacks
from tests.integration.stack import Json, Stack
from tests.support.databases import migrated
from tests.support.ports import free_port

WORK = "Look around.\n$ echo one\n$ sleep 0.5\n$ echo two\n@researcher Count. $ echo sub\n$ echo three"
STATES_PER_S = 4


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with migrated("postgres", tmp_path_factory.mktemp("database")) as url:
        yield url


@pytest.fixture
def stack(servers: SharedStacks, database: str) -> Iterator[Stack]:
    """The first server; each test starts the second one and a worker."""
    settings = {"AGENT_RUNNER_DATABASE_URL": database, "AGENT_RUNNER_DEMO_TOKEN_DELAY_MS": "15"}
    with servers.lent(**settings) as lent:
        yield lent


@pytest.mark.promise("1.82")
@pytest.mark.parametrize("wake_ups", ["heard", "lost", "cut"])
def test_what_runs_at_one_is_seen_at_the_other(stack: Stack, wake_ups: str) -> None:
    """Created over gRPC at A, followed at B from before the worker starts: the whole log, once each, in order.

    Lost: Redis tells B nothing any more and the connection stays. Cut: B has no Redis at all.
    """
    with (
        TcpProxy(free_port(), stack.redis_port) as link,
        two_servers(stack, AGENT_RUNNER_REDIS_URL=f"redis://127.0.0.1:{link.port}/0") as (a, b),
    ):
        id = a.create(WORK, agent=an_agent(a)).metadata.id
        followers = b.follow(id)
        if wake_ups == "lost":
            link.mute()
        if wake_ups == "cut":
            assert link.reset(), "B was connected to Redis"
        held = link.held
        stack.start_worker()
        ended = stack.wait_for(id)
        followers.whole()
        assert wake_ups != "lost" or link.held > held, "wake-ups were on their way to B"
        log = list(stack.events(id, 0))
        check_log(log)
        assert followers.sse == log
        check_watch(followers, log)
        check_states(followers, ended)
        assert b.http.get(f"/v1/executions/{id}").json() == ended


def check_log(log: list[tuple[int, str, Json]]) -> None:
    *rows, (last, kind, end) = log
    assert [seq for seq, _, _ in rows] == list(range(1, last + 1))
    assert [row["seq"] for _, _, row in rows] == list(range(1, last + 1))
    assert (kind, end["phase"]) == ("end", "EXECUTION_COMPLETED")
    assert len(rows) > 30


def check_watch(followers: Followers, log: list[tuple[int, str, Json]]) -> None:
    """A snapshot, exactly the rows behind it, the end."""
    first, *updates, end = followers.watch
    rows = [row for seq, _, row in log[:-1] if seq > first.snapshot.seq]
    assert first.snapshot.execution.metadata.id
    assert [one.update.seq for one in updates] == [row["seq"] for row in rows]
    assert [(one.update.kind, one.update.fence, one.update.at) for one in updates] == [
        (row["kind"], row["fence"], row["at"]) for row in rows
    ]
    assert (end.end.seq, end.end.phase) == (log[-1][0], EXECUTION_COMPLETED)


def check_states(followers: Followers, ended: Json) -> None:
    """They grow, not too fast, and only the last one is terminal; it is what a read shows."""
    states = followers.states
    most = (followers.ended - followers.began) * STATES_PER_S + 2
    assert 4 <= len(states) <= most
    for before, after in itertools.pairwise(states):
        assert before.status.phase <= EXECUTION_IN_PROGRESS
        assert before.status.phase <= after.status.phase
        assert size(before) <= size(after)
        texts = [m.content for m in after.status.messages]
        assert all(now.startswith(was.content) for was, now in zip(before.status.messages, texts, strict=False))
    assert states[-1] == json_format.ParseDict(ended, AgentExecution(), ignore_unknown_fields=True)


def size(state: AgentExecution) -> tuple[int, int]:
    return len(state.status.messages), len(state.status.tool_calls)


@pytest.mark.parametrize("wake_ups", ["heard", "lost"])
def test_created_at_one_and_cancelled_at_the_other(stack: Stack, wake_ups: str) -> None:
    """The worker, which is connected to A, learns of a cancel at B; followers of both see CANCELLED as the last."""
    with (
        TcpProxy(free_port(), stack.redis_port) as link,
        two_servers(stack, AGENT_RUNNER_REDIS_URL=f"redis://127.0.0.1:{link.port}/0") as (a, b),
    ):
        stack.start_worker()
        if wake_ups == "lost":
            link.mute()
        id = a.create("Before.\n$ echo begun\n$ sleep 60", agent=an_agent(a)).metadata.id
        at_both = [server.follow(id) for server in (a, b)]
        stack.wait_text(id, "begun")
        stack.wait_text(id, "TOOL_CALL_RUNNING")
        b.cancel(id)
        for followers in at_both:
            followers.whole()
            (last, kind, end) = followers.sse[-1]
            assert (kind, end["phase"], end["error_code"]) == ("end", "EXECUTION_CANCELLED", "E401")
            assert [seq for seq, _, _ in followers.sse[:-1]] == list(range(1, last + 1))
        assert at_both[0].sse == at_both[1].sse
        assert stack.get(id) == b.http.get(f"/v1/executions/{id}").json()


@pytest.mark.parametrize("over", ["HTTP", "gRPC"])
def test_one_idempotency_key_at_both_at_the_same_moment(stack: Stack, over: str) -> None:
    """Twenty creates with one key, half of them at each server: one execution in one session, run once."""
    key = uuid.uuid4().hex
    witness = stack.witnesses / key
    message = f"$ echo run >> {witness}"
    with two_servers(stack) as (a, b):
        agent = an_agent(a)
        others = everything(a)
        create = over_http if over == "HTTP" else over_grpc
        ids = at_once([partial(create, server, message, agent, key) for server in (a, b)] * 10)
        assert len(ids) == 20
        assert len(set(ids)) == 1
        stack.start_worker()
        assert stack.wait_for(ids[0])["status"]["phase"] == "EXECUTION_COMPLETED"
        assert [create(server, message, agent, key) for server in (a, b)] == ids[:2]
        assert witness.read_text().split() == ["run"]
        for server in (a, b):
            assert everything(server) - others == {ids[0], stack.get(ids[0])["spec"]["session_id"]}


def everything(server: Server) -> set[str]:
    """The ids of all executions and sessions that it shows."""
    lists = [server.http.get(f"/v1/{kind}", params={"page_size": 500}).json() for kind in ("executions", "sessions")]
    assert all(len(one["entries"]) == one["total"] for one in lists)
    return {entry["metadata"]["id"] for one in lists for entry in one["entries"]}


def over_http(server: Server, message: str, agent: str, key: str) -> str:
    body = {"message": message, "agent": agent}
    answer = server.http.post("/v1/executions", json=body, headers={"Idempotency-Key": key})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["metadata"]["id"])


def over_grpc(server: Server, message: str, agent: str, key: str) -> str:
    return server.create(message, agent=agent, key=key).metadata.id


def at_once(calls: Sequence[Callable[[], str]]) -> list[str]:
    """What they answer; all begin together."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], str]) -> str:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))
