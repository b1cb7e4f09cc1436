"""F26 and F27: the only server, or its database, is away for a while. Nobody is to blame, and nobody is blamed."""

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import make_url

from tests.faults.fault_stack import fresh_port
from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.support.databases import POSTGRES, on_postgres

DATABASE_AWAY_S = 10.0


@case("F26/short")
def server_away(scene: Scene) -> None:
    _server_down(scene, 5.0)


@case("F26/long")
def server_away_for_two_heartbeats(scene: Scene) -> None:
    _server_down(scene, scene.bound("2 * heartbeat_timeout_s"))


@case("F27/locked")
def database_locked(scene: Scene) -> None:
    """SQLite, which somebody else holds; one run ends meanwhile, one goes on."""
    runs = _two_in_the_middle(scene, DATABASE_AWAY_S)
    scene.strike()
    holder = sqlite3.connect(scene.stack.folder / "agent-runner.db", isolation_level=None, timeout=5)
    holder.execute("BEGIN EXCLUSIVE")
    time.sleep(DATABASE_AWAY_S)
    scene.evidence(scene.stack.phase(scene.roles["other"].id) == "EXECUTION_IN_PROGRESS", "nothing was written")
    scene.evidence(runs[1].went_on, "a run went on meanwhile")
    holder.execute("ROLLBACK")
    holder.close()
    for run in runs:
        run.check()
    scene.next_works()


@case("F27/unreachable")
def database_unreachable(scene: Scene) -> None:
    """Postgres, whose connections break and which takes no new ones."""
    link = scene.afterwards.enter_context(_on_postgres(scene))
    runs = _two_in_the_middle(scene, DATABASE_AWAY_S)
    scene.strike()
    scene.evidence(link.reset() > 0, "the server's connections were cut")
    time.sleep(DATABASE_AWAY_S)
    answer = scene.stack.http.get(f"/v1/executions/{scene.roles['run'].id}")
    scene.evidence(answer.status_code == 503, f"nothing could be read: {answer.status_code}")
    scene.evidence(runs[1].went_on, "a run went on meanwhile")
    link.heal()
    for run in runs:
        run.check()
    scene.next_works()


@contextmanager
def _on_postgres(scene: Scene) -> Iterator[TcpProxy]:
    """The scene's server anew, on a database of its own behind a link."""
    with on_postgres(os.environ[POSTGRES]) as own:
        url = make_url(own)
        with TcpProxy(fresh_port(), url.port or 5432) as link:
            scene.stack.server.stop()
            linked = url.set(host="127.0.0.1", port=link.port).render_as_string(hide_password=False)
            scene.stack.start("server", AGENT_RUNNER_DATABASE_URL=linked)
            scene.stack.wait_ready()
            yield link


def _two_in_the_middle(scene: Scene, down_s: float) -> tuple[Once, Once]:
    """One run goes on beyond the outage, one ends in its middle."""
    scene.worker()
    runs = Once(scene, "run", pause_s=down_s + 1).send(), Once(scene, "other", pause_s=1.5).send()
    for run in runs:
        run.in_the_middle()
    return runs


def _server_down(scene: Scene, down_s: float) -> None:
    runs = _two_in_the_middle(scene, down_s)
    server, supervisor = scene.stack.server.child(), scene.stack.server
    scene.strike()
    supervisor.kill(signal.SIGKILL)
    server.kill()
    supervisor.popen.wait(5)
    time.sleep(down_s)
    scene.evidence(not server.is_running(), f"the server was away for {down_s:g} s")
    scene.evidence(runs[1].went_on, "a run went on meanwhile")
    scene.stack.start("server")
    scene.stack.wait_ready()
    for run in runs:
        run.check()
    scene.next_works()
