"""F22 to F24 and F40: Redis and RabbitMQ are restarted, lose connections, or forget everything. Nothing runs twice.

With RabbitMQ as broker, Redis still carries wake-ups and results: what happens to the one happens to both.
"""

import contextlib
import signal
import time

import psutil
import redis
from kombu import Connection

from tests.faults.broker_hand import BrokerHand
from tests.faults.fault_stack import fresh_port
from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration import messages
from tests.integration.rabbitmq import RabbitNode, scripts
from tests.integration.stack import Process
from tests.integration.test_rabbitmq import OLD_ENOUGH_S
from tests.support.waiting import eventually

CONNECTED = "Connected to amqp://"
"""What Celery logs. RabbitMQ cannot be asked: for a while a killed node remembers the consumers that it had."""


@case("F22/blink")
def blink(scene: Scene) -> None:
    _restarted(scene, 0.2)


@case("F22/long")
def away(scene: Scene) -> None:
    _restarted(scene, 10.0)


@case("F23", pools=("async", "prefork"))
def connections_killed(scene: Scene) -> None:
    link = _link_to_rabbitmq(scene) if scene.broker == "rabbitmq" else None
    worker = scene.worker(**({"AGENT_RUNNER_BROKER_URL": _through(link, scene)} if link else {}))
    runs = [Once(scene, role).send().in_the_middle() for role in ("run", "other")]
    scene.strike()
    scene.evidence(_kill_connections(scene, worker) > 0, "connections of the worker to Redis were killed")
    if link:
        scene.evidence(link.drop() > 0, "connections of the worker to RabbitMQ were cut")
    for run in runs:
        run.check()
    BrokerHand(scene).empties()
    scene.demand(worker.popen.poll() is None, "the worker ended")
    scene.next_works()


@case("F24")
def redis_forgets(scene: Scene) -> None:
    """Runs in their middle, and messages that nobody has taken."""
    scene.worker()
    running = [Once(scene, role).send().in_the_middle() for role in ("running", "running too")]
    queued = [Once(scene, role, pause_s=0.2).send() for role in ("queued", "queued too")]
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


@case("F40")
def node_restarted(scene: Scene) -> None:
    """RabbitMQ alone; Redis stays."""
    node = _own_node(scene)
    worker = scene.worker()
    child = worker.child()
    runs = [Once(scene, role, pause_s=OLD_ENOUGH_S + 2).send().in_the_middle() for role in ("run", "other")]
    _wait(OLD_ENOUGH_S)
    scene.strike()
    node.end(signal.SIGKILL)
    node.start()
    scene.evidence(True, "the node was killed and is back")
    for run in runs:
        run.check()
    _serves_on(scene, worker, child)


def _restarted(scene: Scene, down_s: float) -> None:
    """One run lasts longer than they are away; one ends meanwhile, where that is long enough."""
    node = _own_node(scene) if scene.broker == "rabbitmq" else None
    old_s = OLD_ENOUGH_S if node else 0.0
    worker = scene.worker()
    child = worker.child()
    long = Once(scene, "run", pause_s=old_s + down_s + 1).send()
    short = Once(scene, "other", pause_s=old_s + 1).send()
    for run in (long, short):
        run.in_the_middle()
    _wait(old_s)
    before = scene.stack.redis
    scene.strike()
    before.kill(signal.SIGKILL)
    before.popen.wait(5)
    if node:
        node.kill()
    down_at = time.monotonic()
    scene.roles["run"].witness.sse.done.wait(down_s)
    scene.evidence(time.monotonic() - down_at >= down_s, f"they were away for {down_s:g} s")
    after = scene.stack.start_redis()
    scene.evidence(after.pid != before.pid, "Redis is another process now")
    if node:
        node.start()
    for run in (long, short):
        run.check()
    _serves_on(scene, worker, child)


def _serves_on(scene: Scene, worker: Process, child: psutil.Process) -> None:
    """The same process takes what comes, as soon as Celery's next try to connect, and nothing of before is left."""
    if scene.broker == "rabbitmq":
        eventually(lambda: worker.output().count(CONNECTED) >= 2, within_s=20, what="the worker to be back")
    BrokerHand(scene).empties(within_s=15)
    scene.demand(child.is_running() and child.status() != psutil.STATUS_ZOMBIE, "the worker process was replaced")
    scene.next_works()


def _own_node(scene: Scene) -> RabbitNode:
    """In the place of the RabbitMQ that others use too."""
    place = scripts()
    assert place is not None, "rabbitmq-server is not installed"
    stack = scene.stack
    folder = stack.folder / "rabbitmq"
    folder.mkdir()
    node = scene.afterwards.enter_context(RabbitNode(folder, place))
    stack.server.stop()
    stack.settings["AGENT_RUNNER_BROKER_URL"] = node.url
    stack.start("server")
    stack.wait_ready()
    return node


def _link_to_rabbitmq(scene: Scene) -> TcpProxy:
    port = Connection(messages.settings_of(scene.stack).broker_url).port
    return scene.afterwards.enter_context(TcpProxy(fresh_port(), port or 5672))


def _through(link: TcpProxy, scene: Scene) -> str:
    broker = Connection(messages.settings_of(scene.stack).broker_url)
    return broker.clone(hostname="127.0.0.1", port=link.port).as_uri(include_password=True)


def _wait(seconds: float) -> None:
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= until, within_s=seconds + 5)


def _kill_connections(scene: Scene, worker: Process) -> int:
    """CLIENT KILL for every connection of the worker's processes; how many there were."""
    child = worker.child()
    ports = set()
    for process in (child, *child.children()):
        with contextlib.suppress(psutil.NoSuchProcess):  # a command of a run that has just ended
            ports |= {
                connection.laddr.port
                for connection in process.net_connections("tcp")
                if connection.raddr and connection.raddr.port == scene.stack.redis_port
            }
    with redis.Redis(port=scene.stack.redis_port) as client:
        return sum(client.client_kill_filter(addr=f"127.0.0.1:{port}") for port in ports)
