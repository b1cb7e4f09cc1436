"""The same idempotency key is the same execution: at once, after a crash before the reply, with the broker away.

The crash is a real one: the broker stands still, so that create waits in its publish with its row committed; the
server is killed there, and the client repeats its call at the next one.
"""

import contextlib
import os
import signal
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from tests.integration.replicas import Server, an_agent, client
from tests.integration.stack import Process, Stack
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Answer:
    """`id` empty: it was refused, or the server was gone before it answered."""

    id: str
    code: str
    replayed: bool = False


Create = Callable[..., Answer]


def over_http(server: Server, message: str, agent: str, key: str) -> Answer:
    try:
        answer = server.http.post(
            "/v1/executions", json={"message": message, "agent": agent}, headers={"Idempotency-Key": key}
        )
    except httpx.TransportError as error:
        return Answer("", type(error).__name__)
    if answer.status_code != 201:
        return Answer("", str(answer.json()["code"]))
    return Answer(answer.json()["metadata"]["id"], "", answer.headers.get("Idempotent-Replayed") == "true")


def over_grpc(server: Server, message: str, agent: str, key: str) -> Answer:
    try:
        return Answer(server.create(message, agent=agent, key=key).metadata.id, "")
    except grpc.RpcError as error:
        told = str(error.details())
        return Answer("", "E501" if "[E501]" in told else error.code().name)


EDGES = pytest.mark.parametrize("create", [over_http, over_grpc], ids=["HTTP", "gRPC"])


@pytest.fixture
def stack(shared_server: Stack) -> Stack:
    """Each test has a worker of its own."""
    return shared_server


@pytest.fixture
def server(stack: Stack) -> Iterator[Server]:
    with client(stack.http_port, stack.grpc_port) as connected:
        yield connected


@dataclass(frozen=True)
class Mine:
    """One test's own: its key, the file that its run writes, and what is stored since it began."""

    stack: Stack
    server: Server
    others: frozenset[str]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def witness(self) -> Path:
        return self.stack.witnesses / self.key

    def stored(self) -> list[tuple[str, float | None]]:
        """(id, when it was dispatched) of every execution that is committed."""
        return [row for row in stored(self.stack) if row[0] not in self.others]

    def sessions(self) -> list[str]:
        return [id for id in session_ids(self.server) if id not in self.others]

    def runs_once(self, id: str) -> None:
        """It completes, its tool ran once, and there is neither another execution nor another session."""
        self.stack.start_worker()
        assert self.stack.wait_for(id)["status"]["phase"] == "EXECUTION_COMPLETED"
        assert self.witness.read_text().split() == ["run"]
        assert [id for id, _ in self.stored()] == [id]
        assert self.sessions() == [self.stack.get(id)["spec"]["session_id"]]


@pytest.fixture
def mine(stack: Stack, server: Server) -> Mine:
    return Mine(stack, server, frozenset([*(id for id, _ in stored(stack)), *session_ids(server)]))


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], Answer]) -> Answer:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


@contextlib.contextmanager
def standing_still(process: Process) -> Iterator[None]:
    """It is there and answers nobody."""
    process.kill(signal.SIGSTOP)
    try:
        eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        yield
    finally:
        process.kill(signal.SIGCONT)


def stored(stack: Stack) -> list[tuple[str, float | None]]:
    with contextlib.closing(sqlite3.connect(stack.folder / "agent-runner.db")) as database:
        return database.execute("select id, dispatched_at from executions").fetchall()


def session_ids(server: Server) -> list[str]:
    listed = server.http.get("/v1/sessions", params={"page_size": 500}).json()["entries"]
    return [session["metadata"]["id"] for session in listed]


@EDGES
def test_twenty_at_once(mine: Mine, server: Server, create: Create) -> None:
    """All get the id of the one execution, which runs once; so does a repeat after its end."""
    call = partial(create, server, f"$ echo run >> {mine.witness}", an_agent(server), mine.key)
    answers = at_once([call] * 20)
    assert len({answer.id for answer in answers}) == 1, answers
    assert all(answer.id for answer in answers)
    assert create is over_grpc or sum(not answer.replayed for answer in answers) == 1
    mine.runs_once(answers[0].id)
    assert call().id == answers[0].id


@EDGES
def test_the_server_is_killed_between_commit_and_reply(
    stack: Stack, mine: Mine, server: Server, create: Create
) -> None:
    """The client saw a broken connection and repeats its call: the execution that was stored, run once."""
    call = partial(create, server, f"$ echo run >> {mine.witness}", an_agent(server), mine.key)
    with standing_still(stack.redis), ThreadPoolExecutor(1) as pool:
        first = pool.submit(call)
        ((id, dispatched_at),) = eventually(mine.stored, what="the committed row")
        kill_server(stack)
        assert (first.result(30).id, dispatched_at) == ("", None), "it was killed before it could answer"
        assert [row[0] for row in mine.stored()] == [id]
    stack.start("server")
    stack.wait_ready()
    again = eventually(call_until_served(call), what="the new server")
    assert again.id == id
    assert create is over_grpc or again.replayed
    ((_, dispatched_at),) = mine.stored()
    assert dispatched_at is not None, "the repeated call published what the killed one could not"
    mine.runs_once(id)


@EDGES
def test_a_broker_that_stands_still_refuses_all_or_none(
    stack: Stack, mine: Mine, server: Server, create: Create
) -> None:
    """What one of twenty calls answers with an id stays: none is told of a row that another one withdraws."""
    call = partial(create, server, f"$ echo run >> {mine.witness}", an_agent(server), mine.key)
    with standing_still(stack.redis):
        answers = at_once([call] * 20)
    for answer in answers:
        assert answer.code in ("", "E501"), answer
        assert not answer.id or stack.get(answer.id)["metadata"]["id"] == answer.id
    again = eventually(call_until_served(call), what="the broker to be back")
    mine.runs_once(again.id)


@EDGES
def test_the_same_key_with_another_body(stack: Stack, mine: Mine, server: Server, create: Create) -> None:
    """One key is one request: another body is refused, the first execution is unchanged. Another key is another one."""
    agent = an_agent(server)
    first = create(server, "the first", agent, mine.key)
    second = create(server, "the second", agent, mine.key)
    other = create(server, "the second", agent, f"not-{mine.key}")
    assert (second.id, second.code) == ("", "ALREADY_EXISTS")
    assert "" != first.id != other.id
    assert stack.get(first.id)["spec"]["message"] == "the first"
    assert len(mine.stored()) == 2
    for id, _ in mine.stored():  # nothing is left to do for the next test
        server.cancel(id)


def call_until_served(call: Callable[[], Answer]) -> Callable[[], Answer | None]:
    def served() -> Answer | None:
        answer = call()
        assert answer.id or answer.code in ("E501", "UNAVAILABLE", "ConnectError"), answer
        return answer if answer.id else None

    return served


def kill_server(stack: Stack) -> None:
    """With its supervisor, which would start another one."""
    child = stack.server.child()
    os.kill(stack.server.pid, signal.SIGKILL)
    child.kill()
    stack.server.popen.wait(20)
