"""A sandbox that its first use opens."""

import asyncio
import threading
from pathlib import Path

import pytest

from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.kinds.on_demand import OnDemand
from agent_runner.clients.sandbox.kinds.port import SandboxError
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.sandbox.walls import Walls


class Made:
    """Opens real sandboxes below `folder`, and counts them."""

    def __init__(self, folder: Path, walls: Walls | None) -> None:
        self.folder, self.walls, self.times = folder, walls, 0
        self.refusal: SandboxError | None = None

    def __call__(self) -> LocalSandbox:
        self.times += 1
        if self.refusal is not None:
            raise self.refusal
        return LocalSandbox(self.folder, walls=self.walls).open()


async def eventually_there(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():
            await asyncio.sleep(0.01)


@pytest.fixture
def made(tmp_path: Path, walls: Walls | None) -> Made:
    return Made(tmp_path / "box", walls)


@pytest.fixture
def sandbox(made: Made) -> OnDemand:
    return OnDemand(made, name="local, not opened", mask=Mask())


async def test_who_does_not_use_it_has_none(made: Made, sandbox: OnDemand) -> None:
    """Nothing is on the disk, and its end opens nothing either."""
    assert sandbox.name == "local, not opened"
    await sandbox.close()
    await sandbox.close()
    assert (made.times, made.folder.exists()) == (0, False)


async def test_uses_at_once_open_one(made: Made, sandbox: OnDemand) -> None:
    """Commands and files are in the same one."""
    ends = await asyncio.gather(*(sandbox.execute(f"echo {n} > {n}") for n in range(4)))
    assert [end.exit_code for end in ends] == [0] * 4
    listed = await asyncio.to_thread(lambda: sandbox.files.glob("/*"))
    assert sorted(str(one["path"]) for one in listed.matches or ()) == ["/0", "/1", "/2", "/3"]
    blocking = await asyncio.to_thread(sandbox.execute_blocking, "cat 3")
    assert (blocking.output, made.times, sandbox.name) == ("3\n", 1, str(made.folder))
    await sandbox.close()


async def test_its_end_ends_what_was_started(made: Made, sandbox: OnDemand) -> None:
    """A command that is under way is killed, and none starts any more."""
    running = asyncio.create_task(sandbox.execute("touch started; sleep 1000"))
    await eventually_there(made.folder / "workspace" / "started")
    await sandbox.close()
    assert (await running).exit_code == 137
    with pytest.raises(SandboxError, match="closed"):
        await sandbox.execute("true")


async def test_an_end_while_it_is_opened_ends_it(made: Made) -> None:
    """What a thread has begun to open by then is closed when it is there."""
    begun, go, opened = threading.Event(), threading.Event(), []

    def slow() -> LocalSandbox:
        begun.set()
        go.wait(20)
        opened.append(made())
        return opened[0]

    sandbox = OnDemand(slow, name="local, not opened", mask=Mask())
    using = asyncio.create_task(sandbox.execute("sleep 1000"))
    await asyncio.to_thread(begun.wait, 20)
    closing = asyncio.create_task(sandbox.close())
    await asyncio.sleep(0)
    go.set()
    await closing
    await asyncio.wait({using})
    assert not opened[0].busy
    with pytest.raises(SandboxError, match="closed"):
        await opened[0].execute("true")


async def test_after_the_end_none_is_opened(made: Made, sandbox: OnDemand) -> None:
    """A thread that a run left behind gets no new one."""
    await sandbox.close()
    with pytest.raises(SandboxError, match="closed"):
        await asyncio.to_thread(lambda: sandbox.files)
    assert made.times == 0


async def test_what_could_not_be_opened_is_tried_again(made: Made, sandbox: OnDemand) -> None:
    """The first use gets the reason; the next one asks anew."""
    made.refusal = SandboxError("the engine is away", kind="docker")
    with pytest.raises(SandboxError, match="the engine is away"):
        await sandbox.execute("true")
    made.refusal = None
    assert (await sandbox.execute("echo here")).output == "here\n"
    await sandbox.close()
