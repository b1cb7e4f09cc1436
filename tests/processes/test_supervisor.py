"""The supervisor with real children, real signals and a real HTTP server to report to."""

import contextlib
import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually

CHILD = """
import os, signal, sys, threading, time
life = sys.argv[1]
with open(sys.argv[2], "a") as journal:
    journal.write(f"{os.getpid()} {os.environ['AGENT_RUNNER_INCARNATION']}\\n")
if life == "broken":
    sys.stderr.write("noise\\n" + "=" * 9 + "\\nSTARTUP FAILURE: Import Error\\nno such module\\n" + "x" * 9000 + "\\n")
    sys.exit(1)
if life == "polite":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGQUIT, lambda *_: sys.exit(7))
if life == "followed" and len(open(sys.argv[2]).readlines()) == 1:
    os.kill(os.getppid(), signal.SIGUSR1)
    while not os.path.exists(sys.argv[2] + ".end"):
        time.sleep(0.02)
    sys.exit(71)
if life == "watching":
    fd = int(os.environ["AGENT_RUNNER_SUPERVISOR_FD"])
    os.read(fd, 1)
    sys.exit(0)
if life in ("held", "forked", "stopped"):
    sys.path.append(os.path.dirname(sys.argv[2]))
    from held import held
    from agent_runner.clients.process.signs_of_life import show_life
    show_life(2.0)
    first = len(open(sys.argv[2]).readlines()) == 1
    if life == "held" and first:
        held()
    if life == "forked" and first:
        if forked := os.fork():
            os.waitpid(forked, 0)
            open(sys.argv[2] + ".ended", "w").close()
        else:
            show_life(2.0)
            held()
time.sleep(60)
"""
HELD = """
import itertools
def held():
    sum(itertools.repeat(1, 4 * 10**9))  # one call in C, of a minute or so, which lets nobody have the interpreter
"""
RUN = """
import sys
from agent_runner.app.supervisor import supervise
url, *argv = sys.argv[1:]
told = lambda pid: print(pid, flush=True)
silent = lambda *seen: print("silent", *seen, flush=True)
sys.exit(supervise("worker", argv, queue="q", http_url=url, api_key="the key", ready=told, on_silent=silent))
"""


class Receiver:
    """Takes the exit reports: (monotonic time, authorization, body)."""

    def __init__(self) -> None:
        reports: queue.Queue[tuple[float, str, dict[str, Any]]] = queue.Queue()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reports.put((time.monotonic(), f"{self.path} {self.headers['Authorization']}", body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.reports = reports
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Supervised:
    def __init__(self, popen: "subprocess.Popen[str]", journal: Path) -> None:
        self.popen, self.journal = popen, journal

    def lives(self) -> list[tuple[int, str]]:
        """(pid, incarnation) of each child so far."""
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        return [(int(pid), incarnation) for pid, incarnation in (line.split() for line in lines)]

    def wait_lives(self, number: int) -> list[tuple[int, str]]:
        eventually(lambda: len(self.lives()) >= number, what=f"child number {number}")
        return self.lives()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def supervise(receiver: Receiver, tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(life: str, **options: Any) -> Supervised:
        journal = tmp_path / f"journal-{len(started)}"
        (tmp_path / "held.py").write_text(HELD)
        argv = [sys.executable, "-c", RUN, receiver.url, sys.executable, "-c", CHILD, life, str(journal)]
        popen = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        started.append(Supervised(popen, journal))
        return started[-1]

    yield start
    for each in started:
        each.popen.kill()
        each.popen.wait()
        for pid, _ in each.lives():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        each.popen.communicate()  # not before: its children hold these pipes too


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_that_asks_is_followed_before_its_end(supervise: Callable[..., Supervised], receiver: Receiver) -> None:
    """Its successor works while it ends; its own end is reported, and starts no third one."""
    supervisor = supervise("followed")
    (first, incarnation), (second, _) = supervisor.wait_lives(2)
    assert [alive(first), alive(second)] == [True, True]
    supervisor.journal.with_name(supervisor.journal.name + ".end").touch()
    _, _, body = receiver.reports.get(timeout=20)
    assert (incarnation, 71) == (body["incarnation"], body["exit_code"])
    assert [alive(first), alive(second)] == [False, True]
    supervisor.popen.send_signal(signal.SIGTERM)
    supervisor.popen.wait(20)
    assert len(supervisor.lives()) == 2
    assert not alive(second)


def test_a_killed_child_is_reported_at_once_and_started_again(
    supervise: Callable[..., Supervised], receiver: Receiver
) -> None:
    """The report names the signal and the incarnation; the next child is a new incarnation."""
    supervisor = supervise("plain")
    pid, incarnation = supervisor.wait_lives(1)[0]
    os.kill(pid, signal.SIGKILL)
    _, how, body = receiver.reports.get(timeout=20)
    assert how == "/v1/runner/exits Bearer the key"
    assert body == {
        "incarnation": incarnation,
        "role": "worker",
        "queue": "q",
        "signal": 9,
        "exit_code": None,
        "text": "",
        "startup": False,
    }
    lives = supervisor.wait_lives(2)
    assert lives[1][1] != incarnation
    assert supervisor.popen.stdout is not None
    assert supervisor.popen.stdout.readline().strip() == str(pid)


def test_a_failed_start_is_told_with_its_banner(supervise: Callable[..., Supervised], receiver: Receiver) -> None:
    """The text begins at the banner, is at most 4 KB long, and still reaches stderr; the pauses grow."""
    supervisor = supervise("broken")
    began, _, first = receiver.reports.get(timeout=20)
    assert first["startup"] is True
    assert first["exit_code"] == 1
    assert first["text"].startswith("STARTUP FAILURE: Import Error\nno such module\n")
    assert len(first["text"]) <= 4096
    times = [receiver.reports.get(timeout=40)[0] for _ in range(3)]
    assert times[2] - times[1] > times[0] - began  # four times as long, but for what a start takes
    supervisor.popen.terminate()
    _, errors = supervisor.popen.communicate(timeout=20)
    assert "noise" in errors
    assert "STARTUP FAILURE: Import Error" in errors


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGQUIT, 7)])
def test_signals_reach_the_child(
    supervise: Callable[..., Supervised], receiver: Receiver, sent: signal.Signals, code: int
) -> None:
    """SIGTERM and SIGQUIT are passed on, SIGINT as SIGTERM; the child's exit code is ours, and it stays down."""
    supervisor = supervise("polite")
    pid = supervisor.wait_lives(1)[0][0]
    eventually(lambda: _handles(pid, signal.SIGQUIT), what="the child has its handlers")
    supervisor.popen.send_signal(sent)
    assert supervisor.popen.wait(20) == code
    assert len(supervisor.lives()) == 1
    assert not alive(pid)
    assert receiver.reports.empty() is (code == 0)


