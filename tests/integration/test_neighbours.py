"""Nobody stops his neighbours: while one org does what is bounded, another org's short run takes about its usual time.

What one org does here is our own bounded version of each thing that has a limit; the other org's run is measured with
and without it in the same test, and only the ratio is looked at.
"""

import contextlib
import io
import socket
import statistics
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.command_pb2_grpc import AgentExecutionCommandControllerStub
from agent_runner.status.log.bounds import MAX_SECRETS
from tests.integration.stack import Stack

TIMES_SLOWER = 3.0
RUNS = 5
TRIES = 4
"""Other programs use the machine too."""
Act = Callable[[Stack, httpx.Client], None]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    limits = {"AGENT_RUNNER_MAX_STREAMS_PER_KEY": "20", "AGENT_RUNNER_HTTP_HEAD_S": "2"}
    with Stack.open(tmp_path_factory.mktemp("neighbours"), **limits) as opened:
        opened.start_worker()
        yield opened


@contextlib.contextmanager
def org(stack: Stack, name: str) -> Iterator[httpx.Client]:
    """A client with a key of this org."""
    made = stack.http.post("/v1/keys", json={"name": name, "scopes": ["admin"], "org": name})
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    with httpx.Client(base_url=stack.http.base_url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def masked_output(stack: Stack, noisy: httpx.Client) -> None:
    """As many secrets as a run may have, and a command that prints what begins like all of them."""
    env = {f"S{number}": "a" * (20 + number % 100) + str(number) for number in range(MAX_SECRETS)}
    message = "Print.\n$ head -c 60000 /dev/zero | tr '\\0' a"
    assert noisy.post("/v1/executions", params={"wait": 30}, json={"message": message, "env": env}).status_code == 201


def large_messages(stack: Stack, noisy: httpx.Client) -> None:
    """What is just accepted, what is refused, and lists of all of it."""
    assert noisy.post("/v1/executions", json={"message": "m" * 900_000}).status_code == 201
    assert noisy.post("/v1/executions", json={"message": "m" * 2_000_000}).status_code == 413
    assert noisy.get("/v1/executions", params={"page_size": 500}).status_code == 200


def streams(stack: Stack, noisy: httpx.Client) -> None:
    """More event streams than a key may have."""
    id = noisy.post("/v1/executions", json={"message": "Wait.\n$ sleep 2"}).json()["metadata"]["id"]

    def read(_: int) -> int:
        with noisy.stream("GET", f"/v1/executions/{id}/events") as answer:
            return answer.status_code if sum(map(len, answer.iter_bytes())) else 0

    with ThreadPoolExecutor(30) as readers:
        assert set(readers.map(read, range(30))) <= {200, 429}


def slow_senders(stack: Stack, noisy: httpx.Client) -> None:
    """Heads that never end, until they are cut off."""
    with contextlib.ExitStack() as opened:
        for _ in range(50):
            sender = opened.enter_context(socket.create_connection(("127.0.0.1", stack.http_port), timeout=20))
            sender.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: ")
        assert sender.recv(100).startswith(b"HTTP/1.1 408")


def health(stack: Stack, noisy: httpx.Client) -> None:
    """What anybody may ask, as fast as one connection asks it."""
    assert noisy.get("/readyz").status_code == 200
    assert noisy.get("/metrics").status_code == 200


def front_matter(stack: Stack, noisy: httpx.Client) -> None:
    """A skill whose text stands for more than is written."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SKILL.md", "---\nname: &a x\nlist: [" + ", ".join(["*a"] * 2000) + "]\n---\nbody")
    answer = noisy.post(
        "/v1/skills", params={"name": "s"}, content=packed.getvalue(), headers={"Content-Type": "application/zip"}
    )
    assert answer.status_code == 400


def grpc_messages(stack: Stack, noisy: httpx.Client) -> None:
    """Over gRPC: what is too large, what comes without a key, and more calls at once than are looked at."""
    large = AgentExecution()
    large.spec.message = "m" * 2_000_000
    key = (("authorization", noisy.headers["authorization"]),)
    with grpc.insecure_channel(f"127.0.0.1:{stack.grpc_port}") as channel:
        stub = AgentExecutionCommandControllerStub(channel)
        calls = [stub.create.future(large, metadata=known, timeout=60) for known in (key, ()) * 8]
        codes = {call.code() for call in calls}
    assert grpc.StatusCode.UNAUTHENTICATED in codes
    assert grpc.StatusCode.OK not in codes


def much_said(stack: Stack, noisy: httpx.Client) -> None:
    """A run that always has more to say than one message to the server holds."""
    lines = "\n".join("$ seq 20000" for _ in range(8))
    answer = noisy.post("/v1/executions", params={"wait": 60}, json={"message": f"Count.\n{lines}"})
    assert answer.json()["status"]["phase"] == "EXECUTION_COMPLETED", answer.text


def secrets(stack: Stack, noisy: httpx.Client) -> None:
    """More secrets than a run may have, in number and in bytes."""
    for env in ({f"S{n}": f"value-{n}" for n in range(MAX_SECRETS + 1)}, {"S": "s" * 40_000}):
        assert noisy.post("/v1/executions", json={"message": "x", "env": env}).status_code == 400


ACTS: list[Act] = [
    masked_output, large_messages, streams, slow_senders, health, front_matter, grpc_messages, much_said, secrets,
]  # fmt: skip


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_a_neighbour_is_hardly_noticed(stack: Stack, act: Act) -> None:
    """The median of the other org's runs stays below three times its usual one, and each of them completes."""
    with org(stack, "noisy") as noisy, org(stack, "quiet") as quiet:
        for left in reversed(range(TRIES)):
            usual = median_of_runs(quiet)
            with going_on(act, stack, noisy) as times:
                beside = median_of_runs(quiet)
            assert times
            print(f"{act.__name__}: {beside / usual:.2f} x {usual:.3f} s")
            if beside < TIMES_SLOWER * usual:
                return
            assert left, f"{act.__name__}: a run takes {beside / usual:.1f} times as long"


def median_of_runs(quiet: httpx.Client) -> float:
    return statistics.median(short_run(quiet) for _ in range(RUNS))


def short_run(quiet: httpx.Client) -> float:
    """Seconds from the request to the answer with the end."""
    began = time.monotonic()
    ended = quiet.post("/v1/executions", params={"wait": 60}, json={"message": "Say hello."})
    took = time.monotonic() - began
    assert ended.status_code == 201, ended.text
    assert ended.json()["status"]["phase"] == "EXECUTION_COMPLETED", ended.text
    return took


@contextlib.contextmanager
def going_on(act: Act, stack: Stack, noisy: httpx.Client) -> Iterator[list[int]]:
    """`act`, again and again in a thread, from its first end on or while it lasts; what it raises is raised here."""
    over, begun, times = threading.Event(), threading.Event(), list[int]()

    def go_on() -> None:
        while not over.is_set():
            begun.set()
            act(stack, noisy)
            times.append(1)

    with ThreadPoolExecutor(1) as thread:
        going = thread.submit(go_on)
        assert begun.wait(20)
        try:
            yield times
        finally:
            over.set()
            going.result(120)
