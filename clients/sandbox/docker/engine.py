"""The engine, by the docker SDK: one client per process, and its errors in words that a user can act on.

The SDK is imported when a worker offers this kind, and not before.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agent_runner.clients.sandbox.kinds.port import SandboxError

EXTRA = "the docker SDK is not installed: pip install 'agent-runner[docker]'"
DEFAULT_URL = "unix:///var/run/docker.sock"
ANSWER_S = 60.0
"""For one call; a busy engine may take long to create a container."""
BUFFERED_BYTES = 64 << 10


class NoSuchContainer(SandboxError):
    """The container, or a program in it, is not there any more."""


class Taken(SandboxError):
    """The engine has a container of that name already."""


class Engine:
    """`api` is the SDK's client of this process: a forked child has its own."""

    def __init__(self, url: str) -> None:
        self.url = url or os.environ.get("DOCKER_HOST") or DEFAULT_URL
        self._made: tuple[int, Any] | None = None
        self._making = threading.Lock()

    @property
    def api(self) -> Any:
        """Raises SandboxError where the extra is missing or the engine does not tell its version."""
        with self._making:
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), self._client())
            return self._made[1]

    def _client(self) -> Any:
        try:
            import docker
        except ImportError as error:
            raise SandboxError(EXTRA) from error
        _look_at(self.url)
        try:
            options = {}
            if os.environ.get("DOCKER_TLS_VERIFY") and not self.url.startswith("unix:"):
                pair = (_pem("cert.pem"), _pem("key.pem"))
                options = {"tls": docker.TLSConfig(ca_cert=_pem("ca.pem"), client_cert=pair, verify=True)}
            return docker.APIClient(base_url=self.url, version="auto", timeout=ANSWER_S, **options)
        except docker.errors.DockerException as error:
            raise SandboxError(f"the engine at {self.url} cannot be used: {_cause(error)}") from error

    def close(self) -> None:
        """Close the connections that are idle. It can be used again."""
        with self._making:
            made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            made[1].close()

    @contextmanager
    def errors(self, doing: str) -> Iterator[Any]:
        """The client; what fails is a SandboxError that says what was done. Raises NoSuchContainer, Taken too."""
        api = self.api
        import docker
        import requests

        try:
            yield api
        except docker.errors.ImageNotFound as error:
            raise SandboxError(f"{doing}: {_said(error)}; pull it on the engine's machine") from error
        except docker.errors.NotFound as error:
            raise NoSuchContainer(f"{doing}: {_said(error)}") from error
        except docker.errors.APIError as error:
            kind = Taken if error.response is not None and error.response.status_code == 409 else SandboxError
            raise kind(f"{doing}: {_said(error)}") from error
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise SandboxError(f"{doing}: the engine at {self.url} does not answer ({_cause(error)})") from error


def _look_at(url: str) -> None:
    """Before the SDK does, which names neither the file nor what is wrong with it. Raises SandboxError."""
    if not url.startswith("unix:"):
        return
    path = url.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as trial:
            trial.settimeout(ANSWER_S)
            trial.connect(path)
    except OSError as error:
        raise SandboxError(f"the engine at {url} cannot be used: {error.strerror or error}") from error


def _pem(name: str) -> str:
    return os.path.join(os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker"), name)


def _said(error: Any) -> str:
    return str(error.explanation or error)


def _cause(error: BaseException) -> str:
    """The innermost cause: requests and urllib3 wrap it several times."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Stream:
    """A hijacked connection: bytes in both directions, without waiting. Closing it is what the engine notices."""

    def __init__(self, made: Any) -> None:
        # The SDK gives the raw socket below a buffered reader, which may have read more than the answer's head.
        self._answer = made._response.raw._fp
        self._socket = getattr(made, "_sock", made)
        self._socket.settimeout(0)
        with contextlib.suppress(OSError, ValueError):
            self._first = bytes(self._answer.fp.peek(BUFFERED_BYTES) or b"")
        self._ended = False

    _first = b""

    def fileno(self) -> int:
        return int(self._socket.fileno())

    def read(self) -> bytes | None:
        """What is there now; None if nothing is, empty at the end."""
        if self._first:
            found, self._first = self._first, b""
            return found
        try:
            return bytes(self._socket.recv(BUFFERED_BYTES))
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return None if type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError") else b""

    def send(self, data: bytes) -> int:
        """How much was taken. Raises OSError."""
        try:
            return int(self._socket.send(data))
        except BlockingIOError:
            return 0

    def end_input(self) -> None:
        """The program reads the end of its input; what it writes still comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError, ValueError):
            self._answer.close()  # with the reader above the socket
        self._socket.close()


class Frames:
    """Takes a stream of the engine apart: (1 for output or 2 for errors, bytes)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        self._rest += chunk
        while len(self._rest) >= 8:
            size = int.from_bytes(self._rest[4:8], "big")
            if len(self._rest) < 8 + size:
                return
            kind, data, self._rest = self._rest[0], self._rest[8 : 8 + size], self._rest[8 + size :]
            yield kind, data
