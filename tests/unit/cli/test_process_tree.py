"""A stack ends with everything that it has started, also with what ignores SIGTERM and leads its own session."""

import os
import sys
import time
from pathlib import Path

import pytest

from agent_runner.app.dev import processes
from agent_runner.app.dev.processes import Lifeline, RoleProcess, end_all

WITHIN_S = 20.0
PROGRAM = """
import os, signal, subprocess, sys, time
left, file = int(sys.argv[1]), sys.argv[2]
if left < int(sys.argv[3]):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if left:
    subprocess.Popen([sys.executable, __file__, str(left - 1), *sys.argv[2:]], start_new_session=True)
with open(file, "a") as noted:
    noted.write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("deaf", [2, 3], ids=["what-it-started", "all-of-it"])
def test_the_end_of_a_role_is_the_end_of_its_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: int) -> None:
    """A child and a grandchild in sessions of their own, deaf to SIGTERM; their parent ends at once, or is deaf too."""
    program, noted = tmp_path / "role.py", tmp_path / "pids"
    program.write_text(PROGRAM)
    monkeypatch.setattr(processes, "command_line", lambda role: [sys.executable, str(program)])
    lifeline = Lifeline()
    try:
        role = RoleProcess("worker", ["2", str(noted), str(deaf)], os.environ, lifeline, lambda role, line: None)
        deadline = time.monotonic() + WITHIN_S
        while not noted.exists() or len(noted.read_text().split()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pids = [int(pid) for pid in noted.read_text().split()]
        assert all(map(runs, pids))
        end_all([role], within_s=1.0, impatient=lambda: False)
        while any(map(runs, pids)):
            assert time.monotonic() < deadline + WITHIN_S, [pid for pid in pids if runs(pid)]
            time.sleep(0.02)
    finally:
        lifeline.close()


def test_what_is_not_below_is_not_touched(tmp_path: Path) -> None:
    """A tree without a process kills nobody, and not this one."""
    end_all([], within_s=0.1, impatient=lambda: False)
    assert runs(os.getpid()) or sys.platform != "linux"
