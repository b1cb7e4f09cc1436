"""The embedded stack, which `agent-runner dev` and `agent-runner run` start and stop.

There is one stack per data directory. A lock guards the directory; the kernel frees it, however the process ends.
Order of start: Redis, then all roles at once (the server migrates the database). The stack is up when each role
answers. Order of end: first the worker, the orchestrator and Flower, then the server, then Redis.
"""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from agent_runner.app.dev.processes import Lifeline, RoleProcess, end_all
from agent_runner.app.dev.redis import EmbeddedRedis, find_redis_server, free_port, port_is_free
from agent_runner.app.dev.tied import KERNEL_ENDS
from agent_runner.clients.process.local_stack import (
    API_KEY_NAME,
    FILE_NAME,
    FLOWER_PASSWORD_NAME,
    LOCK_NAME,
    SECRET_KEY_NAME,
)
from agent_runner.clients.settings.settings import Settings

START_LIMIT_S = 120.0
REDIS_LIMIT_S = 10.0
FAILED_STARTS = 2
"""A role that printed its startup failure this many times will not come up."""
PORT_WAIT_S = 5.0
ANSWER_S = 2.0
DRAIN_S = 5.0
"""How long running executions may go on when a stack of one machine stops, unless a setting says otherwise."""
KILL_AFTER_DRAIN_S = 10.0
KNOWN_KEY = "AGENT_RUNNER_KNOWN_KEY_FOR_OWN_USER"
SERVER, WORKER, ORCHESTRATOR, FLOWER, REDIS = "server", "worker", "orchestrator", "flower", "redis"
ONLY_FOR = {
    "AGENT_RUNNER_DATABASE_URL": SERVER,
    "AGENT_RUNNER_SECRET_KEY": SERVER,
    "AGENT_RUNNER_FLOWER_PASSWORD": FLOWER,
}
"""Variables that only the named role of the stack gets."""


class StackError(RuntimeError):
    """The stack cannot be started, or did not come up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """The parts of the stack to start. Port 0 means any free port."""

    settings: Settings
    http_port: int = 0
    grpc_port: int = 0
    flower_port: int = 0
    with_worker: bool = True
    with_flower: bool = True
    keep_endpoint: bool = False
    """Workers report to the endpoint that is set (a proxy in front of the server), not to the server itself."""
    write: Callable[[str, bytes], None] = lambda role, line: None
    """Takes each line that a role's process writes."""
    known_key: bool = False
    """`dummy-local-key` counts as a key that the stack made itself, for programs of its own user."""
    announce: bool = True
    """Tell other commands of this data directory about it (`dev.json`)."""


