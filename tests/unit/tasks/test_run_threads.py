"""Threads of runs: a share for each, what is left behind is counted and named, and nobody else is held up."""

import ast
import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import agent_runner
from agent_runner.tasks.worker.loop import OWNER, AgentLoop
from agent_runner.tasks.worker.run_threads import RunThreads
from agent_runner.tasks.worker.wear import Wear
from tests.support.waiting import eventually


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging calls wait for."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def threads() -> Iterator[RunThreads]:
    threads = RunThreads(owner=OWNER.get, per_run=4)
    yield threads
    threads.shutdown()


def submit(threads: RunThreads, owner: str, work: Any) -> "Future[Any]":
    token = OWNER.set(owner)
    try:
        return threads.submit(work)
    finally:
        OWNER.reset(token)


def hang(gate: threading.Event) -> None:
    gate.wait(60)


def test_a_run_whose_threads_hang_holds_up_itself_only(threads: RunThreads, gate: threading.Event) -> None:
    """It has its share and no more; the next run, and what belongs to none, works at once."""
    threads.begin("bad")
    threads.begin("good")
    hung = [submit(threads, "bad", lambda: hang(gate)) for _ in range(10)]
    assert submit(threads, "good", lambda: 7).result(20) == 7
    assert submit(threads, "", lambda: 8).result(20) == 8
    eventually(lambda: sum(one.running() for one in hung) == 4, what="as many at work as a run may have")
    assert [one.running() for one in hung] == [True] * 4 + [False] * 6
    gate.set()
    assert [one.result(20) for one in hung] == [None] * 10


def test_what_a_run_leaves_behind_is_counted_until_it_returns(threads: RunThreads, gate: threading.Event) -> None:
    """What waited is cancelled, nothing more begins, and the function that hangs is named."""
    threads.begin("bad")
    hung = [submit(threads, "bad", lambda: hang(gate)) for _ in range(6)]
    eventually(lambda: sum(one.running() for one in hung) == 4, what="the threads at work")
    assert threads.left_by("bad") == ""
    threads.end("bad")
    assert [one.cancelled() for one in hung] == [False] * 4 + [True] * 2
    assert threads.left_by("bad").startswith("; 4 threads of it have not come back: hang (test_run_threads.py:")
    with pytest.raises(RuntimeError, match="over"):
        submit(threads, "bad", lambda: 1)
    gate.set()
    eventually(lambda: not threads.left(), what="nothing is left behind")
    assert threads.left_by("bad") == ""


def test_the_place_is_the_line_of_the_users_code_that_waits(threads: RunThreads, gate: threading.Event) -> None:
    """Not the node that called it, not the library that it called; also where a library called it."""
    threads.begin("bad")
    place = f"hang (test_run_threads.py:{hang.__code__.co_firstlineno + 1})"
    once: RunnableLambda[int, None] = RunnableLambda(lambda _: hang(gate))
    hung = [submit(threads, "bad", work) for work in (lambda: hang(gate), lambda: once.invoke(1))]
    eventually(lambda: [one.running() for one in hung] == [True] * 2, what="the threads at work")
    threads.end("bad")
    eventually(lambda: {one.place for one in threads.left()} == {place}, what="the place")


def test_work_that_is_a_function_of_c_or_of_a_library_is_named(threads: RunThreads) -> None:
    """No line of the user's is on such a thread: it is what `asyncio.to_thread` was given, never a line of ours."""
    held, gate = threading.Lock(), threading.Event()
    held.acquire()
    threads.begin("bad")
    hung = [
        submit(threads, "bad", partial(copy_context().run, held.acquire)),
        submit(threads, "bad", partial(copy_context().run, gate.wait, 60)),
    ]
    eventually(lambda: [one.running() for one in hung] == [True] * 2, what="the threads at work")
    threads.end("bad")
    eventually(lambda: {one.place for one in threads.left()} == {"lock.acquire", "threading.Event.wait"}, what="both")
    held.release()
    gate.set()
    eventually(lambda: not threads.left(), what="nothing is left behind")


def test_a_run_that_ended_well_leaves_nothing(threads: RunThreads) -> None:
    """Its threads serve others; a run that comes back to this process has a share again."""
    for _ in range(3):
        threads.begin("run")
        assert [submit(threads, "run", lambda n=n: n).result(20) for n in range(3)] == [0, 1, 2]
        threads.end("run")
    eventually(lambda: not threads.left(), what="nothing is left behind")


