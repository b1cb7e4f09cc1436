"""Control groups of runs: the kernel bounds what all commands of a run use together, from one moment to the next.

The tests on real groups need a cgroup file system (version 2) with `memory` and `pids` that this process may write:
as root the machine's own, else the base that AGENT_RUNNER_TEST_CGROUP names.
"""

import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent_runner.clients.sandbox.isolation import NotIsolated, check_isolation
from agent_runner.clients.sandbox.limits import Limits
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.sandbox.programs import groups
from agent_runner.clients.settings.settings import Settings, SettingsError, load_settings
from tests.support.waiting import eventually
from tests.unit.sandbox.conftest import own_walls

MB = 10**6
LIMITS = Limits(memory_bytes=200 * MB, processes=40)
EATER = "python3 -c \"import time; held = b'x' * {size}; open('{mark}', 'a').write('.'); time.sleep({held_s})\""
FORKS = "for n in $(seq 1 200); do sleep 30 & done; echo started"


@pytest.fixture
def base() -> Iterator[str]:
    """An empty group that passes memory and pids on."""
    above = os.environ.get("AGENT_RUNNER_TEST_CGROUP", groups.ROOT)
    made = os.path.join(above, f"agent-runner-test-{os.getpid()}")
    try:
        groups._pass_on(above)
        os.mkdir(made)
    except OSError as error:
        pytest.skip(f"no control groups here: {error}")
    yield made
    eventually(lambda: not list(Path(made).glob(f"{groups.PREFIX}*")), what="no group of a run left")
    os.rmdir(made)


@pytest.fixture
async def box(base: str, tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    walls = dataclasses.replace(own_walls(), groups=base)
    opened = LocalSandbox(tmp_path / "box", walls=walls, limits=LIMITS).open()
    yield opened
    await opened.close()


def group_of_the_run(base: str) -> Path:
    (found,) = Path(base).glob(f"{groups.PREFIX}*")
    return found


async def test_a_run_has_a_group_of_its_own(box: LocalSandbox, base: str) -> None:
    """With its limits; what a command starts is in it, and it goes with the run."""
    await box.execute("sleep 60 & sleep 60 & :", 20)
    group = group_of_the_run(base)
    assert len((group / "cgroup.procs").read_text().split()) == 2
    assert int((group / "memory.max").read_text()) <= LIMITS.memory_bytes
    assert int((group / "pids.max").read_text()) == LIMITS.processes
    await box.close()
    assert not group.exists()


async def test_memory_of_all_processes_together_is_firm(box: LocalSandbox, base: str) -> None:
    """Four processes of 75 MB where 200 are allowed: never more, and the call says which limit it was."""
    eaters = " & ".join(EATER.format(size=75 * MB, mark="mark", held_s=20) for _ in range(4))
    said = await box.execute(f"{eaters}; wait; echo whole", 60)
    assert "AGENT_RUNNER_SANDBOX_MEMORY_BYTES" in said.output, said
    assert "whole" not in said.output
    assert said.exit_code == 137
    again = await box.execute("echo still there", 30)
    assert again.output.strip() == "still there", "the run goes on with a group that is empty"


async def test_processes_are_firm(box: LocalSandbox, base: str) -> None:
    """Also for a worker of root, whose processes the kernel counts nowhere else: the 41st is refused."""
    await box.execute("true", 20)
    group = group_of_the_run(base)
    said = await box.execute(FORKS, 60)
    assert said.exit_code != 0 or "AGENT_RUNNER_SANDBOX_PROCESSES" in said.output, said
    if group.exists():  # the look ten times a second has not ended the run yet
        assert int((group / "pids.current").read_text()) <= LIMITS.processes


async def test_a_group_outlives_no_keeper_for_long(box: LocalSandbox, base: str) -> None:
    """One that a killed keeper left is removed by the next run's."""
    await box.execute("true", 20)
    left = group_of_the_run(base)
    assert box._kept
    box._kept.process.send_signal(signal.SIGKILL)
    box._kept.process.wait()
    await box.execute("true", 20)
    assert group_of_the_run(base) != left
    assert not left.exists()


def fake(folder: Path, *, controllers: str, passed_on: str = "") -> str:
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text(passed_on)
    return str(folder)


def test_what_is_no_base_is_named(tmp_path: Path) -> None:
    """A directory that is no group, and a group without the controllers."""
    assert groups.problem(str(tmp_path)) == "No such file or directory"
    assert "has no controller memory" in groups.problem(fake(tmp_path, controllers="cpu pids"))


def test_a_worker_does_not_start_with_a_base_that_cannot_be_used(tmp_path: Path) -> None:
    """Whoever sets it relies on it; so it is no matter of MODE."""
    with pytest.raises(NotIsolated, match="AGENT_RUNNER_SANDBOX_CGROUP cannot be used"):
        check_isolation(Settings(sandbox_cgroup=str(tmp_path)))


def test_a_base_is_a_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_RUNNER_SANDBOX_CGROUP", "agents")
    with pytest.raises(SettingsError, match="AGENT_RUNNER_SANDBOX_CGROUP must be an absolute path"):
        load_settings("worker")


def test_only_what_systemd_handed_over_is_taken_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write any group; without the mark none is used that the operator has not named."""
    monkeypatch.setattr(groups, "_marked", lambda path, name: False)
    assert groups.handed_over() == ""