class Stack:
    """One running stack. Call `start`, then `tend` now and then, then `stop`. `stop` may be called at any time."""

    def __init__(self, plan: StackPlan) -> None:
        self.plan = plan
        self.data_dir = plan.settings.data_dir
        self.has_own_key = not plan.settings.given("api_key")
        """No key is set, so the stack uses a random one, made once per data directory."""
        self.has_own_flower_password = not plan.settings.flower_password.get_secret_value()
        self._key = "" if self.has_own_key else plan.settings.api_key.get_secret_value()
        self._flower_password = plan.settings.flower_password.get_secret_value()
        self._roles: dict[str, RoleProcess] = {}
        self._lifeline: Lifeline | None = None
        self._lock: int | None = None
        self._redis: EmbeddedRedis | None = None
        self.impatient = False
        """A second Ctrl-C sets it while `stop` waits. Then `stop` waits no longer."""
        self._announced = False
        self._http_port = self._grpc_port = self._flower_port = 0

    def start(
        self, *, stopping: Callable[[], bool] = lambda: False, say: Callable[[str], None] = lambda _: None
    ) -> None:
        """Returns when everything is up, or early when `stopping()`. Raises `StackError` or `RedisMissing`."""
        needs_redis = not (self.plan.settings.given("broker_url") and _redis_is_given(self.plan.settings))
        executable = find_redis_server() if needs_redis else None
        self._lock_data_dir()
        if self.has_own_key:
            self._key = kept_secret(self.data_dir / API_KEY_NAME)
        if self.has_own_flower_password:
            self._flower_password = kept_secret(self.data_dir / FLOWER_PASSWORD_NAME)
        self._choose_ports()
        if executable is not None:
            self._start_redis(executable, stopping)
        if stopping():
            return
        # The server first: the others need it, and each of them keeps a processor busy while it starts.
        for role in self._planned():
            self._start(role)
        self._wait_until_up(stopping, say)
        if self.plan.announce and not stopping():
            self._announce()

    def tend(self, say: Callable[[str], None]) -> None:
        """Start roles again that have died."""
        for process in self._roles.values():
            if said := process.restart_if_dead():
                say(said)

    def stop(self) -> None:
        """End all processes of the stack and wait for their end. No process is left afterwards."""
        within_s = self._drain_s() + KILL_AFTER_DRAIN_S
        groups = ((FLOWER, ORCHESTRATOR, WORKER), (SERVER,), (REDIS,))
        for group in groups:
            end_all(
                [self._roles[role] for role in group if role in self._roles],
                within_s=within_s,
                impatient=lambda: self.impatient,
            )
        self._clean_up()

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `dev.json`: the addresses of all parts, and what the stack made itself of key and password."""
        settings = self.plan.settings
        own_key = {"api_key": self._key} if self.has_own_key else {}
        own_password = {"flower_password": self._flower_password} if self.has_own_flower_password else {}
        return {
            **own_key,
            **own_password,
            "pid": os.getpid(),
            "http_url": self.http_url,
            "grpc_endpoint": self.grpc_endpoint,
            "flower_url": self.flower_url,
            "broker_url": self._broker_url(),
            "redis_url": self._redis_url(),
            "database_url": settings.database_url,
            "checkpoint_url": settings.checkpoint_url,
        }

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def page_url(self) -> str:
        """The page's address. A key that the user did not set is in the fragment, which browsers never send."""
        return f"{self.http_url}/#key={self._key}" if self.has_own_key else f"{self.http_url}/"

    @property
    def key(self) -> str:
        """The API key of the server, once `start` has begun."""
        return self._key

    @property
    def facts_file(self) -> Path:
        return self.data_dir / FILE_NAME

    @property
    def grpc_endpoint(self) -> str:
        return f"127.0.0.1:{self._grpc_port}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self._flower_port}" if self.plan.with_flower else ""

    def _planned(self) -> list[str]:
        worker = [WORKER] if self.plan.with_worker else []
        return [SERVER, *worker, ORCHESTRATOR, *([FLOWER] if self.plan.with_flower else [])]

    def _lock_data_dir(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise StackError(
                f"another stack (process {pid}) runs in {self.data_dir}. Stop it, use it with --server, or give this"
                " one another directory with --data-dir."
            ) from None
        os.truncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _choose_ports(self) -> None:
        self._http_port = _port(self.plan.http_port, "HTTP", "--http-port 0")
        self._grpc_port = _port(self.plan.grpc_port, "gRPC", "--grpc-port 0")
        self._flower_port = _port(self.plan.flower_port, "Flower", "--flower-port 0") if self.plan.with_flower else 0

    def _start_redis(self, executable: Path, stopping: Callable[[], bool]) -> None:
        self._redis = redis = EmbeddedRedis(executable=executable, folder=self.data_dir / "redis", port=free_port())
        redis.prepare()
        self._start(REDIS)
        deadline = monotonic() + REDIS_LIMIT_S
        while not redis.answers():
            if stopping():
                return
            if monotonic() > deadline:
                raise StackError(f"{executable} does not answer after {REDIS_LIMIT_S:g} s: {redis.log_tail()}")
            sleep(0.05)

    def _start(self, role: str) -> None:
        alone = ["--alone"] if KERNEL_ENDS else []
        arguments = {
            FLOWER: ["--port", str(self._flower_port), *alone],
            REDIS: [str(self._redis.executable), str(self._redis.folder), *alone] if self._redis else [],
        }.get(role, [])
        self._lifeline = self._lifeline or Lifeline()
        self._roles[role] = RoleProcess(role, arguments, self._environment(role), self._lifeline, self.plan.write)

    def _environment(self, role: str) -> Mapping[str, str]:
        settings = self.plan.settings
        ours = {
            "AGENT_RUNNER_DATA_DIR": str(self.data_dir),
            "AGENT_RUNNER_BROKER_URL": self._broker_url(),
            "AGENT_RUNNER_REDIS_URL": self._redis_url(),
            "AGENT_RUNNER_DATABASE_URL": settings.database_url,
            "AGENT_RUNNER_CHECKPOINT_URL": settings.checkpoint_url,
            "AGENT_RUNNER_HTTP_PORT": str(self._http_port),
            "AGENT_RUNNER_GRPC_PORT": str(self._grpc_port),
            "AGENT_RUNNER_HTTP_URL": self.http_url,
            "AGENT_RUNNER_SECRET_KEY": settings.secret_key.get_secret_value() or kept_secret_key(self.data_dir),
            "AGENT_RUNNER_FLOWER_PASSWORD": self._flower_password,
            "AGENT_RUNNER_WORKSPACE": str(settings.workspace or Path.cwd()),
            "STIGMER_API_KEY": self._key,
        }
        # No TLS within one machine. An empty variable counts as not set, and it overrides `.env`.
        ours |= dict.fromkeys(("AGENT_RUNNER_TLS_CERT", "AGENT_RUNNER_TLS_KEY", "AGENT_RUNNER_TLS_CA"), "")
        if not (self.plan.keep_endpoint and settings.given("backend_endpoint")):
            ours["STIGMER_BACKEND_ENDPOINT"] = self.grpc_endpoint
        if self.plan.with_flower and not settings.given("page_links"):
            ours["AGENT_RUNNER_PAGE_LINKS"] = f"Flower={self.flower_url}/task/{{execution_id}}:execute"
        if not settings.given("drain_timeout_s"):
            ours["AGENT_RUNNER_DRAIN_TIMEOUT_S"] = f"{DRAIN_S:g}"
        # A command of an agent that reaches this machine's network is a program of this user too.
        if self.plan.known_key and self.has_own_key and settings.sandbox_network == "off":
            ours.setdefault(KNOWN_KEY, os.environ.get(KNOWN_KEY, "true"))
        merged = {**os.environ, **ours}
        return {name: value for name, value in merged.items() if ONLY_FOR.get(name, role) == role}

    def _broker_url(self) -> str:
        settings = self.plan.settings
        return settings.broker_url if settings.given("broker_url") or not self._redis else self._redis.url

    def _redis_url(self) -> str:
        settings = self.plan.settings
        return settings.redis_url if _redis_is_given(settings) or not self._redis else self._redis.url

    def _drain_s(self) -> float:
        settings = self.plan.settings
        return settings.drain_timeout_s if settings.given("drain_timeout_s") else DRAIN_S

    def _wait_until_up(self, stopping: Callable[[], bool], say: Callable[[str], None]) -> None:
        missing = self._planned()
        deadline = monotonic() + START_LIMIT_S
        while missing and not stopping():
            up = self._up(missing)
            for role in up:
                say(f"{role} is up")
            missing = [role for role in missing if role not in up]
            self._complain(missing, late=monotonic() > deadline)
            sleep(0.1 if missing else 0)

    def _complain(self, missing: list[str], *, late: bool) -> None:
        """Raises `StackError` for a role that will not come up: it ended, it failed to start twice, or it is late."""
        for role, process in self._roles.items():
            hopeless = process.failed_starts >= FAILED_STARTS and role in missing
            if process.exit_code is not None or hopeless or (late and role in missing):
                why = "does not start" if not late else f"is not up after {START_LIMIT_S:g} s"
                raise StackError(f"{role} {why}. It wrote:\n{process.tail()}")

    def _up(self, missing: list[str]) -> list[str]:
        up = []
        if SERVER in missing:
            return [SERVER] if _ask(f"{self.http_url}/readyz", self._key).status == 200 else []
        if WORKER in missing or ORCHESTRATOR in missing:
            online = self._online()
            up += [role for role in (WORKER, ORCHESTRATOR) if role in missing and role in online]
        if FLOWER in missing and _ask(self.flower_url).status in (200, 302, 401):
            up.append(FLOWER)
        return up

    def _online(self) -> set[str]:
        with suppress(ValueError):
            told = _ask(f"{self.http_url}/v1/workers", self._key)
            rows: list[dict[str, Any]] = json.loads(told.body).get("workers") or []
            return {str(row.get("role")) for row in rows if row.get("state") == "online"}
        return set()

    def _announce(self) -> None:
        temporary = self.data_dir / f"{FILE_NAME}.new"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self.facts, file)
        temporary.replace(self.facts_file)
        self._announced = True

    def _clean_up(self) -> None:
        if self._announced:
            self.facts_file.unlink(missing_ok=True)
        if self._redis is not None:
            self._redis.remove()
        if self._lifeline is not None:
            self._lifeline.close()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = self._lifeline = self._redis = None
        self._roles = {}


