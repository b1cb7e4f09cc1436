"""A session's container: one for all its turns, of one run at a time, and nothing left of it that nobody owns.

On a fake engine, and on a real one where `AGENT_RUNNER_TEST_DOCKER_HOST` names it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.app.cli.checks import check_sandbox
from agent_runner.clients.sandbox.docker import engine as engine_module
from agent_runner.clients.sandbox.docker.containers import INSTALL, SANDBOX
from agent_runner.clients.sandbox.docker.kind import DockerKind
from agent_runner.clients.sandbox.docker.programs import Ending
from agent_runner.clients.sandbox.isolation import NotIsolated
from agent_runner.clients.sandbox.kinds.kind import SandboxRequest
from agent_runner.clients.sandbox.kinds.offered import check_sandboxes
from agent_runner.clients.sandbox.kinds.port import SandboxError
from tests.unit.sandbox.docker_scene import ENGINE, PROGRAM, opened, remove_all, settings_of, some_engine
from tests.unit.sandbox.questions import REPOSITORY, SECRET, at_work, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sandbox-") as made:
        path = Path(made)
        path.chmod(0o711)
        (path / "mine").mkdir()
        yield path


@pytest.fixture
def engine(folder: Path) -> Iterator[str]:
    with some_engine(folder) as url:
        yield url


@pytest.fixture
async def worker(folder: Path, engine: str) -> AsyncIterator[Callable[..., DockerKind]]:
    """Makes workers that share a data directory."""
    made = []

    def make(**more: object) -> DockerKind:
        made.append(DockerKind(settings_of(folder, engine, **more)))
        return made[-1]

    yield make
    for kind in made:
        remove_all(kind)


def there(kind: DockerKind) -> list[dict[str, Any]]:
    """The containers of this data directory, as the engine shows them."""
    with kind.engine.errors("looking") as api:
        listed = api.containers(all=True, filters={"label": f"{INSTALL}={kind.containers.install}"})
        return [api.inspect_container(one["Id"]) for one in listed]


@pytest.mark.promise("1.23")
@pytest.mark.promise("6.11")
async def test_the_turns_of_a_session_share_a_container(worker: Callable[..., DockerKind]) -> None:
    """It is found by its labels, also by another worker, and runs only while a run needs it."""
    ids = set()
    for kind in (worker(), worker()):
        box = opened(kind)
        assert [one["State"]["Running"] for one in there(kind)] in ([], [False])
        await box.execute("echo turn >> turns")
        (one,) = there(kind)
        assert one["State"]["Running"]
        assert one["Config"]["Labels"][SANDBOX] == "ses-1"
        ids.add(one["Id"])
        await box.close()
        assert not there(kind)[0]["State"]["Running"]
    assert len(ids) == 1
    assert (box.work_dir / "turns").read_text() == "turn\nturn\n"


@pytest.mark.promise("1.24")
@pytest.mark.promise("1.25")
async def test_a_container_that_is_gone_is_made_again(worker: Callable[..., DockerKind]) -> None:
    """Between two turns and between two commands; the files are the session's, not the container's."""
    kind = worker()
    box = opened(kind)
    await box.execute("echo kept > note")
    for _ in range(2):
        (one,) = there(kind)
        kind.containers.remove(one["Id"])
        assert (await box.execute("cat note")).output == "kept\n"
        assert there(kind)[0]["Id"] != one["Id"]
    await box.close()
    kind.containers.remove(there(kind)[0]["Id"])
    assert (await opened(kind).execute("cat note")).output == "kept\n"


async def test_another_image_or_limit_is_another_container(worker: Callable[..., DockerKind]) -> None:
    """The next turn runs with what the settings say now."""
    before = opened(worker())
    await before.execute("true")
    (one,) = there(worker())
    await before.close()
    kind = worker(sandbox_processes=50)
    box = opened(kind)
    await box.execute("true")
    (other,) = there(kind)
    assert other["Id"] != one["Id"]
    assert other["HostConfig"]["PidsLimit"] < one["HostConfig"]["PidsLimit"]
    await box.close()


@pytest.mark.promise("6.11")
async def test_a_run_that_lost_the_session_touches_nothing(worker: Callable[..., DockerKind]) -> None:
    """Two workers, one session: the newer run ends the commands of the older one, which starts none any more, and whose
    end leaves the newer run's commands alone."""
    older, newer = opened(worker()), opened(worker())
    command = asyncio.create_task(older.execute("sleep 100"))
    assert await until(lambda: at_work(older.root_dir))
    assert (await newer.execute("sleep 100 > /dev/null 2>&1 & echo mine")).output == "mine\n"
    assert (await command).exit_code == 137
    with pytest.raises(SandboxError, match="another run of the session has taken the container over"):
        await older.execute("echo no > note")
    await older.close()
    assert not (newer.work_dir / "note").exists()
    assert (await newer.execute("echo on")).output == "on\n"
    assert at_work(newer.root_dir)
    await newer.close()
    assert not at_work(newer.root_dir)


