"""F38: two servers behind one address are replaced, one after the other, while 50 runs go on."""

import os
import signal

import httpx
import psycopg

from tests.faults.fault_stack import FaultStack, fresh_port
from tests.faults.once import Gate, Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.stack import TERMINAL, Json, Process
from tests.support.databases import POSTGRES, on_postgres
from tests.support.waiting import eventually

SERVER = os.environ.get(POSTGRES) or "postgresql://postgres@127.0.0.1:5432/postgres"
RUNS = 50


@case("F38")
def servers_rolled(scene: Scene) -> None:
    """The address moves on to a server that listens; workers, subscribers and this case know no other."""
    stack = scene.stack
    stack.server.stop()
    stack.settings["AGENT_RUNNER_DATABASE_URL"] = _store(scene)
    addresses = [(fresh_port(), fresh_port()) for _ in range(2)]
    servers = [_start(stack, *address) for address in addresses]
    for port, targets in zip((stack.http_port, stack.grpc_port), zip(*addresses, strict=True), strict=True):
        scene.afterwards.enter_context(TcpProxy(port, *targets))
    for (port, _), server in zip(addresses, servers, strict=True):
        _ready(port, server)
    worker = scene.worker()
    gate = Gate(scene)
    work = [Once(scene, f"run {n}", pause_s=2, steps=4, gate=gate) for n in range(RUNS)]
    ids = [scene.send(work[0].message)] + [stack.create(one.message)["metadata"]["id"] for one in work[1:]]
    for id in ids:
        stack.wait_for(id, "EXECUTION_IN_PROGRESS", within_s=30)
    scene.strike()
    before = [server.child().pid for server in servers]
    for n, address in enumerate(addresses):
        servers[n].kill(signal.SIGTERM)
        _wait_for_end(servers[n])
        servers[n] = _start(stack, *address)
        _ready(address[0], servers[n])
    phases = {stack.phase(id) for id in ids}
    after = [server.child().pid for server in servers]
    scene.evidence(not set(before) & set(after), "both servers were replaced")
    scene.evidence(phases == {"EXECUTION_IN_PROGRESS"}, f"all runs were still going on after it: {phases}")
    scene.evidence(worker.output().count("present at server") >= 2, "the worker moved from one server to another")
    for n, (id, one) in enumerate(zip(ids, work, strict=True)):
        status = _ended(scene, id, gate)
        scene.demand(status["phase"] == "EXECUTION_COMPLETED", f"run {n}: {status['phase']} {status.get('error')}")
        one.check(status)
    scene.next_works()


def _start(stack: FaultStack, http_port: int, grpc_port: int) -> Process:
    ports = {"AGENT_RUNNER_HTTP_PORT": str(http_port), "AGENT_RUNNER_GRPC_PORT": str(grpc_port)}
    # Its supervisor tells it, not the shared address, how the child ended.
    return stack.start("server", **ports, AGENT_RUNNER_HTTP_URL=f"http://127.0.0.1:{http_port}")


def _wait_for_end(server: Process) -> None:
    eventually(lambda: server.popen.poll() is not None, within_s=15, what="a server to stop")


def _ended(scene: Scene, id: str, gate: Gate) -> Json:
    def ended() -> Json | None:
        gate.let_go()
        status: Json = scene.stack.get(id)["status"]
        return status if status["phase"] in TERMINAL else None

    return eventually(ended, within_s=60, what=f"the end of {id}")


def _ready(port: int, server: Process) -> None:
    def answers() -> bool:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200

    eventually(answers, within_s=30, what=f"a server; it printed:\n{server.output()[-2000:]}")


def _store(scene: Scene) -> str:
    """A database of this case's own on Postgres, where there is one; else a SQLite file that both servers open."""
    try:
        url = scene.afterwards.enter_context(on_postgres(SERVER))
    except psycopg.OperationalError:
        scene.note("on one SQLite file, there is no Postgres")
        return f"sqlite:///{scene.stack.folder}/two-servers.db"
    scene.note("on Postgres")
    return url
