"""Whether the program at the other end of a loopback connection runs as this process's own user (Linux).

Who could read a file of mode 0600 of ours is such a program. The kernel's tables of TCP sockets name the owner of each
end (proc(5), `/proc/net/tcp`); a connection that is not in them, or any other system, counts as somebody else's.
"""

import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
ESTABLISHED = "01"
"""A connection that is being closed belongs to nobody any more: its row says user 0."""
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
"""Headers of a proxy over HTTP. Behind a proxy of our own user may be anybody: what has one is nobody's own."""
LOCAL, REMOTE, STATE, OWNER = 1, 2, 3, 7


def is_own_user(peer: tuple[str, int], own: tuple[str, int]) -> bool:
    """`peer` and `own` are the addresses and ports of the two ends; both must be loopback."""
    try:
        ends = [(_address(host), port) for host, port in (peer, own)]
    except ValueError:
        return False
    if not all(host.is_loopback for host, _ in ends):
        return False
    wanted = [{_shown(host, port) for host in _forms(host)} for host, port in ends]
    return any(
        row[LOCAL] in wanted[0] and row[REMOTE] in wanted[1] and row[STATE] == ESTABLISHED
        and row[OWNER] == str(os.getuid())
        for row in _rows()
    )  # fmt: skip


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Raises ValueError. An IPv4 end of an IPv6 socket is an IPv4 address."""
    address = ipaddress.ip_address(host)
    return (address.version == 6 and address.ipv4_mapped) or address


def _rows() -> Iterator[list[str]]:
    for table in TABLES:
        with suppress(OSError):
            yield from (row.split() for row in table.read_text().splitlines()[1:])


def _forms(host: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[bytes]:
    """As the tables write it: an IPv4 end of an IPv6 socket stands in the second table."""
    yield host.packed
    if host.version == 4:
        yield ipaddress.IPv6Address(f"::ffff:{host}").packed


def _shown(packed: bytes, port: int) -> str:
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
