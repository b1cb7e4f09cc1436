"""F01 to F05: nobody takes the execution, and E101 says why."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults.fault_stack import fresh_port
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.faults.tcp_proxy import TcpProxy
from tests.integration.stack import Process
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
TASKS, PACKAGE = ROOT / "tasks", ROOT / "src" / "agent_runner"
MISSING = "a_module_that_nobody_installed"
BANNER = "STARTUP FAILURE"


@case("F01")
def no_worker(scene: Scene) -> None:
    scene.send("Is there anybody?")
    scene.strike(at=scene.roles["run"].struck_at)
    scene.end()
    scene.evidence(not scene.stack.workers(), "no worker was there")


@case("F02")
def broken_import(scene: Scene) -> None:
    """Our package in front of the real one, with a copy of tasks/ whose ExecuteGraphton imports what is not there."""
    broken = scene.stack.folder / "broken" / "agent_runner"
    shutil.copytree(TASKS, broken / "tasks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "ai", "app", "clients", "status", "v1"):
        (broken / name).symlink_to(PACKAGE / name)
    module = broken / "tasks" / "execute_graphton.py"
    module.write_text(f"import {MISSING}\n" + module.read_text())
    environment = {"PYTHONPATH": str(broken.parent)}
    scene.send("Who imports this?")
    scene.strike(at=scene.roles["run"].struck_at)
    worker = scene.stack.start("worker", **environment)
    scene.end()
    _one_banner(scene, environment, "Import Error", MISSING)
    scene.evidence(MISSING in worker.output(), "the worker met the broken import")
    scene.demand(not scene.stack.workers(), "a worker with a broken import was online")


@case("F03")
def settings_missing(scene: Scene) -> None:
    _without(scene, "AGENT_RUNNER_BROKER_URL", "STIGMER_BACKEND_ENDPOINT")


@case("F03/key")
def key_missing(scene: Scene) -> None:
    """HTTP refuses what the supervisor tells without a key; Redis takes it to the server."""
    worker = _without(scene, "STIGMER_API_KEY", "STIGMER_BACKEND_ENDPOINT")
    scene.evidence("could not be left" not in worker.output(), "Redis took the report")


def _without(scene: Scene, *names: str) -> Process:
    environment = {"MODE": "production", **dict.fromkeys(names, "")}
    scene.send("What is missing?")
    scene.strike(at=scene.roles["run"].struck_at)
    worker = scene.stack.start("worker", **environment)
    scene.end()
    _one_banner(scene, environment, "Configuration Error", *names)
    scene.evidence(BANNER in worker.output(), "the worker did not start")
    return worker


@case("F04")
def broker_unreachable(scene: Scene) -> None:
    """Nothing listens where the worker looks for its broker; then something does, and the same worker serves."""
    port = fresh_port()
    url = {"AGENT_RUNNER_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
    with TcpProxy(port, scene.stack.redis_port, refusing=True) as link:
        scene.facts["broker_error"] = "Connection refused"
        scene.send("Is the broker there?", role="waiting")
        scene.strike(at=scene.roles["waiting"].struck_at)
        worker = scene.stack.start("worker", **url)
        environment = scene.stack.environment(url)
        program = [sys.executable, str(Path(sys.executable).parent / "agent-runner"), "doctor", "--json"]
        doctor = subprocess.run(program, env=environment, cwd=scene.stack.folder, capture_output=True, text=True)
        checks = {c["name"].lower(): c for c in json.loads(doctor.stdout)["checks"]}
        broker = next(c for name, c in checks.items() if "broker" in name)
        scene.demand(doctor.returncode == 1 and broker.get("up") is False, f"doctor is not red: {broker}")
        scene.end("waiting")
        failures = scene.stack.http.get("/v1/workers").json()["startup_failures"]
        scene.demand("Connection refused" in json.dumps(failures), f"the failed start is not recorded: {failures}")
        scene.evidence(link.accepted == 0 and BANNER in worker.output(), "the worker found no broker")
        tried = f"{BANNER}: Initialisation"
        eventually(lambda: worker.output().count(tried) >= 2, within_s=15, what="a second try")
        scene.demand(worker.output().count(tried) <= 4, "it tries without back-off")
        scene.demand(worker.popen.poll() is None, "the supervisor gave up")
        link.heal()
        eventually(scene.stack.workers, within_s=15, what="the worker to come up by itself")
        scene.send("$ echo there", role="afterwards")
        scene.end("afterwards")
        worker.stop()


@case("F05")
def every_slot_busy(scene: Scene) -> None:
    roles = ("busy", "busy too")
    for _ in roles:
        scene.worker()
    for role in roles:
        scene.act({"do": "await", "s": 5.5}, role=role)
    for role in roles:
        scene.in_flight(role)
    scene.send("Is there room?")
    scene.strike("run", at=scene.roles["run"].struck_at)
    scene.end()
    busy = [scene.stack.phase(scene.roles[role].id) for role in roles]
    scene.evidence(busy == ["EXECUTION_IN_PROGRESS"] * 2, "both slots were busy until it ended")


def _one_banner(scene: Scene, environment: dict[str, str], *texts: str) -> None:
    """The worker itself, without a supervisor: one banner, exit 1."""
    argv = [sys.executable, "-m", "agent_runner.tasks.worker", "--as", "agent-runner worker"]
    done = subprocess.run(
        argv, env=scene.stack.environment(environment), cwd=scene.stack.folder, capture_output=True, text=True
    )
    scene.demand(done.returncode == 1, f"exit {done.returncode} instead of 1")
    scene.demand(done.stderr.count(BANNER) == 1, f"not one banner: {done.stderr[-500:]}")
    scene.demand(all(text in done.stderr for text in texts), f"the banner does not name {texts}: {done.stderr[-800:]}")
