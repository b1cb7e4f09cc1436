"""The local sandbox with real shells: what commands see, what is kept of their output, and how they end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.local import LocalSandbox, SandboxError
from agent_runner.clients.sandbox.walls import Walls

SECRET = "s3cret-of-the-run"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
async def sandbox(tmp_path: Path, walls: Walls | None) -> AsyncIterator[LocalSandbox]:
    box = LocalSandbox(tmp_path / "box", None, {"TOKEN": SECRET}, Mask([SECRET]), max_result_bytes=10_000, walls=walls)
    yield box.open()
    await box.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


def at_work(box: Path) -> list[int]:
    """Processes whose working directory is this sandbox's, as this machine has them."""
    found, own = [], os.stat(box / "workspace").st_ino
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.stat(process / "cwd").st_ino == own:
                found.append(int(process.name))
    return found


async def pids_of(box: Path, count: int) -> list[int]:
    """Once there are so many."""
    await until(lambda: box.exists() and len(at_work(box)) >= count)
    return at_work(box)


async def test_output_and_exit_code(sandbox: LocalSandbox) -> None:
    """stdout and stderr come in order, with the command's exit code."""
    result = await sandbox.execute("echo one; echo two >&2; echo three; exit 3")
    assert (result.output, result.exit_code, result.truncated) == ("one\ntwo\nthree\n", 3, False)


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("kill -9 $$", 137), ("no-such-command", 127)])
async def test_exit_codes(sandbox: LocalSandbox, command: str, code: int) -> None:
    """A signal is 128 + its number, as shells say it."""
    assert (await sandbox.execute(command)).exit_code == code


async def test_the_environment_is_clean(sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sees the run's variables and nothing of the worker's but PATH."""
    monkeypatch.setenv("WORKER_ONLY", "worker-secret")
    seen = (await sandbox.execute("env | cut -d= -f1")).output.split()
    assert set(seen) <= {"PATH", "HOME", "PWD", "LANG", "TERM", "TMPDIR", "TOKEN", "OLDPWD", "SHLVL", "_"}
    assert "TOKEN" in seen
    home = (await sandbox.execute('cd; pwd; touch "$TMPDIR/x" && echo ok')).output.split()
    assert home == [str(sandbox.work_dir), "ok"]


async def test_no_descriptor_of_the_worker_is_inherited(sandbox: LocalSandbox) -> None:
    """Neither the run's pipe nor anything else of the worker is open in a command."""
    listed = (await sandbox.execute("ls /proc/$$/fd")).output.split()
    assert {int(fd) for fd in listed} <= {0, 1, 2, 10}  # 10: where some shells keep their own


async def test_a_session_is_open_to_nobody_else(sandbox: LocalSandbox) -> None:
    """Its directory, and the one above that this made; also one that an earlier version left open."""
    for directory in (sandbox.root_dir, sandbox.work_dir, sandbox.root_dir / "tmp"):
        assert directory.stat().st_mode & 0o777 == 0o700
    sandbox.root_dir.chmod(0o755)
    assert LocalSandbox(sandbox.root_dir).open().root_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="asks by way of /proc")
async def test_where_memory_is_short_commands_go_before_the_worker(sandbox: LocalSandbox) -> None:
    """The kernel is told so of each."""
    assert (await sandbox.execute("cat /proc/self/oom_score_adj")).output == "500\n"


async def test_what_was_killed_with_everything_is_made_anew(sandbox: LocalSandbox) -> None:
    """A command that kills all it sees ends its run's namespaces, and nothing else; the next command works."""
    if sandbox.walls is None:
        pytest.skip("it would be everything that this user has")
    assert (await sandbox.execute("kill -9 -1; sleep 5")).exit_code == 137
    result = await sandbox.execute("echo again")
    assert (result.output, result.exit_code) == ("again\n", 0)


