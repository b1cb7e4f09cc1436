"""Which hosts commands may reach through the proxy: `AGENT_RUNNER_SANDBOX_ALLOWED_HOSTS`.

An entry is a name (`example.org`), a name and all below it (`*.example.com`), an address or a network (`10.1.2.3`,
`10.1.0.0/16`, `[fd00::1]`). A colon and a port may follow; without them the ports are 80 and 443. A name that leads to
an address of this machine or of a private network is refused unless that address is listed too: the owner of a listed
name decides where it leads.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WEB_PORTS = frozenset({80, 443})
SETTING = "AGENT_RUNNER_SANDBOX_ALLOWED_HOSTS"
_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NotAllowed(Exception):
    """The text tells the command what was refused, and the operator what to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str = ""
    network: Network | None = None
    ports: frozenset[int] = WEB_PORTS


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, given: str) -> "AllowedHosts":
        """Entries with commas or blanks between them. Raises ValueError, which names the wrong entry."""
        return cls(tuple(_entry(one) for one in given.replace(",", " ").split()))

    def check_name(self, host: str, port: int) -> None:
        """Check a host before it is looked up. Raises NotAllowed."""
        if (address := _address(host)) is not None:
            if not self._lists(address, port):
                raise _refused(f"{host}:{port}")
        elif not any(port in entry.ports and _matches(entry.name, host) for entry in self.entries):
            raise _refused(f"{host}:{port}")

    def reachable(self, host: str, port: int, found: Iterable[str]) -> Sequence[str]:
        """The addresses in `found` that may be connected to. Raises NotAllowed if there is none."""
        good = [one for one in found if self._may(ipaddress.ip_address(one.partition("%")[0]), port)]
        if not good:
            raise NotAllowed(
                f"{host}:{port} leads to an address of this machine or of a private network, which is not listed."
                f" Allow the address itself in {SETTING} of the worker if commands are to reach it."
            )
        return good

    def _may(self, address: Address, port: int) -> bool:
        return is_public(address) or self._lists(address, port)

    def _lists(self, address: Address, port: int) -> bool:
        plain = _plain(address)
        return any(e.network is not None and port in e.ports and plain in e.network for e in self.entries)


def is_public(address: Address) -> bool:
    """Whether it is an address of the internet; an IPv6 address that contains an IPv4 one counts as that one."""
    plain = _plain(address)
    return plain.is_global and not (plain.is_multicast or plain.is_reserved or plain.is_unspecified)


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one contains (NAT64, mapped, 6to4, Teredo); else the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv6Network("64:ff9b::/96")
        if address in nat64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address
    return address


def _refused(what: str) -> NotAllowed:
    return NotAllowed(f"{what} is not one of the hosts that commands may reach. Add it to {SETTING} of the worker.")


def _matches(name: str, host: str) -> bool:
    host = host.lower().rstrip(".")
    if name.startswith("*."):
        return host == name[2:] or host.endswith(name[1:])
    return bool(name) and host == name


def _entry(given: str) -> _Entry:
    host, ports = given, WEB_PORTS
    if found := re.fullmatch(r"(\[[^\]]+\](?:/\d+)?|[^:]+):(\d{1,5})", given):
        host, ports = found[1], frozenset({int(found[2])})
    host = host.replace("[", "").replace("]", "").lower().rstrip(".")
    if not all(0 < port < 1 << 16 for port in ports):
        raise ValueError(f"{given!r} has no port between 1 and 65535")
    try:
        return _Entry(network=ipaddress.ip_network(host, strict=False), ports=ports)
    except ValueError:
        if not _NAME.fullmatch(host) or host.replace(".", "").isdigit():
            raise ValueError(f"{given!r} is no host name, address or network") from None
    return _Entry(name=host, ports=ports)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
