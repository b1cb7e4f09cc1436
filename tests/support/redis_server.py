"""A real redis-server of a test's own: on a port, a unix socket or with TLS. It ends with the test's process."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import redis

from agent_runner.app.dev.redis import find_redis_server
from agent_runner.app.dev.tied import tied
from tests.support.ports import free_port
from tests.support.waiting import eventually

CA, KEY = "cert.pem", "key.pem"


class RedisServer:
    """One server with its files in `folder`; tests kill it and start it again.

    `durable` keeps what was written over a kill. `tls` makes a certificate for 127.0.0.1, and skips the test where
    openssl or a redis-server with TLS is missing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        socket: bool = False,
        tls: bool = False,
        durable: bool = False,
    ) -> None:
        self.folder, self.tls = folder, tls
        self.port = 0 if socket else port or free_port()
        self.socket = folder / "redis.sock"
        self._durable = durable
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if not self.port:
            return f"unix://{self.socket}"
        if self.tls:
            return f"rediss://127.0.0.1:{self.port}/0?ssl_ca_certs={self.folder / CA}"
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    @property
    def argv(self) -> list[str]:
        listening = ["--bind", "127.0.0.1", "--port", str(self.port)]
        if not self.port:
            listening = ["--port", "0", "--unixsocket", str(self.socket)]
        elif self.tls:
            listening = ["--bind", "127.0.0.1", "--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            ca, key = str(self.folder / CA), str(self.folder / KEY)
            listening += ["--tls-cert-file", ca, "--tls-ca-cert-file", ca, "--tls-key-file", key]
        kept = ["--appendonly", "yes"] if self._durable else []
        return tied([str(find_redis_server()), *listening, "--dir", str(self.folder), "--save", "", *kept])

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path, *, socket: bool = False, tls: bool = False, durable: bool = False) -> Iterator[Self]:
        server = cls(folder, socket=socket, tls=tls, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.kill()

    def start(self) -> None:
        if self.tls:
            certificate(self.folder)
        self._popen = process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        eventually(lambda: process.poll() is not None or self._answers(), what="redis-server")
        if self.tls and process.poll() is not None:
            pytest.skip("this redis-server has no TLS")

    def kill(self) -> None:
        assert self._popen is not None
        self._popen.kill()
        self._popen.wait()

    def client(self) -> "redis.Redis":
        """Answers are `str`."""
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


def certificate(folder: Path) -> None:
    """For 127.0.0.1, signed by itself, once per folder."""
    if (folder / CA).exists():
        return
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    argv = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", KEY, "-out", CA]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
