"""A Redis of a test's own: with TLS, full, or with an ACL."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis as client

from agent_runner.app.dev.tied import tied
from tests.support.ports import free_port
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Server:
    port: int
    tls_ca: Path | None

    @property
    def url(self) -> str:
        scheme, query = ("rediss", f"?ssl_ca_certs={self.tls_ca}") if self.tls_ca else ("redis", "")
        return f"{scheme}://127.0.0.1:{self.port}/0{query}"

    def admin(self) -> "client.Redis":
        return client.Redis.from_url(self.url, socket_timeout=5)


@contextlib.contextmanager
def redis_server(folder: Path, *, tls: bool = False) -> Iterator[Server]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    port, ca = free_port(), folder / "cert.pem" if tls else None
    argv = [program, "--save", "", "--dir", str(folder), "--bind", "127.0.0.1"]
    if ca is not None:
        certificate(folder)
        argv += ["--port", "0", "--tls-port", str(port), "--tls-cert-file", str(ca), "--tls-ca-cert-file", str(ca)]
        argv += ["--tls-key-file", str(folder / "key.pem"), "--tls-auth-clients", "no"]
    else:
        argv += ["--port", str(port)]
    with subprocess.Popen(tied(argv), stdout=subprocess.DEVNULL) as process:
        server = Server(port, ca)

        def answers() -> bool:
            with contextlib.suppress(client.RedisError), server.admin() as admin:
                return bool(admin.ping())
            return False

        try:
            eventually(lambda: process.poll() is not None or answers(), what="redis-server")
            if process.poll() is not None:
                pytest.skip("this redis-server has no TLS")
            yield server
        finally:
            process.terminate()


def certificate(folder: Path) -> None:
    """For 127.0.0.1, by itself."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    argv = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