async def test_a_timeout_kills_a_command_and_nothing_beside_it(worker: Callable[..., DockerKind]) -> None:
    """What another command left in the background lives on; the command's own daemons do not."""
    box = opened(worker())
    await box.execute("sleep 101 > /dev/null 2>&1 & echo up")
    told = await box.execute("(env -i setsid sleep 102 &) ; echo begun; sleep 103", 3.0)
    assert told.exit_code == 124
    assert told.output.startswith("begun\n")
    assert await until(lambda: len(at_work(box.root_dir)) == 1)
    (left,) = at_work(box.root_dir)
    assert b"101" in Path(f"/proc/{left}/cmdline").read_bytes()
    await box.close()
    assert not at_work(box.root_dir)


@pytest.mark.promise("6.11")
async def test_a_killed_worker_leaves_nothing(worker: Callable[..., DockerKind], engine: str) -> None:
    """SIGKILL in a command: its processes end by themselves, the next turn goes on with the files, and a sweep removes
    the container."""
    kind = worker(sandbox_docker_idle_s=0)
    given = (str(kind.settings.data_dir), engine, kind.settings.sandbox_docker_image, "ses-1")
    root = kind.settings.data_dir / "sandboxes" / "ses-1"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *given, "echo kept > note; sleep 100"], cwd=REPOSITORY)
    try:
        assert await until(lambda: root.exists() and at_work(root) and (root / "workspace" / "note").exists())
        assert kind.sweep() == 0  # it belongs to that worker
    finally:
        process.kill()
        process.wait()
    assert await until(lambda: not at_work(root) and not there(kind)[0]["State"]["Running"])
    box = opened(kind)
    assert (await box.execute("cat note")).output == "kept\n"
    await box.close()
    assert kind.sweep() == 1
    assert there(kind) == []


async def test_a_sweep_takes_what_has_no_owner(worker: Callable[..., DockerKind]) -> None:
    """A directory that is gone, a run that took longer than any may. Another data directory's are not looked at."""
    kind = worker()
    first, second, kept = (opened(kind, name) for name in ("ses-1", "ses-2", "ses-3"))
    for box in (first, second, kept):
        await box.execute("true")
    await first.close()
    first.remove()
    await kept.close()
    assert kind.sweep() == 1
    assert kind.containers.sweep(3600, longest_run_s=0) == 1
    (one,) = there(kind)
    assert one["Config"]["Labels"][SANDBOX] == "ses-3"
    await second.close()


async def test_removing_a_session_takes_container_and_files(worker: Callable[..., DockerKind]) -> None:
    """Also what still runs in it. Twice is no error."""
    kind = worker()
    box = opened(kind)
    await box.execute("sleep 100 > /dev/null 2>&1 & echo kept > note")
    assert kind.remove("ses-1")
    assert (there(kind), box.root_dir.exists()) == ([], False)
    assert not kind.remove("ses-1")
    assert kind.sweep() == 0
    await box.close()


async def test_a_container_is_made_with_as_little_as_can_be(worker: Callable[..., DockerKind]) -> None:
    """No capability, no way to more, no network, a root that is read-only, limits, and nobody's user."""
    kind = worker(sandbox_docker_cpus=1.5)
    box = opened(kind)
    await box.execute("true")
    (one,) = there(kind)
    host = one["HostConfig"]
    assert (host["CapDrop"], host["SecurityOpt"], host["NetworkMode"]) == (["ALL"], ["no-new-privileges"], "none")
    assert (host["ReadonlyRootfs"], host["NanoCpus"]) == (True, 1_500_000_000)
    assert host["Memory"] == host["MemorySwap"] == kind.settings.sandbox_memory_bytes
    assert not host.get("Privileged")
    assert int(one["Config"]["User"].partition(":")[0]) != 0
    assert {mount["Target"] for mount in host["Mounts"]} >= {str(box.work_dir), "/etc/passwd"}
    told = (await box.execute("env")).output
    names = {line.partition("=")[0] for line in told.splitlines()}
    assert {"TOKEN", "HOME", "TMPDIR", "PATH"} <= names
    assert names - {"HOSTNAME", "SHLVL", "OLDPWD", "_"} <= {"TOKEN", "HOME", "TMPDIR", "PATH", "PWD", "LANG", "TERM"}
    assert SECRET not in told
    if ENGINE:
        ids = (await box.execute("id -u; id -g; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max")).output
        user = os.geteuid() or 1_909_999_997
        assert ids.split()[0] == str(user)
        assert ids.split()[1] != "0"
        assert str(host["PidsLimit"]) in ids
    await box.close()


