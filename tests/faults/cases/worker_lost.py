"""F06 to F09: the process that runs it dies, stands still, or cannot be reached."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.faults.fault_stack import fresh_port, go_on, stop
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.stack import Process
from tests.support.waiting import eventually

FENCED = "fenced out"


@case("F06", pools=("prefork",))
def pool_child_killed(scene: Scene) -> None:
    worker = scene.worker(AGENT_RUNNER_CONCURRENCY="2")
    _in_the_tool(scene)
    owner = _owner(scene)
    scene.act({"do": "await", "s": 3}, role="neighbour")
    scene.in_flight("neighbour")
    scene.strike("run")
    psutil.Process(owner).send_signal(signal.SIGKILL)
    struck = time.monotonic()
    scene.evidence(owner != worker.child().pid, "a child was hit, not its parent")
    scene.end()
    scene.evidence(not _runs(owner), "the child is dead")
    scene.demand(worker.child().is_running(), "the parent died too")
    scene.gone_within(3, struck)
    scene.end("neighbour")
    scene.next_works()


@case("F07/child", pools=("async", "prefork"))
def celery_killed(scene: Scene) -> None:
    worker = scene.worker()
    _in_the_tool(scene)
    child, owner = worker.child(), _owner(scene)
    scene.strike()
    child.kill()
    struck = time.monotonic()
    scene.end()
    scene.evidence(not _runs(child.pid), "the Celery process is dead")
    scene.gone_within(3, struck)
    eventually(lambda: not _runs(owner), within_s=5, what="the pool child to end with its parent")
    eventually(scene.stack.workers, within_s=10, what="the restarted worker")
    scene.next_works()


@case("F07/both", pools=("async", "prefork"))
def celery_and_supervisor_killed(scene: Scene) -> None:
    worker = scene.worker()
    _in_the_tool(scene)
    child, owner = worker.child(), _owner(scene)
    scene.strike()
    worker.kill()
    child.kill()
    struck = time.monotonic()
    worker.popen.wait(5)
    scene.end()
    scene.evidence(not _runs(child.pid) and worker.popen.returncode == -9, "both are dead")
    scene.gone_within(3, struck)
    eventually(lambda: not _runs(owner), within_s=5, what="the pool child to end with its parent")


@case("F08")
def worker_stopped(scene: Scene) -> None:
    worker = scene.worker()
    _in_the_tool(scene)
    child = worker.child()
    scene.strike()
    stop(child)
    scene.end()
    scene.evidence(child.status() == psutil.STATUS_STOPPED, "the worker stood still")
    scene.evidence(scene.tools(), "its tool was still there when it was given up")
    go_on(child)
    _refused(scene, worker, time.monotonic())


@case("F09/reset")
def link_reset(scene: Scene) -> None:
    with _linked(scene) as (worker, link):
        _in_the_tool(scene)
        scene.strike()
        scene.evidence(link.reset() > 0, "connections were cut")
        scene.end()
        scene.evidence(worker.child().is_running() and scene.tools(), "worker and tool live on behind the cut link")
        link.heal()
        _refused(scene, worker, time.monotonic())


@case("F09/blackhole")
def link_blackholed(scene: Scene) -> None:
    with _linked(scene) as (worker, link):
        _in_the_tool(scene)
        scene.strike()
        scene.evidence(link.blackhole() > 0, "there was a link to darken")
        scene.end()
        scene.evidence(link.held > 0, "something was said into the hole")
        scene.evidence(worker.child().is_running() and scene.tools(), "worker and tool live on behind the dark link")
        link.heal()
        _refused(scene, worker, time.monotonic())


@case("F09/blip")
def link_blip(scene: Scene) -> None:
    with _linked(scene) as (_, link):
        scene.send(f"Before.\n$ echo alive\n$ {scene.sleep_command(3)}\n$ echo and on")
        scene.in_flight(text="alive")
        scene.strike()
        scene.evidence(link.drop() > 0, "connections were cut")
        status = scene.end()
        commands = [call["args"]["command"] for call in status["tool_calls"] if call["name"] == "execute"]
        scene.demand(len(commands) == len(set(commands)) == 3, f"not each tool once: {commands}")


def _in_the_tool(scene: Scene) -> None:
    """A run whose tool's process is there, with something said before."""
    scene.send(f"Before.\n$ echo alive\n$ {scene.sleep_command()}")
    scene.in_flight(text="alive")
    eventually(scene.tools, what="the tool's process")


def _owner(scene: Scene) -> int:
    """The pid of the process that runs it: in prefork a child of the Celery process."""
    busy = eventually(lambda: [w for w in scene.stack.workers() if w["busy"]], within_s=5, what="a busy worker")
    return int(busy[0]["pid"])


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@contextmanager
def _linked(scene: Scene) -> Iterator[tuple[Process, TcpProxy]]:
    """A worker whose way to the server is a link of ours."""
    port = fresh_port()
    with TcpProxy(port, scene.stack.grpc_port) as link:
        worker = scene.worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
        yield worker, link
        worker.stop()


def _refused(scene: Scene, worker: Process, since: float) -> None:
    """The owner is back after its end: its tools go, what it still says is refused, and it serves the next one."""
    ended = scene.stack.get(scene.roles["run"].id)["status"]
    scene.gone_within(2, since, "the zombie's tools")
    eventually(
        lambda: FENCED in worker.output() or "nothing written" in worker.output(), within_s=5, what="the refusal"
    )
    scene.next_works()
    scene.demand(scene.stack.get(scene.roles["run"].id)["status"] == ended, "a late write changed the execution")