def test_a_killed_supervisor_is_seen_by_its_child(supervise: Callable[..., Supervised]) -> None:
    """The pipe that only the supervisor holds ends with it."""
    supervisor = supervise("watching")
    pid = supervisor.wait_lives(1)[0][0]
    supervisor.popen.kill()
    supervisor.popen.wait()
    eventually(lambda: not alive(pid) or _zombie(pid), what="the child has ended")


def test_the_end_of_the_parents_pipe_stops_the_supervisor(supervise: Callable[..., Supervised]) -> None:
    """`dev` holds that pipe: however it ends, its supervisors end as on SIGTERM."""
    reading, writing = os.pipe()
    supervisor = supervise("polite", pass_fds=(reading,), env={**os.environ, "AGENT_RUNNER_PARENT_FD": str(reading)})
    os.close(reading)
    pid = supervisor.wait_lives(1)[0][0]
    eventually(lambda: _handles(pid, signal.SIGTERM), what="the child has its handlers")
    os.close(writing)
    assert supervisor.popen.wait(20) == 0


def test_a_child_whose_interpreter_is_held_is_ended(supervise: Callable[..., Supervised], receiver: Receiver) -> None:
    """It says where its threads are and is followed by another; the report says why, and in which call it was. A child
    that is stopped for as long, as by a debugger, lives on."""
    stopped = supervise("stopped")
    (other, _) = stopped.wait_lives(1)[0]
    eventually(lambda: _handles(other, signal.SIGABRT), what="the child shows life")
    os.kill(other, signal.SIGSTOP)
    supervisor = supervise("held")
    pid, incarnation = supervisor.wait_lives(2)[0]
    _, _, body = receiver.reports.get(timeout=20)
    assert (body["incarnation"], body["signal"], body["startup"]) == (incarnation, signal.SIGABRT, False)
    assert "so its supervisor ended it; it was in held (held.py:4)" in body["text"]
    os.kill(other, signal.SIGCONT)
    _stop(supervisor, stopped)
    assert supervisor.popen.stdout is not None
    assert f"silent {pid} 2" in supervisor.popen.stdout.read()
    assert supervisor.popen.stderr is not None
    errors = supervisor.popen.stderr.read()
    assert 'held.py", line 4 in held' in errors[errors.index("Current thread") :].splitlines()[1]
    assert len(stopped.lives()) == 1


def test_a_forked_process_whose_interpreter_is_held_is_ended_alone(
    supervise: Callable[..., Supervised], receiver: Receiver
) -> None:
    """As a child of the prefork pool: it has an incarnation of its own, and the process that forked it works on."""
    supervisor = supervise("forked")
    pid, incarnation = supervisor.wait_lives(1)[0]
    eventually(supervisor.journal.with_name(f"{supervisor.journal.name}.ended").exists, what="the forked one has ended")
    _, _, body = receiver.reports.get(timeout=20)
    assert body["incarnation"].startswith(f"{incarnation}.")
    assert body["text"].endswith("it was in held (held.py:4)")
    assert alive(pid)
    _stop(supervisor)
    assert len(supervisor.lives()) == 1


def _stop(*supervisors: Supervised) -> None:
    for supervisor in supervisors:
        supervisor.popen.send_signal(signal.SIGTERM)
    for supervisor in supervisors:
        supervisor.popen.wait(20)


def test_the_supervisor_is_small() -> None:
    """It imports neither Celery nor gRPC nor any task: what takes a worker down must not take it down."""
    ours = ("agent_runner.tasks", "agent_runner.clients", "agent_runner.status")
    assert not _imported("agent_runner.app.supervisor", "celery", "kombu", "grpc", "langgraph", "pydantic", *ours)


def test_the_command_that_supervises_imports_no_database_and_no_client() -> None:
    """Every process of a stack has one, and reads its settings: that costs no driver of a database it never opens."""
    unused = ("sqlalchemy", "psycopg", "httpx", "rich", "redis", "celery", "grpc", "langgraph", "fastapi")
    assert not _imported("agent_runner.app.cli.commands.roles", *unused)


def _imported(module: str, *packages: str) -> list[str]:
    """Those modules of the packages that a new Python has after `import module`."""
    look = (
        "import sys, importlib; importlib.import_module(sys.argv[1]);"
        " print(*sorted(m for m in sys.modules if any(f'{m}.'.startswith(f'{n}.') for n in sys.argv[2:])))"
    )
    argv = [sys.executable, "-c", look, module, *packages]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def _handles(pid: int, number: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