async def test_variables_that_change_programs_work_inside_only(tmp_path: Path, walls: Walls | None) -> None:
    """What an agent is given reaches the command, not the programs of ours that start it."""
    given = {"LD_PRELOAD": str(tmp_path / "own.so"), "PYTHONHOME": "/nowhere", "BIG": "x" * 100_000, "ODD": "\udce9"}
    box = LocalSandbox(tmp_path / "box", None, given, walls=walls).open()
    result = await box.execute(
        'unset LD_PRELOAD; echo $PYTHONHOME; printf %s "$BIG" | wc -c; printf %s "$ODD" | od -An -tx1'
    )
    await box.close()
    assert result.output.split()[-3:] == ["/nowhere", "100000", "e9"]
    with pytest.raises(SandboxError, match="null byte"):
        await LocalSandbox(tmp_path / "box", None, {"N": "a\0b"}, walls=walls).open().execute("true")


async def test_secrets_are_masked(sandbox: LocalSandbox) -> None:
    """What a command prints of the run's secrets does not come back."""
    result = await sandbox.execute('echo "token is $TOKEN"')
    assert result.output == "token is ********\n"


async def test_long_output_is_cut_in_the_middle_and_kept_in_a_file(sandbox: LocalSandbox) -> None:
    """Head and tail come back with a note that names the file with all of it."""
    result = await sandbox.execute("echo first; seq 1 20000; echo last")
    assert result.truncated
    assert result.output.startswith("first\n1\n")
    assert result.output.endswith("20000\nlast\n")
    assert len(result.output) < 10_200
    name = result.output.partition("full output is in /")[2].partition("]")[0]
    assert (sandbox.work_dir / name).read_text() == f"first\n{''.join(f'{n}{chr(10)}' for n in range(1, 20001))}last\n"


async def test_a_secret_across_the_cut_does_not_survive_in_halves(tmp_path: Path) -> None:
    """Wherever the cut falls, no part of a secret of 8 characters or more is shown at it."""
    for shift in range(len(SECRET) + 1):
        box = LocalSandbox(tmp_path / f"b{shift}", None, {"T": SECRET}, Mask([SECRET]), max_result_bytes=2_000).open()
        result = await box.execute(
            f'printf "%{750 - shift}s"; printf "$T"; printf "%5000s"; printf "$T%{740 + shift}s"'
        )
        await box.close()
        assert result.truncated
        assert SECRET[:8] not in result.output
        assert SECRET[-8:] not in result.output


async def test_a_command_that_prints_for_ever_is_bounded(sandbox: LocalSandbox) -> None:
    """It ends at its timeout with exit code 124, and memory holds no more than the limit."""
    result = await sandbox.execute("yes", timeout=0.4)
    assert result.exit_code == 124
    assert len(result.output) < 11_000
    assert not sandbox.busy


