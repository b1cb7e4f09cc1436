"""Whose program is at the other end of a loopback connection, by the kernel's tables."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from agent_runner.clients.process.own_user import is_own_user
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tables are those of Linux")

Ends = tuple[socket.socket, socket.socket]


@contextmanager
def connected(family: socket.AddressFamily, listening: str, asked: str) -> Iterator[Ends]:
    """The end that asked and the end that was asked."""
    with socket.socket(family) as listener:
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        with suppress(OSError):
            listener.bind((listening, 0))
        if not listener.getsockname()[1]:
            pytest.skip(f"this machine has no {listening}")
        listener.listen()
        with socket.create_connection((asked, listener.getsockname()[1])) as one, listener.accept()[0] as other:
            yield one, other


def ends(of: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    return of.getpeername()[:2], of.getsockname()[:2]


@pytest.mark.parametrize(
    ("family", "listening", "asked"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET, "127.0.0.1", "localhost"),
     (socket.AF_INET6, "::1", "::1"), (socket.AF_INET6, "::", "127.0.0.1")],
)  # fmt: skip
def test_a_connection_of_this_process(family: socket.AddressFamily, listening: str, asked: str) -> None:
    """Is its own user's, over IPv4, IPv6 and IPv4 on an IPv6 socket; not with another port, nor once it is closed."""
    with connected(family, listening, asked) as (one, other):
        (host, port), own = ends(other)
        assert is_own_user((host, port), own)
        assert not is_own_user((host, port + 1), own)
        one.close()
        eventually(lambda: not is_own_user((host, port), own), what="the end of the connection")


@pytest.mark.parametrize("host", ["192.0.2.1", "testclient", "", "2001:db8::1"])
def test_an_address_that_is_not_loopback(host: str) -> None:
    """Is nobody's own."""
    assert not is_own_user((host, 1), ("127.0.0.1", 2))