def kept_secret_key(data_dir: Path) -> str:
    """The key that stored secrets are sealed with."""
    return kept_secret(data_dir / SECRET_KEY_NAME)


def kept_secret(path: Path) -> str:
    """The secret in this file. It is made once, at random, and only this user can read it."""
    if not path.exists():
        # The file appears complete. Else another stack that starts at the same time could read only a part of it.
        made, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # for this user only
        try:
            with os.fdopen(made, "w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(made)
            with suppress(FileExistsError):
                os.link(name, path)
        finally:
            os.unlink(name)
    return path.read_text().strip()


def _redis_is_given(settings: Settings) -> bool:
    return settings.given("redis_url") or (
        settings.given("broker_url") and settings.broker_url.startswith(("redis://", "rediss://"))
    )


def _port(wanted: int, what: str, option: str) -> int:
    if not wanted:
        return free_port()
    if not port_is_free(wanted, within_s=PORT_WAIT_S):
        raise StackError(f"port {wanted} ({what}) is in use; {option} takes a free one")
    return wanted


class _Told(NamedTuple):
    status: int
    body: bytes


def _ask(url: str, key: str = "") -> _Told:
    """GET, without a proxy and without following redirects; status 0 without an answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_S)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("GET", parts.path or "/", headers=headers)
        answer = connection.getresponse()
        return _Told(answer.status, answer.read())
    except (OSError, HTTPException):
        return _Told(0, b"")
    finally:
        connection.close()