async def test_cancelling_kills_the_tree_before_it_returns(sandbox: LocalSandbox) -> None:
    """Children, grandchildren and those that left the session are gone when the cancelled call is over."""
    command = "sleep 100 & setsid sleep 100 & (sleep 100 &); (setsid sleep 100 &); wait"
    task = asyncio.create_task(sandbox.execute(command))
    pids = await pids_of(sandbox.root_dir, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [pid for pid in pids if alive(pid)]


async def test_what_ignores_signals_is_killed_too(sandbox: LocalSandbox) -> None:
    """SIGTERM is not asked for politely."""
    task = asyncio.create_task(sandbox.execute("trap '' TERM INT HUP; while :; do sleep 0.1; done"))
    pids = await pids_of(sandbox.root_dir, 1)
    task.cancel()
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()
    assert not [pid for pid in pids if alive(pid)]


async def test_background_processes_live_until_the_run_ends(sandbox: LocalSandbox) -> None:
    """A server started in one command serves the next; closing the run's sandbox ends it."""
    result = await sandbox.execute("sleep 100 & echo $! > p; echo up")
    assert (result.output, result.exit_code) == ("up\n", 0)
    (pid,) = await pids_of(sandbox.root_dir, 1)
    assert alive(pid)
    assert sandbox.busy
    assert (await sandbox.execute("kill -0 $(cat p) && echo there")).output == "there\n"
    await sandbox.close()
    await until(lambda: not alive(pid))
    with pytest.raises(SandboxError):
        await sandbox.execute("true")


async def test_commands_run_side_by_side(sandbox: LocalSandbox) -> None:
    """Each of ten commands ends when all ten have begun."""
    all_there = "while [ $(ls | grep -c begun) -lt 10 ]; do sleep 0.05; done"
    commands = [f"touch begun-{n}; {all_there}; echo {n}" for n in range(10)]
    results = await asyncio.gather(*(sandbox.execute(command, timeout=60) for command in commands))
    assert [r.output for r in results] == [f"{n}\n" for n in range(10)]


async def test_threads_can_execute(sandbox: LocalSandbox) -> None:
    """The blocking form works from a thread while the loop does other things."""
    result = await asyncio.to_thread(sandbox.execute_blocking, "echo hi")
    assert result.output == "hi\n"


async def test_a_killed_worker_leaves_no_tool_running(tmp_path: Path, walls: Walls | None) -> None:
    """SIGKILL of the process that holds the run's pipe ends the tool's whole tree."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom agent_runner.clients.sandbox.local import LocalSandbox\n"
        "from agent_runner.clients.sandbox.walls import Walls\n"
        "walls = Walls(bubblewrap=sys.argv[2]) if sys.argv[2] else None\n"
        "box = LocalSandbox(Path(sys.argv[1]), walls=walls).open()\n"
        "asyncio.run(box.execute('setsid sleep 100 & (sleep 100 &) ; (setsid sleep 100 &) ; wait'))\n"
    )
    box, bubblewrap = tmp_path / "box", walls.bubblewrap if walls else ""
    worker = subprocess.Popen([sys.executable, "-c", program, str(box), bubblewrap], cwd=REPOSITORY)
    try:
        await until(lambda: (box / "workspace").exists())
        pids = await pids_of(box, 4)
        assert all(alive(pid) for pid in pids)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    await until(lambda: not [pid for pid in pids if alive(pid)])


async def test_a_killed_shim_takes_its_command_with_it(sandbox: LocalSandbox) -> None:
    """Even if the shim itself is killed, the command does not outlive it, and the result says so."""
    task = asyncio.create_task(sandbox.execute("exec sleep 100"))
    (command,) = await pids_of(sandbox.root_dir, 1)
    (shim,) = [running.shim.pid for running in sandbox._commands]
    os.kill(shim, signal.SIGKILL)
    result = await asyncio.wait_for(task, 20)
    assert result.exit_code == 137
    assert "killed from outside" in result.output
    await until(lambda: not alive(command))


async def test_the_users_entries_are_shown_by_links(tmp_path: Path, walls: Walls | None) -> None:
    """Entries of the workspace, but not hidden ones, are there under their names; removing the sandbox keeps them."""
    mine = tmp_path / "mine"
    (mine / "app").mkdir(parents=True)
    (mine / "app" / "a.py").write_text("1\n2\n")
    (mine / ".env").write_text("KEY=x")
    (mine / "boxes").mkdir()
    box = LocalSandbox(mine / "boxes" / "b", mine, walls=walls).open()
    assert (await box.execute("wc -l app/*.py")).output.split()[:2] == ["2", "app/a.py"]
    assert sorted((await box.execute("ls -A")).output.split()) == ["app"]
    assert (await box.execute("echo 3 > app/new; stat -c %a app/new")).output == "644\n"
    await box.close()
    box.remove()
    assert not box.root_dir.exists()
    assert (mine / "app" / "a.py").read_text() == "1\n2\n"
    assert (mine / "app" / "new").read_text() == "3\n"


async def test_a_sandbox_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    """A file in the way is a typed error with its path."""
    (tmp_path / "box").write_text("in the way")
    with pytest.raises(SandboxError, match="box"):
        LocalSandbox(tmp_path / "box").open()
