"""The life of a run's servers: started in the sandbox, called, lost, and gone with the run."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agent_runner.clients.mcp.definition import McpServerError
from agent_runner.clients.sandbox.walls import Walls
from tests.support.waiting import eventually
from tests.unit.mcp.world import box, processes_in, running, stdio, text_of

BARE = "bare_server.py"


async def test_a_server_runs_in_the_sandbox_and_tells_its_tools(tmp_path: Path, walls: Walls | None) -> None:
    """It is called by its own names; a tool that the agent has itself gets the server's name in front."""
    sandbox = box(tmp_path, walls)
    async with running(sandbox, stdio("bare", BARE)) as (servers, tools):
        assert [(one.name, one.shown) for one in tools] == [
            ("echo", "echo"),
            ("read_file", "bare_read_file"),
            ("a.dotted/name", "a_dotted_name"),
        ]
        assert text_of(await servers.call("bare", "a.dotted/name", {"x": 1})) == '{"a.dotted/name": {"x": 1}}'
        assert sandbox.busy
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_only_the_tools_that_the_agent_may_use(tmp_path: Path) -> None:
    """`enabled_tools` is the list; a name in it that the server does not have is a mistake of the agent."""
    async with running(box(tmp_path), stdio("bare", BARE, enabled=("echo",))) as (_, tools):
        assert [one.shown for one in tools] == ["echo"]
    with pytest.raises(McpServerError, match="names rename, which it does not have; it has a"):
        async with running(box(tmp_path), stdio("bare", BARE, enabled=("echo", "rename"))):
            pass


async def test_two_servers_with_the_same_tools_are_told_apart(tmp_path: Path) -> None:
    """Each gets the name of its server in front, and each call reaches its own."""
    async with running(box(tmp_path), stdio("one", BARE), stdio("other", BARE, "noise")) as (servers, tools):
        assert [one.shown for one in tools][::3] == ["one_echo", "other_echo"]
        assert len({one.shown for one in tools}) == 6
        assert text_of(await servers.call("other", "echo", {})) == '{"echo": {}}'


async def test_a_server_that_hangs_at_its_start(tmp_path: Path, walls: Walls | None) -> None:
    """The run is told after the start timeout, and nothing of the server is left."""
    with pytest.raises(McpServerError, match="not ready within 1 s") as failed:
        async with running(box(tmp_path, walls), stdio("slow", BARE, "hang", start_timeout_s=1)):
            pass
    assert failed.value.server == "slow"
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("no-such-program",), "there is no such program in the sandbox"),
        (("/bin/sh", "-c", "echo the key is missing >&2; exit 3"), "exit code 3.*the key is missing"),
        (("/bin/sh", "-c", "echo usage: a program that is no server"), "it ended .exit code 0.*usage: a program"),
    ],
)
async def test_a_program_that_is_no_server(
    tmp_path: Path, walls: Walls | None, argv: tuple[str, ...], words: str
) -> None:
    """The error says how it ended and what it said."""
    with pytest.raises(McpServerError, match=words):
        async with running(box(tmp_path, walls), stdio("wrong", *argv)):
            pass


async def test_a_server_that_is_killed_in_a_call(tmp_path: Path, walls: Walls | None) -> None:
    """The call is an error that says so; so is each further one, and another server goes on."""
    sandbox = box(tmp_path, walls)
    async with running(sandbox, stdio("results", "result_server.py"), stdio("bare", BARE)) as (servers, _):
        call = asyncio.create_task(servers.call("results", "sleep", {"seconds": 600}))
        found = lambda: next(iter(_processes("result_server.py", tmp_path)), None)  # noqa: E731
        victim = await asyncio.to_thread(eventually, found, what="it runs")
        victim.send_signal(signal.SIGKILL)
        result = await asyncio.wait_for(call, 60)
        assert result.isError
        assert "MCP server 'results': it ended" in text_of(result)
        again = await servers.call("results", "text", {"say": "are you there?"})
        assert again.isError
        assert "it ended" in text_of(again)
        assert not (await servers.call("bare", "echo", {})).isError


