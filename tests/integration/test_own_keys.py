"""A stack with keys of its own, and Flower that shows without levers, as a user meets them."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from agent_runner.clients.process.local_stack import API_KEY_NAME, FILE_NAME
from tests.integration.test_command_line import PROGRAM, processes_in
from tests.support.waiting import eventually

HTTP_PORT = "AGENT_RUNNER_HTTP_PORT"
READY = re.compile(r"READY http=(\S+) grpc=\S+ flower=(\S+)(?: key_file=(\S+))?")
LINK = re.compile(r"the page: (\S+)")


@contextmanager
def dev(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, str, str, str]]:
    """The addresses of HTTP and of Flower, the key file, the link to the page."""
    own = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"]} | environment
    ports = ("--http-port", "0", "--grpc-port", "0", "--flower-port", "0", "--data-dir", str(folder / "data"))
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "dev", *ports, *arguments],
        cwd=folder,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said, rest = process.stdout, threading.Thread()
    try:
        lines = iter(said.readline, "")
        ready = next((found for line in lines if (found := READY.search(line))), None)
        assert ready is not None, "dev ended without being ready"
        link = next(found.group(1) for line in lines if (found := LINK.search(line)))
        rest = threading.Thread(target=said.read)  # or the pipe fills up
        rest.start()
        yield ready.group(1), ready.group(2), ready.group(3) or "", link
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        if rest.ident:
            rest.join()
        said.close()
    eventually(lambda: not processes_in(folder), what="no process of the stack left")


def status(url: str, key: str) -> int:
    return httpx.get(f"{url}/v1/executions", headers={"Authorization": f"Bearer {key}"}).status_code


def seen(flower: str, password: str) -> int:
    return httpx.get(flower, auth=("admin", password), follow_redirects=True).status_code


def test_a_stack_with_keys_of_its_own(tmp_path: Path) -> None:
    """Random, in files of the user alone, the same after a restart; commands of that directory find the key."""
    with dev(tmp_path) as (http, flower, key_file, link):
        facts = json.loads(Path(key_file).read_text())
        key, password = facts["api_key"], facts["flower_password"]
        assert min(len(key), len(password)) >= 32
        assert key != password
        for path in (Path(key_file), tmp_path / "data" / API_KEY_NAME):
            assert path.stat().st_mode & 0o777 == 0o600, path
        data = tmp_path / "data"
        assert [path for path in (data, *data.rglob("*")) if path.lstat().st_mode & 0o077] == []
        assert link == f"{http}/#key={key}"
        assert [status(http, each) for each in (key, "dummy-local-key", password)] == [200, 200, 401]
        assert [seen(flower, each) for each in (key, "dummy-local-key", password)] == [401, 200, 200]
        listed = subprocess.run(
            [sys.executable, str(PROGRAM), "executions", "list"],
            env={"PATH": os.environ["PATH"], "AGENT_RUNNER_DATA_DIR": str(tmp_path / "data")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.returncode == 0, listed.stderr
    with dev(tmp_path) as (http, _, key_file, _):
        assert json.loads(Path(key_file).read_text())["api_key"] == key


def test_the_known_key_opens_nothing_to_others(tmp_path: Path) -> None:
    """In a stack with a key of its own: not to other users, not behind a proxy, not where a setting refuses it."""
    with dev(tmp_path) as (http, flower, _, _):
        assert [status_as_nobody(url, "dummy-local-key") for url in (f"{http}/v1/executions", flower)] == [401, 401]
        proxied = {"Authorization": "Bearer dummy-local-key", "X-Forwarded-For": "127.0.0.1"}
        assert httpx.get(f"{http}/v1/executions", headers=proxied).status_code == 401
    with dev(tmp_path, AGENT_RUNNER_KNOWN_KEY_FOR_OWN_USER="false") as (http, flower, _, _):
        assert (status(http, "dummy-local-key"), seen(flower, "dummy-local-key")) == (401, 401)
    with dev(tmp_path, AGENT_RUNNER_SANDBOX_NETWORK="on") as (http, _, _, _):
        assert status(http, "dummy-local-key") == 401


AS_NOBODY = """
import encodings.idna, os, socket, sys  # all that is needed: another user may not read where Python lies
os.setuid(65534)
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(sys.stdin.buffer.read())
    print(connection.recv(12).split()[1].decode())
