"""F22 to F24: Redis is restarted, its connections are killed, or it forgets everything. Nothing runs twice."""

import signal
import time

import psutil
import redis

from tests.faults.broker_hand import BrokerHand
from tests.faults.one_start import OneStart
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Process, eventually


@case("F22/blink")
def redis_blinks(scene: Scene) -> None:
    _restarted(scene, 0.2)


@case("F22/long")
def redis_is_away(scene: Scene) -> None:
    _restarted(scene, 10.0)


@case("F23", pools=("async", "prefork"))
def connections_killed(scene: Scene) -> None:
    worker = scene.worker()
    runs = [OneStart(scene, role).send().in_the_middle() for role in ("run", "other")]
    scene.strike()
    scene.evidence(_kill_connections(scene, worker) > 0, "connections of the worker were killed")
    for run in runs:
        run.check()
    BrokerHand(scene).empties()
    scene.demand(worker.popen.poll() is None, "the worker ended")
    scene.next_works()


@case("F24")
def redis_forgets(scene: Scene) -> None:
    """Runs in their middle, and messages that nobody has taken."""
    scene.worker()
    running = [OneStart(scene, role).send().in_the_middle() for role in ("running", "running too")]
    queued = [OneStart(scene, role, pause_s=0.2).send() for role in ("queued", "queued too")]
    hand = BrokerHand(scene)
    eventually(lambda: hand.waiting() == 2, within_s=2, what="two messages that wait")
    scene.strike()
    with redis.Redis(port=scene.stack.redis_port) as client:
        client.flushall()
        scene.evidence(client.dbsize() == 0, "nothing was left")
    for run in (*running, *queued):
        run.check()
    hand.empties()
    scene.next_works()


def _restarted(scene: Scene, down_s: float) -> None:
    """One run lasts longer than Redis is away; one ends meanwhile, where that is long enough."""
    worker = scene.worker()
    child = worker.child()
    long = OneStart(scene, "run", pause_s=down_s + 1).send()
    short = OneStart(scene, "other", pause_s=1).send()
    for run in (long, short):
        run.in_the_middle()
    before = scene.stack.redis
    scene.strike()
    before.kill(signal.SIGKILL)
    before.popen.wait(5)
    down_at = time.monotonic()
    scene.roles["run"].witness.sse.done.wait(down_s)
    scene.evidence(time.monotonic() - down_at >= down_s, f"Redis was away for {down_s:g} s")
    after = scene.stack.start_redis()
    scene.evidence(after.pid != before.pid, "Redis is another process now")
    for run in (long, short):
        run.check()
    BrokerHand(scene).empties(within_s=15)
    scene.demand(child.is_running() and child.status() != psutil.STATUS_ZOMBIE, "the worker process was replaced")
    scene.next_works()


def _kill_connections(scene: Scene, worker: Process) -> int:
    """CLIENT KILL for every connection of the worker's processes; how many there were."""
    child = worker.child()
    ports = {
        connection.laddr.port
        for process in (child, *child.children())
        for connection in process.net_connections("tcp")
        if connection.raddr and connection.raddr.port == scene.stack.redis_port
    }
    with redis.Redis(port=scene.stack.redis_port) as client:
        return sum(client.client_kill_filter(addr=f"127.0.0.1:{port}") for port in ports)
