"""`agent-runner run` and `agent-runner dev` as a user meets them: embedded stack, one command, nothing left behind."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.integration.rabbitmq import EVERY_BROKER, messages_ready
from tests.integration.stack import delete_queues, own_queues
from tests.support.waiting import eventually

pytestmark = EVERY_BROKER

PROGRAM = Path(sys.executable).parent / "agent-runner"
SERVICES = json.loads((Path(__file__).parents[1] / "contract" / "wire_contract.json").read_text())["services"]
READY = re.compile(r"READY http=(\S+) grpc=(\S+) flower=(\S+) key_file=(\S+)")


@contextmanager
def environment_of(broker: str) -> Iterator[dict[str, str]]:
    """Without a broker's URL the command brings its own Redis; with RabbitMQ's that carries wake-ups and results."""
    own = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"], "AGENT_RUNNER_DEMO_TOKEN_DELAY_MS": "1"}
    if not broker:
        yield own
        return
    queues = own_queues()
    yield {**own, **queues, "AGENT_RUNNER_BROKER_URL": broker}
    runners, _ = queues.values()
    assert messages_ready(broker, runners) == 0, "it was used, and left nothing there"
    delete_queues(broker, *queues.values())


@pytest.fixture
def environment(broker: str) -> Iterator[dict[str, str]]:
    with environment_of(broker) as found:
        yield found


def run(folder: Path, environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(PROGRAM), "run", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def processes_in(folder: Path) -> list[str]:
    """Processes whose working directory or command line is in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = [*(process.info["cmdline"] or []), process.info["cwd"] or ""]
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.mark.promise("2.13")
def test_run_shows_the_execution_and_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    """Phases, todos, tools with real results, two sub-agents, an answer; no process and no socket afterwards."""
    (tmp_path / "poem.txt").write_text("one\ntwo\nthree\n")
    message = "Look.\n$ wc -l poem.txt\n$ echo two\n$ exit 3\n@researcher $ echo left\n@reviewer $ echo right"
    done = run(tmp_path, environment, message)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("PENDING", "IN_PROGRESS", "COMPLETED", "3 poem.txt", "researcher", "reviewer", "left", "right"):
        assert expected in done.stdout, expected
    assert processes_in(tmp_path) == []
    sockets = [p for p in tmp_path.rglob("*") if p.is_socket()]
    assert sockets == []


@pytest.mark.promise("0.25")
def test_run_json_is_one_document(tmp_path: Path, environment: dict[str, str]) -> None:
    """One JSON document on stdout; a call is the same in both lists; identical commands are two calls."""
    done = run(tmp_path, environment, "--json", "$ echo same\n$ echo same\n$ exit 3")
    assert done.returncode == 0, done.stderr
    execution = json.loads(done.stdout)
    calls = execution["status"]["tool_calls"]
    inside = [c for m in execution["status"]["messages"] for c in m.get("tool_calls", [])]
    assert calls == inside
    assert [(c["args"]["command"], c["status"]) for c in calls] == [
        ("echo same", "TOOL_CALL_COMPLETED"),
        ("echo same", "TOOL_CALL_COMPLETED"),
        ("exit 3", "TOOL_CALL_FAILED"),
    ]
    assert len({c["id"] for c in calls}) == 3
    assert execution["status"]["phase"] == "EXECUTION_COMPLETED"


Dev = tuple["subprocess.Popen[str]", re.Match[str]]


@pytest.fixture(scope="module")
def devs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Dev]]:
    """The one of each broker, from the first test that wants it to the end of the module."""
    with ExitStack() as opened:

        @functools.cache
        def of(broker: str) -> Dev:
            environment = opened.enter_context(environment_of(broker))
            return opened.enter_context(running_dev(tmp_path_factory.mktemp("dev"), environment))

        yield of


@pytest.fixture
def dev(devs: Callable[[str], Dev], broker: str) -> Dev:
    return devs(broker)


@contextmanager
def running_dev(folder: Path, environment: dict[str, str]) -> Iterator[Dev]:
    """Ended by SIGTERM, nothing left."""
    process, ready = started_dev(folder, environment)
    yield process, ready
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 0
    eventually(lambda: not processes_in(folder), what="no process of the stack left")


def started_dev(folder: Path, environment: dict[str, str]) -> Dev:
    """`agent-runner dev` on free ports, when it is ready."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--flower-port", "0", "--data-dir", str(folder / "data"))
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "dev", *ports],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    ready = next((found for line in lines if (found := READY.search(line))), None)
    assert ready is not None, "dev ended without being ready"
    return process, ready


def command_of(process: psutil.Process) -> str:
    """Empty for a process that has just ended: helpers of a start come and go."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_dev_is_separate_processes_and_shows_every_service(dev: Dev) -> None:
    """Redis, server, worker, orchestrator and Flower each have a process; reflection lists the whole contract."""
    process, ready = dev
    commands = [command_of(child) for child in psutil.Process(process.pid).children(recursive=True)]
    for role in ("server", "worker", "orchestrator", "flower"):
        assert any(f"agent-runner {role}" in c for c in commands), (role, commands)
    assert any("redis-server" in c for c in commands)
    with grpc.insecure_channel(ready.group(2)) as channel:
        listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert set(SERVICES) <= listed
    assert {"agent_runner.v1.Runner", "agent_runner.v1.Executions", "grpc.health.v1.Health"} <= listed
    assert httpx.get(ready.group(3)).status_code == 401
    password = json.loads(Path(ready.group(4)).read_text())["flower_password"]
    assert httpx.get(ready.group(3), auth=("admin", password), follow_redirects=True).status_code == 200


def test_dev_restarts_what_dies(dev: Dev) -> None:
    """A killed worker, with its supervisor, is there again and serves; so is Flower, which has none."""
    process, ready = dev
    (flower,) = [one for one in psutil.Process(process.pid).children() if "agent-runner flower" in command_of(one)]
    flower.kill()
    flower.wait()
    key = json.loads(Path(ready.group(4)).read_text())["api_key"]
    with httpx.Client(base_url=ready.group(1), headers={"Authorization": f"Bearer {key}"}) as http:
        for supervisor in psutil.Process(process.pid).children():
            if supervisor.cmdline()[-1] == "worker":
                for victim in (supervisor, *supervisor.children(recursive=True)):
                    victim.kill()
        created = http.post("/v1/executions?wait=30", json={"message": "$ echo back"}, timeout=40)
        assert created.json()["status"]["phase"] == "EXECUTION_COMPLETED", created.text
    eventually(lambda: httpx.get(ready.group(3)).status_code == 401, what="Flower again")


def test_a_killed_dev_leaves_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    """Its pipe ends the supervisors, and the kernel what has none."""
    process, _ = started_dev(tmp_path, environment)
    process.kill()
    process.communicate()
    eventually(lambda: not processes_in(tmp_path), what="no process of the stack left")
