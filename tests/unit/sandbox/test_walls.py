"""What is let in: the command line of bubblewrap, on any machine."""

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner.clients.sandbox import walls as module
from agent_runner.clients.sandbox.isolation import check_isolation, isolation_of
from agent_runner.clients.sandbox.kinds.offered import sandbox_said
from agent_runner.clients.sandbox.walls import Walls, may_show, write_etc
from agent_runner.clients.settings.settings import Settings, SettingsError, load_settings


def binds(line: list[str], kind: str) -> list[str]:
    return [line[n + 2] for n, word in enumerate(line) if word == kind]


@pytest.fixture
def line(tmp_path: Path) -> Callable[..., list[str]]:
    def made(*shown: Path, **walls: object) -> list[str]:
        (tmp_path / "box").mkdir(exist_ok=True)
        write_etc(tmp_path / "box", tmp_path / "box" / "workspace")
        return Walls(bubblewrap="/usr/bin/bwrap", **walls).command_line(tmp_path / "box", shown)  # type: ignore[arg-type]

    return made


def test_every_namespace_is_a_new_one(line: Callable[..., list[str]]) -> None:
    """The network too, unless the setting shares this machine's."""
    wanted = {f"--unshare-{name}" for name in ("user", "pid", "ipc", "uts", "cgroup", "net")}
    assert wanted <= set(line())
    assert wanted - set(line(network=True)) == {"--unshare-net"}
    assert {"--disable-userns", "--die-with-parent", "--new-session", "--clearenv"} <= set(line())


def test_only_what_is_named_is_writable(line: Callable[..., list[str]], tmp_path: Path) -> None:
    """The session's directory, its temporary files, the user's entries; an entry within another is in it."""
    mine = [tmp_path / "mine" / "app", tmp_path / "mine" / "app" / "deep", tmp_path / "mine" / "docs"]
    for path in mine:
        path.mkdir(parents=True)
    writable = binds(line(*mine), "--bind")
    assert set(writable) == {str(tmp_path / "box" / name) for name in ("tmp", "workspace")} | {
        str(mine[0]),
        str(mine[2]),
    }
    assert line()[-2:] == ["--remount-ro", "/"]
    mine[2].rmdir()
    assert str(mine[2]) not in line(*mine)


def test_of_etc_only_parts_are_let_in(line: Callable[..., list[str]]) -> None:
    """No passwords, no keys; the names of users are our own."""
    let_in = {path for path in binds(line(), "--ro-bind") if path.startswith("/etc")}
    assert "/etc" not in let_in
    assert not [path for path in let_in if any(word in path for word in ("shadow", "private", "ssh", "sudo", "cron"))]
    assert {"/etc/passwd", "/etc/group", "/etc/hosts"} <= let_in
    assert "/etc/resolv.conf" not in let_in


def test_more_can_be_let_in_to_be_read(line: Callable[..., list[str]], tmp_path: Path) -> None:
    """By the setting, where it is there."""
    (tmp_path / "data").mkdir()
    let_in = binds(line(read_only=(tmp_path / "data", tmp_path / "not there")), "--ro-bind")
    assert str(tmp_path / "data") in let_in
    assert str(tmp_path / "not there") not in let_in


@pytest.mark.parametrize("name", ["pip.conf", ".env", ".netrc"])
def test_a_python_beside_a_secret_stays_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """And so does one that the home or the sandbox itself is in."""
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\n")
    monkeypatch.setattr(sys, "prefix", str(venv))
    assert venv in module._python(tmp_path / "box")
    assert venv not in module._python(venv / ".agent-runner" / "sandboxes" / "one")
    (venv / name).write_text("password")
    assert venv not in module._python(tmp_path / "box")
    monkeypatch.setattr(sys, "prefix", str(Path.home()))
    assert Path.home() not in module._python(tmp_path / "box")


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/usr/share", False),
        ("/etc", False),
        ("/", False),
        ("app", True),
        ("", False),
        ("file", True),
        ("socket", False),
    ],
)
def test_which_entries_may_be_shown(tmp_path: Path, path: str, may: bool) -> None:
    """Files and directories; no part of the system, and nothing that the sandboxes are in."""
    (tmp_path / "app").mkdir()
    (tmp_path / "file").touch()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
    assert may_show(tmp_path / path, [tmp_path / "data"]) is may


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("no-such-program", "bubblewrap (no-such-program) is not installed"),
        ("false", "bubblewrap ended at once (exit code 1)"),
    ],
)
def test_where_it_does_not_work_the_reason_is_kept(program: str, why: str) -> None:
    """For doctor, the presence and the log."""
    settings = Settings(sandbox="local", sandbox_bubblewrap=program, sandbox_users="none")
    found = isolation_of(settings)
    assert found.walls is None
    assert why in found.reason
    assert sandbox_said(settings) == f"not isolated: {found.reason}"
    assert check_isolation(settings) is found, "on one's own machine it is told, and goes on"


def test_without_a_sandbox_there_is_nothing_to_wall_off() -> None:
    """No program is tried."""
    assert check_isolation(Settings(sandbox="none", mode="production", sandbox_bubblewrap="no")) is None


@pytest.mark.parametrize(
    ("paths", "said"),
    [("data", "must be absolute paths below /"), ("/opt:/", "must be absolute"), ("/srv", "holds the data directory")],
)
def test_what_must_not_be_let_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, paths: str, said: str) -> None:
    """A relative path, everything, the data directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_RUNNER_DATA_DIR", "/srv/agent-runner")
    monkeypatch.setenv("AGENT_RUNNER_SANDBOX_READ_ONLY", paths)
    with pytest.raises(SettingsError, match=said):
        load_settings("worker")
