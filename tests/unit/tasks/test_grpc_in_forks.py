"""gRPC in processes that are forked from a worker. Each program here is a process of its own: a guard stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from agent_runner.tasks.worker.forks.grpc_in_forks import NO_GRPC, VARIABLE

ROOT = Path(__file__).parents[3]
OPENING = """
import asyncio, os, sys
from agent_runner.tasks.worker.forks import grpc_in_forks
grpc_in_forks.without_fork_support()
import grpc, grpc.aio
"""
FORKED = """
from concurrent.futures import ThreadPoolExecutor
credentials = grpc.ssl_channel_credentials()

async def new_async():
    grpc.aio.insecure_channel("127.0.0.1:1")

async def new_async_secure():
    grpc.aio.secure_channel("127.0.0.1:1", credentials)

async def main():
    channel, async_channel = grpc.insecure_channel("127.0.0.1:1"), grpc.aio.insecure_channel("127.0.0.1:1")
    grpc_in_forks.guard_forks()
    uses = {
        "new": lambda: grpc.insecure_channel("127.0.0.1:1"),
        "new secure": lambda: grpc.secure_channel("127.0.0.1:1", credentials),
        "new async": lambda: asyncio.new_event_loop().run_until_complete(new_async()),
        "new async secure": lambda: asyncio.new_event_loop().run_until_complete(new_async_secure()),
        "server": lambda: grpc.server(ThreadPoolExecutor(1)),
        "async server": lambda: grpc.aio.server(),
    }
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        given = b"" if kind.startswith("unary") else iter([b""])
        uses[kind] = lambda kind=kind, given=given: getattr(channel, kind)("/a/b")(given)
        uses["async " + kind] = lambda kind=kind, given=given: getattr(async_channel, kind)("/a/b")(given)
    for name, use in uses.items():
        read, write = os.pipe()
        child = os.fork()
        if not child:
            asyncio.events._set_running_loop(None)
            try:
                use()
                said = "nothing"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        print(f"{name}: {os.read(read, 1000).decode()}")
    await async_channel.close()  # the parent's own are as they were
    channel.close()

asyncio.run(main())
"""


def run(program: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", OPENING + program],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_use_of_grpc_in_a_forked_process_says_what_to_do() -> None:
    """New channels and servers, and calls on inherited channels, raise at once: a call would wait for ever."""
    said = dict(line.split(": ", 1) for line in run(FORKED))
    assert len(said) == 14
    assert set(said.values()) == {f"RuntimeError: {NO_GRPC}"}, said


def test_a_fork_before_the_guard_uses_grpc_freely() -> None:
    """Children of the prefork pool are forked by a parent that has imported gRPC and used nothing of it."""
    program = """
child = os.fork()
if not child:
    grpc.insecure_channel("127.0.0.1:1").close()
    grpc_in_forks.guard_forks()
    grpc.insecure_channel("127.0.0.1:1").close()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == ["7"]


def test_programs_that_agents_start_do_not_inherit_the_variable() -> None:
    """It is in the environment only until gRPC has read it."""
    program = f"""
print(os.environ["{VARIABLE}"])
channel = grpc.insecure_channel("127.0.0.1:1")
grpc_in_forks.guard_forks()
print(os.environ.get("{VARIABLE}"))
channel.close()
"""
    assert run(program) == ["0", "None"]


@pytest.mark.parametrize(("given", "guarded"), [("1", False), ("true", False), ("False", True), ("0", True)])
def test_an_operators_own_value_stays(given: str, guarded: bool) -> None:
    """Where gRPC has its own part in forks there is no guard; where an operator has turned it off there is one."""
    program = f"""
registered = []
os.register_at_fork = lambda **hooks: registered.append(hooks)
grpc_in_forks.guard_forks()
print(os.environ["{VARIABLE}"], bool(registered))
"""
    assert run(program, **{VARIABLE: given}) == [f"{given} {guarded}"]
