"""Real processes for the integration tests: redis-server, server, workers, orchestrator, each on ports of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from amqp.exceptions import ChannelError
from kombu import Connection

from tests.support.databases import copied
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

KEY = "integration-test-key"
LAST_BREATH_S = 20.0
"""What a killed supervisor leaves ends by itself: at once, or when a machine full of work comes to it."""
Json = dict[str, Any]
TERMINAL = {"EXECUTION_COMPLETED", "EXECUTION_FAILED", "EXECUTION_CANCELLED"}


@dataclass
class Process:
    """A supervisor of ours with its child, or a program under test without one."""

    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def child(self) -> psutil.Process:
        """The supervised process, once it is there."""
        own = psutil.Process(self.pid)
        return eventually(lambda: next(iter(own.children()), None), what=f"child of {self.name}")

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def ask_to_stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()

    def end(self) -> None:
        """At once, with the child: for what a test is done with. What these two have started ends by itself."""
        if self.popen.poll() is None:
            with contextlib.suppress(psutil.Error):
                own = psutil.Process(self.pid)
                own.suspend()  # it would start another child
                for child in own.children():
                    child.kill()
            self.popen.kill()
            self.popen.wait(5)

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.ask_to_stop()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(5)


@dataclass
class Stack:
    """`with Stack.open(tmp_path) as stack:` Redis and server run; workers are started by the test.

    With `broker` (a URL) messages go over that one, on queues of this stack's own; without, over the stack's Redis.
    """

    folder: Path
    settings: dict[str, str]
    broker: str = ""
    programs: Path = Path(sys.executable).parent
    """Where the Python of the processes and their `agent-runner` are: this environment's, or another checkout's."""
    runner_queue: str = "agent_execution_runner"
    orchestrator_queue: str = "agent_execution_stigmer"
    redis_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    processes: list[Process] = field(default_factory=list)
    spawned: int = 0

    @classmethod
    def open(cls, folder: Path, broker: str = "", **settings: str) -> Self:
        if not broker:
            return cls(folder=folder, settings=settings)
        own = own_queues()
        runner_queue, orchestrator_queue = own.values()
        return cls(
            folder=folder,
            settings={**own, **settings},
            broker=broker,
            runner_queue=runner_queue,
            orchestrator_queue=orchestrator_queue,
        )

    def __enter__(self) -> Self:
        self.witnesses.mkdir(parents=True)
        given = {"AGENT_RUNNER_DATABASE_URL", "PYTHONPATH"} & self.settings.keys()
        if not given and self.programs == Path(sys.executable).parent:
            copied(self.folder / "agent-runner.db")  # an old release would not know the newest tables
        # Supervisors end with this pipe: nothing is left behind even if the test's process is killed.
        self.lifeline = os.pipe()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.http_port}",
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=30,
            trust_env=False,
        )
        try:
            self.start_redis()
            self.start("server")
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    @property
    def witnesses(self) -> Path:
        """A folder that commands of agents see, and can write, at the same path as the test."""
        return self.folder / "shown" / "witnesses"

    def __exit__(self, *_: object) -> None:
        self.http.close()
        for process in self.processes:
            process.end()
        for end in self.lifeline:
            os.close(end)
        leftovers = self._survivors_after(LAST_BREATH_S)
        for survivor in leftovers:
            survivor.kill()
        if self.broker:
            delete_queues(self.broker, self.runner_queue, self.orchestrator_queue)
        assert not leftovers, f"left behind: {leftovers}"

    def stop_all(self) -> None:
        """As an operator would: all at once, but what they say good-bye to after them."""
        for process in self.processes:
            if process.name not in ("server", "redis"):
                process.ask_to_stop()
        for process in reversed(self.processes):
            process.stop()

    def _survivors_after(self, seconds: float) -> list[psutil.Process]:
        until = time.monotonic() + seconds
        while (found := self.survivors()) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def survivors(self) -> list[psutil.Process]:
        """Processes that carry this stack's data directory in their environment."""
        mark = f"AGENT_RUNNER_DATA_DIR={self.folder}"
        found = []
        for process in psutil.process_iter():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
                if mark in environment.split("\0") and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue  # it has just ended
        return found

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        redis = f"redis://127.0.0.1:{self.redis_port}/0"
        return (
            {
                "PATH": os.environ["PATH"],
                "HOME": os.environ.get("HOME", "/"),
                "AGENT_RUNNER_DATA_DIR": str(self.folder),
                "AGENT_RUNNER_BROKER_URL": self.broker or redis,
                "AGENT_RUNNER_REDIS_URL": redis,
                "AGENT_RUNNER_DATABASE_URL": f"sqlite:///{self.folder}/agent-runner.db",
                "AGENT_RUNNER_CHECKPOINT_URL": f"sqlite:///{self.folder}/checkpoints.db",
                "AGENT_RUNNER_HTTP_PORT": str(self.http_port),
                "AGENT_RUNNER_GRPC_PORT": str(self.grpc_port),
                "AGENT_RUNNER_SECRET_KEY": "a key for tests",
                "AGENT_RUNNER_DEMO_TOKEN_DELAY_MS": "1",
                "STIGMER_API_KEY": KEY,
                "STIGMER_BACKEND_ENDPOINT": f"127.0.0.1:{self.grpc_port}",
                "AGENT_RUNNER_CONCURRENCY": "10",
                "AGENT_RUNNER_WORKSPACE": str(self.witnesses.parent),
                "PYTHONUNBUFFERED": "1",
            }
            | self.settings
            | dict(extra or {})
        )

    def spawn(self, name: str, argv: list[str], extra: Mapping[str, str] | None = None) -> Process:
        log = self.folder / f"{name}-{self.spawned}.log"
        self.spawned += 1
        with log.open("wb") as output:
            popen = subprocess.Popen(
                argv,
                env=self.environment(extra) | {"AGENT_RUNNER_PARENT_FD": str(self.lifeline[0])},
                pass_fds=[self.lifeline[0]],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )
        process = Process(name=name, popen=popen, log=log)
        self.processes.append(process)
        return process

    def start_redis(self) -> Process:
        # Tied to this process, as all else is by the lifeline. Always by the program of today.
        argv = RedisServer(self.folder, port=self.redis_port, durable=True).argv
        process = self.spawn("redis", argv, {"PYTHONPATH": ""})
        self.redis = process
        eventually(lambda: _answers(self.redis_port), what="redis")
        return process

    def start(self, role: str, *arguments: str, **extra: str) -> Process:
        """A role as the Procfile starts it: `agent-runner <role>`."""
        script = [str(self.programs / "agent-runner")]
        if _is_old_release(self.environment(extra).get("PYTHONPATH", "")):
            script = ["-c", "from app.cli.main import main; main()"]
        process = self.spawn(role, [str(self.programs / "python"), *script, role, *arguments], extra)
        if role == "server":
            self.server = process
        return process

    def start_worker(self, **extra: str) -> Process:
        """A worker, waited for until the server knows it."""
        before = {w["incarnation"] for w in self.workers()} if self._up() else set()
        process = self.start("worker", **extra)
        eventually(
            lambda: {w["incarnation"] for w in self.workers()} - before,
            within_s=90,
            what=f"a new worker; it printed:\n{process.output()[-3000:]}",
        )
        return process

    def _up(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, within_s: float = 90.0) -> None:
        try:
            eventually(self._up, within_s=within_s, what="the server to answer")
        except AssertionError as late:
            raise AssertionError(f"{late}; it printed:\n{self.server.output()[-3000:]}") from None

    def workers(self) -> list[Json]:
        answer = self.http.get("/v1/workers").raise_for_status().json()
        return [w for w in answer["workers"] if w["role"] == "worker" and w.get("state", "online") == "online"]

    def create(self, message: Any, **given: Any) -> Json:
        answer = self.http.post("/v1/executions", json={"message": message, **given})
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()
        return created

    def get(self, id: str) -> Json:
        found: Json = self.http.get(f"/v1/executions/{id}").raise_for_status().json()
        return found

    def phase(self, id: str) -> str:
        return str(self.get(id)["status"]["phase"])

    def wait_for(self, id: str, *phases: str, within_s: float = 40.0) -> Json:
        """The execution as soon as it is in one of the phases (default: an end)."""
        wanted = set(phases) or TERMINAL

        def there() -> Json | None:
            found = self.get(id)
            return found if found["status"]["phase"] in wanted else None

        return eventually(there, within_s=within_s, what=f"{id} in {sorted(wanted)}")

    def wait_text(self, id: str, text: str, within_s: float = 30.0) -> Json:
        """The execution once `text` stands anywhere in its status."""
        return eventually(
            lambda: found if text in json.dumps((found := self.get(id))["status"]) else None,
            within_s=within_s,
            what=f"{text!r} in the status of {id}",
        )

    def events(self, id: str, last_event_id: int | None = None) -> Iterator[tuple[int, str, Json]]:
        """(id, event, data) of the SSE stream until it closes."""
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        with self.http.stream("GET", f"/v1/executions/{id}/events", headers=headers, timeout=60) as answer:
            answer.raise_for_status()
            frame: dict[str, str] = {}
            for line in answer.iter_lines():
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(":")
                    frame[name] = value.strip()
                elif frame:
                    yield int(frame.get("id", -1)), frame.get("event", "message"), json.loads(frame["data"])
                    frame = {}


def own_queues() -> dict[str, str]:
    """The settings of both queues' names, which nobody else uses: a RabbitMQ may serve several stacks."""
    own = uuid.uuid4().hex[:12]
    return {
        "AGENT_EXECUTION_RUNNER_TASK_QUEUE": f"test_{own}_runner",
        "AGENT_EXECUTION_STIGMER_TASK_QUEUE": f"test_{own}_orchestrator",
    }


def delete_queues(url: str, *names: str) -> None:
    """With the exchanges that Celery makes for them."""
    with Connection(url, connect_timeout=5) as connection:
        for name in names:
            for delete in ("queue_delete", "exchange_delete"):
                with contextlib.suppress(ChannelError):
                    getattr(connection.default_channel, delete)(name)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _is_old_release(python_path: str) -> bool:
    """From before there was `agent_runner.app`: its packages are found under their own names."""
    return any(
        (Path(folder) / "app" / "cli" / "main.py").exists() for folder in python_path.split(os.pathsep) if folder
    )
