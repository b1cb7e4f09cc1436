"""CleanupSandbox and PruneThread: what a worker removes when it is asked to, and what it confirms."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.cleanup_sandbox import cleanup_sandbox
from agent_runner.tasks.prune_thread import prune_thread
from agent_runner.tasks.worker.process import RunnerProcess
from tests.unit.tasks.runner_process import runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

NOBODY = 65534


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner_process(settings_of(server.port, tmp_path)) as process:
        yield process


async def done(process: RunnerProcess, work: Any) -> dict[str, Any]:
    result: dict[str, Any] = await asyncio.to_thread(process.loop.submit(work).result, 30)
    return result


@pytest.mark.promise("4.07")
async def test_a_sandbox_goes_and_the_server_hears_it(
    process: RunnerProcess, server: RunnerServer, tmp_path: Path
) -> None:
    """The one that is named and no other; a second message, and an answer that got lost, do no harm."""
    for name in ("ses-1", "ses-1-3", "ses-2"):
        LocalSandbox(tmp_path / "sandboxes" / name).open().work_dir.joinpath("note").write_text("kept")
    server.drop_answers = 1
    assert (await done(process, cleanup_sandbox(process, "ses-1", "ses-1"))) == {"session_id": "ses-1", "removed": True}
    assert sorted(path.name for path in (tmp_path / "sandboxes").iterdir()) == ["ses-1-3", "ses-2"]
    assert not (await done(process, cleanup_sandbox(process, "ses-1", "ses-1")))["removed"]
    assert {gone.sandbox_id for gone in server.gone} == {"ses-1"}
    assert len(server.gone) >= 2


async def test_what_cannot_be_removed_is_not_confirmed(
    process: RunnerProcess, server: RunnerServer, tmp_path: Path
) -> None:
    """The task fails, so that the server asks again; a message without a name fails too."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch(0o400)
    (tmp_path / "sandboxes").mkdir(exist_ok=True)
    (tmp_path / "sandboxes" / "ses-1").symlink_to(elsewhere)
    with pytest.raises(ExecutionError, match="E305"):
        await done(process, cleanup_sandbox(process, "ses-1", "ses-1"))
    for work in (cleanup_sandbox(process, "", ""), prune_thread(process, "", "head")):
        with pytest.raises(ExecutionError, match="E202"):
            await done(process, work)
    assert server.gone == []
    assert (elsewhere / "file").exists()


async def test_a_thread_goes_and_the_server_hears_it(process: RunnerProcess, server: RunnerServer) -> None:
    """With the head that was named, so that the server knows which of its wishes it was."""
    assert (await done(process, prune_thread(process, "thread-1", "head-1"))) == {
        "thread_id": "thread-1",
        "checkpoints": 0,
    }
    await done(process, prune_thread(process, "thread-1", ""))
    assert [(gone.thread_id, gone.head_checkpoint_id) for gone in server.gone] == [
        ("thread-1", "head-1"),
        ("thread-1", ""),
    ]


async def test_a_server_that_does_not_answer_changes_nothing(
    process: RunnerProcess, server: RunnerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox is gone all the same; the server asks again."""
    LocalSandbox(tmp_path / "sandboxes" / "ses-1").open()
    monkeypatch.setattr("agent_runner.clients.reporting.native.CALL_S", 0.3)
    await server.stop()
    assert (await done(process, cleanup_sandbox(process, "ses-1", "ses-1")))["removed"]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user whom permissions bind: root's tests act as nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


def test_folders_without_write_permission_go_too(unprivileged: Path) -> None:
    """As Go's module cache leaves them; what a link leads to keeps its mode."""
    mine = unprivileged / "mine"
    mine.mkdir(0o500)
    box = LocalSandbox(unprivileged / "box").open()
    (box.work_dir / "link").symlink_to(mine)
    for name in ("mod", "mod/cache"):
        (box.work_dir / name).mkdir()
        (box.work_dir / name / "file").touch()
    for name in ("mod/cache", "mod"):
        (box.work_dir / name).chmod(0o500)
    box.work_dir.chmod(0)
    box.remove()
    assert not box.root_dir.exists()
    assert mine.stat().st_mode & 0o777 == 0o500
    mine.chmod(0o700)