async def test_a_server_that_ends_itself_in_a_call(tmp_path: Path) -> None:
    """Its exit code and its last words are in the error."""
    async with running(box(tmp_path), stdio("results", "result_server.py")) as (servers, _):
        said = text_of(await servers.call("results", "die", {"code": 7}))
        assert "exit code 7" in said
        assert "I cannot go on" in said


async def test_a_call_that_takes_too_long(tmp_path: Path) -> None:
    """It fails after the call timeout; the server has given it up, and can still be called."""
    server = replace(stdio("results", "result_server.py"), call_timeout_s=3)
    async with running(box(tmp_path), server) as (servers, _):
        late = await servers.call("results", "sleep", {"seconds": 600})
        assert late.isError
        assert "did not answer the call of 'sleep' within 3 s" in text_of(late)
        assert text_of(await servers.call("results", "fates", {})) == "given up"


async def test_a_line_that_never_ends(tmp_path: Path) -> None:
    """The server is ended before it fills the worker's memory."""
    async with running(box(tmp_path), stdio("flood", BARE, "flood")) as (servers, _):
        before = psutil.Process().memory_info().rss
        said = text_of(await servers.call("flood", "echo", {}))
        assert "a message of more than 32 MiB" in said
        assert psutil.Process().memory_info().rss - before < 400 << 20


async def test_twenty_runs_at_once(tmp_path: Path, walls: Walls | None) -> None:
    """Each has a server of its own, with a child that ignores every signal; afterwards no process is left."""

    async def one(number: int) -> str:
        async with running(box(tmp_path, walls), stdio("bare", BARE, "child")) as (servers, _):
            return text_of(await servers.call("bare", "echo", {"n": number}))

    assert await asyncio.gather(*map(one, range(20))) == [f'{{"echo": {{"n": {n}}}}}' for n in range(20)]
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the runs is left")


async def test_a_worker_that_is_killed(tmp_path: Path, walls: Walls | None) -> None:
    """Its servers end with it, with all that they started."""
    program = (
        "import asyncio, sys; from pathlib import Path; from tests.unit.mcp.world import box, running, stdio\n"
        "from tests.unit.sandbox.conftest import own_walls\n"
        "async def main():\n"
        " walls = own_walls() if sys.argv[2] == 'True' else None\n"
        " async with running(box(Path(sys.argv[1]), walls), stdio('bare', 'bare_server.py', 'child')):\n"
        "  print('up', flush=True)\n"
        "  await asyncio.sleep(3600)\n"
        "asyncio.run(main())"
    )
    line = (sys.executable, "-c", program, str(tmp_path), str(walls is not None))
    worker = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    assert await asyncio.wait_for(worker.stdout.readline(), 60) == b"up\n"
    assert list(_processes(BARE, tmp_path))
    worker.kill()
    await worker.wait()
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_a_start_that_is_cancelled(tmp_path: Path) -> None:
    """A run that is cancelled meanwhile leaves no server behind."""

    async def begin() -> None:
        async with running(box(tmp_path), stdio("slow", BARE, "hang")):
            pass

    task = asyncio.create_task(begin())
    await asyncio.to_thread(eventually, lambda: list(_processes(BARE, tmp_path)), what="it runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(eventually, lambda: not processes_in(tmp_path), what="no process of the run is left")


async def test_without_a_sandbox_no_program_is_started() -> None:
    """A worker without a sandbox refuses a server that is a program, and says why."""
    with pytest.raises(McpServerError, match="AGENT_RUNNER_SANDBOX=none"):
        async with running(None, stdio("bare", BARE)):
            pass


def _processes(name: str, folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if any(part.endswith(name) for part in process.cmdline()) and str(folder) in process.cwd():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found
