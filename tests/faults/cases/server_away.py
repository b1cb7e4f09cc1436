"""F26 and F27: the only server, or its database, is away for a while. Nobody is to blame, and nobody is blamed."""

import signal
import sqlite3
import time

from tests.faults.one_start import OneStart
from tests.faults.registry import case
from tests.faults.scene import Scene


@case("F26/short")
def server_away(scene: Scene) -> None:
    _server_down(scene, 5.0)


@case("F26/long")
def server_away_for_two_heartbeats(scene: Scene) -> None:
    _server_down(scene, scene.bound("2 * heartbeat_timeout_s"))


@case("F27")
def database_locked(scene: Scene) -> None:
    """Somebody holds the database; one run ends meanwhile, one goes on."""
    away_s = 10.0
    scene.worker()
    runs = [OneStart(scene, "run", pause_s=away_s + 1).send(), OneStart(scene, "other", pause_s=1.5).send()]
    for run in runs:
        run.in_the_middle()
    scene.strike()
    with sqlite3.connect(scene.stack.folder / "agent-runner.db", isolation_level=None, timeout=5) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        time.sleep(away_s)
        scene.evidence(scene.stack.phase(scene.roles["other"].id) == "EXECUTION_IN_PROGRESS", "nothing was written")
        scene.evidence(runs[1].lines() == ["first", "second"], "a run went on meanwhile")
        holder.execute("ROLLBACK")
    holder.close()
    for run in runs:
        run.check()
    scene.next_works()


def _server_down(scene: Scene, down_s: float) -> None:
    """One run goes on beyond the outage, one ends in its middle."""
    worker = scene.worker()
    runs = [OneStart(scene, "run", pause_s=down_s + 1).send(), OneStart(scene, "other", pause_s=1.5).send()]
    for run in runs:
        run.in_the_middle()
    server, supervisor = scene.stack.server.child(), scene.stack.server
    scene.strike()
    supervisor.kill(signal.SIGKILL)
    server.kill()
    supervisor.popen.wait(5)
    time.sleep(down_s)
    scene.evidence(not server.is_running(), f"the server was away for {down_s:g} s")
    scene.evidence(runs[1].lines() == ["first", "second"], "a run went on meanwhile")
    scene.stack.start("server")
    scene.stack.wait_ready()
    for run in runs:
        run.check()
    scene.demand(worker.popen.poll() is None, "the worker ended")
    scene.next_works()