async def test_a_program_that_is_spoken_to(worker: Callable[..., DockerKind]) -> None:
    """As MCP servers are: input, output and errors apart, its own variables only, its exit code; ended with the run."""
    box = opened(worker())
    service = box.serve(["/bin/sh", "-c", 'read x; echo "got $x $NAME$TOKEN"; echo oops >&2; exit 3'], {"NAME": "n"})
    os.write(service.input_fd, b"a line\n")
    said = {}
    for name in ("status_fd", "output_fd", "errors_fd"):
        fd = getattr(service, name)
        os.set_blocking(fd, True)
        said[name] = await asyncio.to_thread(os.read, fd, 100)
        os.close(fd)
    os.close(service.input_fd)
    assert said == {"status_fd": b"3", "output_fd": b"got a line n\n", "errors_fd": b"oops\n"}
    waiting = box.serve(["/bin/sh", "-c", "sleep 100"], {})
    assert await until(lambda: at_work(box.root_dir))
    await box.end(waiting)
    assert await until(lambda: not at_work(box.root_dir))
    for fd in (waiting.input_fd, waiting.output_fd, waiting.errors_fd, waiting.status_fd):
        os.close(fd)
    await box.close()


async def test_a_cancel_while_the_engine_starts_a_command(worker: Callable[..., DockerKind]) -> None:
    """Nothing of it stays, whenever it comes."""
    box = opened(worker())
    await box.execute("true")
    for delay_s in (0.0, 0.01, 0.03, 0.1):
        task = asyncio.create_task(box.execute("sleep 100"))
        await asyncio.wait([task], timeout=delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await until(lambda: not at_work(box.root_dir))
    await box.close()
    with pytest.raises(SandboxError, match="is closed"):
        await box.execute("true")


async def test_health_is_a_command_that_sees_our_files(worker: Callable[..., DockerKind], folder: Path) -> None:
    """It leaves nothing. doctor shows it; an engine that is away is a finding with a fix, and no worker starts."""
    kind = worker()
    health = await asyncio.to_thread(kind.health)
    assert health.up, health
    assert health.said.startswith(f"in containers of {kind.settings.sandbox_docker_image} (Docker ")
    assert there(kind) == []
    assert [path for path in (folder / "data" / "sandboxes").iterdir() if path.is_dir()] == []
    away = settings_of(folder, f"unix://{folder}/no-engine.sock")
    (check,) = await asyncio.to_thread(check_sandbox, away)
    assert (check.name, check.up, check.required) == ("sandbox", False, True)
    assert f"the engine at unix://{folder}/no-engine.sock cannot be used: " in check.why
    assert "docs/guides/sandbox.md#docker" in check.fix
    with pytest.raises(NotIsolated, match="AGENT_RUNNER_SANDBOX=docker cannot be used: the engine at"):
        check_sandboxes(away)
    with pytest.raises(SandboxError, match="the engine at"):
        DockerKind(away).open(SandboxRequest(name="ses-1"))


async def test_an_image_that_is_missing(worker: Callable[..., DockerKind]) -> None:
    """It is said, with what to do; nothing is pulled."""
    if not ENGINE:
        pytest.skip("a fake engine has no images")
    health = await asyncio.to_thread(worker(sandbox_docker_image="nobody/has-this:1").health)
    assert not health.up
    assert "nobody/has-this:1; pull it on the engine's machine" in health.said


def test_without_the_sdk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named, and how it is installed."""
    monkeypatch.setitem(sys.modules, "docker", None)
    kind = DockerKind(settings_of(folder, "unix:///nowhere"))
    assert (kind.health().up, kind.health().said) == (False, engine_module.EXTRA)
    with pytest.raises(SandboxError, match=r"pip install 'agent-runner\[docker\]'"):
        kind.open(SandboxRequest(name="ses-1"))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_end_of_a_commands_output(size: int) -> None:
    """The mark is found however the output is cut into pieces, and is no part of it."""
    whole = b"one\ntwo\nmar \nmark\n\nmark 7\nlater of a daemon"
    ending, found = Ending("mark"), b""
    for at in range(0, len(whole), size):
        if ending.code is None:
            found += ending.feed(whole[at : at + size])
    assert (found, ending.code) == (b"one\ntwo\nmar \nmark\n", 7)
