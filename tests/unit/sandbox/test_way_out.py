"""Commands with a list of hosts reach these through the worker's proxy, and nothing else."""

import asyncio
import http.server
import ipaddress
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent_runner.clients.sandbox.local import CommandResult, LocalSandbox
from agent_runner.clients.sandbox.network import proxy
from agent_runner.clients.sandbox.network.allowed_hosts import AllowedHosts, NotAllowed, is_public
from agent_runner.clients.settings.settings import Settings
from tests.unit.sandbox.conftest import own_walls
from tests.unit.sandbox.questions import PYTHON, until

HERE = "127.0.0.2"
"""An address of this machine that NO_PROXY does not name."""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"you asked for {self.path}, {self.headers.get('Proxy-Connection')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server on this machine."""
    with http.server.ThreadingHTTPServer((HERE, 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
async def box(tmp_path: Path, port: int) -> AsyncIterator[LocalSandbox]:
    opened = boxed(tmp_path / "box", f"{HERE}:{port},localhost:{port}")
    yield opened
    await opened.close()


def boxed(root: Path, hosts: str) -> LocalSandbox:
    return LocalSandbox(root, walls=replace(own_walls(), allowed=AllowedHosts.of(hosts))).open()


async def python(box: LocalSandbox, program: str) -> CommandResult:
    (box.work_dir / "program.py").write_text(program)
    return await box.execute(f"{PYTHON} program.py", 40)


def fetched(url: str) -> str:
    return (
        "import urllib.request, urllib.error\n"
        f"try: print(urllib.request.urlopen('{url}', timeout=20).read().decode())\n"
        "except urllib.error.HTTPError as e: print(e.code, e.read().decode())\n"
    )


async def test_a_listed_host(box: LocalSandbox, port: int) -> None:
    """Programs reach it by the variables that they know; what is meant for the proxy does not arrive there."""
    assert "you asked for /a?b=1, None" in (await python(box, fetched(f"http://{HERE}:{port}/a?b=1"))).output


async def test_another_host(box: LocalSandbox, port: int) -> None:
    """It is refused with a text that names the setting, whatever its port or address; and so is what is no request."""
    for url in (
        f"http://{HERE}:{port + 1}/",
        "http://127.0.0.3/",
        "http://169.254.169.254/latest",
        "http://a.example/",
    ):
        output = (await python(box, fetched(url))).output
        assert "403" in output
        assert "AGENT_RUNNER_SANDBOX_ALLOWED_HOSTS" in output
    said = await python(
        box,
        "import socket\n"
        "for line in (b'nonsense', b'GET / HTTP/1.1', b'CONNECT : HTTP/1.1', b'GET ftp://a/ HTTP/1.1'):\n"
        "    s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(line + b'\\r\\n\\r\\n')\n"
        "    print(s.recv(4096).split(b' ')[1])\n",
    )
    assert said.output.split() == ["b'400'"] * 4


async def test_a_listed_name_of_this_machine(box: LocalSandbox, port: int) -> None:
    """The name alone opens no address of this machine: whoever owns a name decides where it leads."""
    asked = (
        "import http.client\n"
        "c = http.client.HTTPConnection('127.0.0.1', 3128)\n"
        f"c.request('GET', 'http://localhost:{port}/'); a = c.getresponse(); print(a.status, a.read().decode())\n"
    )
    output = (await python(box, asked)).output
    assert output.startswith("403")
    assert "private network" in output


async def test_a_tunnel(box: LocalSandbox, port: int) -> None:
    """CONNECT gives the bytes of both sides; what was sent behind the head is not lost; its end is passed on."""
    output = await python(
        box,
        "import socket\n"
        "s = socket.create_connection(('127.0.0.1', 3128))\n"
        f"s.sendall(b'CONNECT {HERE}:{port} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /inside HTTP/1.0\\r\\n\\r\\n')\n"
        "told = b''\n"
        "while data := s.recv(4096): told += data\n"
        "print(told.decode())\n",
    )
    assert output.output.startswith("HTTP/1.1 200 Connection established")
    assert "you asked for /inside" in output.output


async def test_no_way_around_it(box: LocalSandbox, port: int) -> None:
    """The host that the proxy reaches cannot be reached without it, and no name is looked up inside."""
    direct = f"import socket\nsocket.create_connection(('{HERE}', {port}), timeout=5)\n"
    assert (await python(box, direct)).exit_code
    assert (await python(box, "import socket\nsocket.getaddrinfo('example.com', 80)\n")).exit_code


async def test_each_run_has_its_own(tmp_path: Path, port: int) -> None:
    """Two runs with lists of their own, at once; with the end of a run its connections end."""
    one, two = boxed(tmp_path / "one", f"{HERE}:{port}"), boxed(tmp_path / "two", "")
    try:
        url = f"http://{HERE}:{port}/"
        answers = await asyncio.gather(python(one, fetched(url)), python(two, fetched(url)))
        assert ["you asked for" in answer.output for answer in answers] == [True, False]
        stay = "import socket, time\ns = socket.create_connection(('127.0.0.1', 3128))\nprint(1, flush=True)\n"
        stay += "time.sleep(99)"
        (one.work_dir / "stay.py").write_text(stay)
        await one.execute(f"{PYTHON} stay.py > out & for i in $(seq 200); do grep -q 1 out && break; sleep 0.05; done")
        kept = one._kept
        assert kept is not None
        assert kept.way_out is not None
        way_out = kept.way_out
        assert await until(lambda: way_out._open)
    finally:
        await one.close()
        await two.close()
    assert await until(lambda: not way_out._open)
    assert await until(lambda: way_out._listener.fileno() == -1)


async def test_more_connections_than_places(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones that are too many wait for a place, and get their answer then."""
    monkeypatch.setattr(proxy, "MOST_CONNECTIONS", 2)
    box = boxed(tmp_path / "box", f"{HERE}:{port}")
    many = (
        "import urllib.request as u, concurrent.futures as f\n"
        f"get = lambda n: u.urlopen('http://{HERE}:{port}/', timeout=30).status\n"
        "print(sum(f.ThreadPoolExecutor(12).map(get, range(24))))\n"
    )
    try:
        assert (await python(box, many)).output.strip() == str(24 * 200)
    finally:
        await box.close()


@pytest.mark.parametrize(
    ("hosts", "asked", "may"),
    [
        ("packages.example.org", "packages.example.org:443", True),
        ("packages.example.org", "PACKAGES.example.org.:80", True),
        ("packages.example.org", "packages.example.org:22", False),
        ("packages.example.org", "a.packages.example.org:443", False),
        ("*.example.com", "a.b.example.com:443", True),
        ("*.example.com", "example.com:443", True),
        ("*.example.com", "badexample.com:443", False),
        ("git.example.net:8443", "git.example.net:8443", True),
        ("git.example.net:8443", "git.example.net:443", False),
        ("10.1.0.0/16", "10.1.2.3:80", True),
        ("10.1.0.0/16", "10.2.2.3:80", False),
        ("10.1.0.0/16", "::ffff:10.1.2.3:80", True),
        ("[fd00::1]:8080", "fd00::1:8080", True),
        ("", "packages.example.org:443", False),
        ("packages.example.org", "2130706433:80", False),
    ],
)
def test_what_is_listed(hosts: str, asked: str, may: bool) -> None:
    """Names by the letter and without their case, addresses by their network; ports as listed, else the web's."""
    host, _, port = asked.rpartition(":")
    if may:
        AllowedHosts.of(hosts).check_name(host, int(port))
    else:
        with pytest.raises(NotAllowed):
            AllowedHosts.of(hosts).check_name(host, int(port))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "ff02::1"],
)  # fmt: skip
def test_addresses_that_no_name_opens(address: str) -> None:
    """This machine, private networks, the cloud's metadata, and IPv6 addresses that stand for one of these."""
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(NotAllowed):
        AllowedHosts.of("name.example").reachable("name.example", 443, [address])
    assert AllowedHosts.of("name.example").reachable("name.example", 443, [address, "1.1.1.1"]) == ["1.1.1.1"]


@pytest.mark.parametrize(
    "entry", ["http://packages.example.org", "a b:99999", "a.example:0", "*", "1.2.3", "-a.example", "10.0.0.0/99"]
)
def test_a_list_that_cannot_be_read(entry: str) -> None:
    """It is refused with the settings, and the entry is named."""
    with pytest.raises(ValidationError, match=r"is no host name|has no port"):
        Settings(sandbox_allowed_hosts=entry)