def test_threads_of_pools_within_a_run_are_its_own(threads: RunThreads, gate: threading.Event) -> None:
    """langchain's `batch` makes a pool of its own in a node: what hangs there counts for the run."""
    threads.begin("bad")
    many: RunnableLambda[int, None] = RunnableLambda(lambda _: hang(gate))

    def node() -> None:
        many.batch([1, 2, 3], config={"max_concurrency": 3})

    token = OWNER.set("bad")
    context = copy_context()
    OWNER.reset(token)
    work = submit(threads, "bad", lambda: context.run(node))
    threads.end("bad")
    eventually(lambda: len(threads.left()) == 4, what="the node and its three calls")
    assert "bad" in {one.owner for one in threads.left()}
    gate.set()
    work.result(20)


def test_blocking_nodes_of_the_loop_run_on_the_threads_of_their_run(gate: threading.Event) -> None:
    """`asyncio.to_thread` and langchain's own executor are the run's; others have theirs."""
    loop = AgentLoop(threads_per_run=2)
    loop.start()
    try:

        async def run(owner: str, work: Any, times: int) -> list[Any]:
            OWNER.set(owner)
            loop.threads.begin(owner)
            node = RunnableLambda(lambda _: work())
            return await asyncio.gather(*(node.ainvoke(0) for _ in range(times)), return_exceptions=True)

        bad = loop.submit(run("bad", lambda: hang(gate), 20))
        good = loop.submit(run("good", threading.get_ident, 3))
        assert len(good.result(30)) == 3
        loop.threads.end("bad")
        eventually(lambda: len(loop.threads.left()) == 2, what="its share is left behind")
        gate.set()
        assert sum(isinstance(one, asyncio.CancelledError) for one in bad.result(30)) == 18  # never began
    finally:
        loop.stop()
        loop._loop.close()  # a process ends instead; here a later test would be blamed for what is left open


def test_a_process_is_worn_out_at_a_number_of_hung_threads(threads: RunThreads, gate: threading.Event) -> None:
    """Not before; it says so once, with the number and the setting."""
    told: list[str] = []
    wear = Wear(threads, most=6, on_worn_out=lambda: told.append("worn out"))
    for owner, count in (("a", 4), ("b", 1), ("c", 1)):
        threads.begin(owner)
        hung = [submit(threads, owner, lambda: hang(gate)) for _ in range(count)]
        eventually(lambda: all(one.running() for one in hung), what="they hang")  # noqa: B023
        assert (wear.reason, told) == ("", [])
        threads.end(owner)
        wear.look()
    assert wear.look() == 6
    assert told == ["worn out"]
    assert "6 calls of ended runs have not come back (at most 6 may: AGENT_RUNNER_MAX_HUNG_THREADS)" in wear.reason


RUBBISH = """
import gc, threading
from agent_runner.tasks.worker.left_threads import frames_now

class Ring:
    pass

stop = threading.Event()
for _ in range(60):
    threading.Thread(target=stop.wait, daemon=True).start()
gc.set_threshold(60, 10, 10)
for _ in range(400):
    for _ in range(50):
        ring = Ring()
        ring.ring, ring.local = ring, threading.local()
        ring.local.here = 1
    assert len(frames_now()) == 61
assert gc.isenabled()
"""


def test_looking_at_the_threads_cannot_stop_the_process() -> None:
    """Also if the collector would begin meanwhile and free a `threading.local`: Python 3.11 waits for itself there."""
    subprocess.run([sys.executable, "-c", RUBBISH], check=True, timeout=120)


def test_a_run_that_leaves_nothing_costs_no_look(threads: RunThreads, gate: threading.Event) -> None:
    """Looking at all threads is for a process that has threads of ended runs."""
    threads.begin("good")
    assert submit(threads, "good", lambda: 7).result(20) == 7
    threads.end("good")
    eventually(lambda: not threads.any_left, what="its thread has come back")
    threads.begin("bad")
    submit(threads, "bad", lambda: hang(gate))
    threads.end("bad")
    assert threads.any_left
    gate.set()
    eventually(lambda: not threads.any_left, what="it has come back")


def test_variables_of_other_threads_are_not_read() -> None:
    """Law: no code of the worker looks at `f_locals`: Python 3.11 may end the process while the other thread runs."""
    root = Path(agent_runner.__path__[0])
    sources = [one for name in ("tasks", "clients") for one in (root / name).rglob("*.py")]
    assert len(sources) > 100
    reading = [
        node for one in sources for node in ast.walk(ast.parse(one.read_text())) if isinstance(node, ast.Attribute)
    ]
    assert not [node for node in reading if node.attr == "f_locals"]