"""


def status_as_nobody(url: str, key: str) -> int:
    """What a program of another user is answered; the test is skipped where none can be started."""
    if os.getuid() != 0:
        pytest.skip("only root starts programs of other users")
    asked = httpx.URL(url)
    basic = base64.b64encode(f"admin:{key}".encode()).decode()
    word = f"Bearer {key}" if "/v1/" in url else f"Basic {basic}"
    head = f"GET {asked.path} HTTP/1.1\r\nHost: {asked.netloc.decode()}\r\nAuthorization: {word}\r\n\r\n"
    argv = [sys.executable, "-c", AS_NOBODY, str(asked.port)]
    return int(subprocess.run(argv, input=head.encode(), stdout=subprocess.PIPE, check=True).stdout)


def test_a_key_that_the_user_set_is_used(tmp_path: Path) -> None:
    """Also the one that everybody knows, on loopback; it is in no file, and Flower has a password of its own."""
    with dev(tmp_path, STIGMER_API_KEY="dummy-local-key") as (http, flower, key_file, link):
        assert (key_file, link) == ("", f"{http}/")
        facts = json.loads((tmp_path / "data" / FILE_NAME).read_text())
        assert "api_key" not in facts
        assert not (tmp_path / "data" / API_KEY_NAME).exists()
        assert [status(http, key) for key in ("dummy-local-key", facts["flower_password"])] == [200, 401]
        assert [seen(flower, word) for word in ("dummy-local-key", facts["flower_password"])] == [401, 200]


def test_a_run_by_itself_is_open_to_nobody(tmp_path: Path) -> None:
    """The stack of `agent-runner run` has a key of the data directory too; the one everybody knows opens nothing."""
    own = {"HOME": os.environ.get("HOME", "/"), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "run", "$ until test -e go; do sleep 0.1; done"],
        cwd=tmp_path,
        env=own | {"AGENT_RUNNER_DATA_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url = eventually(lambda: server_of(process.pid), what="the server to listen", within_s=60)
        eventually(lambda: answers(url), what="the server to answer")
        key = (tmp_path / "data" / API_KEY_NAME).read_text()
        assert [status(url, each) for each in (key, "dummy-local-key")] == [200, 401]
    finally:
        (tmp_path / "go").touch()
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said


def server_of(pid: int) -> str:
    """The HTTP address of the stack that this process has started; empty before there is one."""
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            if "agent-runner server" in " ".join(child.cmdline()) and (port := child.environ().get(HTTP_PORT)):
                return f"http://127.0.0.1:{port}"
    return ""


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", trust_env=False).is_success
    return False


def test_flower_shows_and_does_nothing(tmp_path: Path) -> None:
    """Told to only show: pages, the table of tasks and the API's lists are there; what changes something is refused."""
    own = {"AGENT_RUNNER_FLOWER_CONTROL": "false", "AGENT_RUNNER_FLOWER_PASSWORD": "of Flower"}
    with dev(tmp_path, STIGMER_API_KEY="of the server", **own) as (http, flower, key_file, link):
        assert (key_file, link) == ("", f"{http}/"), "a key that was given is not shown"
        assert status(http, "of the server") == 200
        assert seen(flower, "of the server") == 401
        with httpx.Client(base_url=flower, auth=("admin", "of Flower"), follow_redirects=True, timeout=30) as client:
            for path in ("/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
                assert client.get(path).status_code == 200, path
            workers = eventually(lambda: client.get("/api/workers?refresh=1").json(), what="Flower to know a worker")
            assert client.post("/tasks/datatable", data={}).status_code != 403
            name = next(iter(workers))
            for path in (f"worker/shutdown/{name}", f"worker/pool/grow/{name}", "task/revoke/1?terminate=true",
                         "task/apply/x", "task/send-task/x", "task/abort/1"):  # fmt: skip
                refused = client.post(f"/api/{path}")
                assert refused.status_code == 403, path
                assert "AGENT_RUNNER_FLOWER_CONTROL" in refused.text
        assert status(http, "of the server") == 200
