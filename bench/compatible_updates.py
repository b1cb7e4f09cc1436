"""S12: what the updates of compatible reporting cost a run of a minute, from the worker's own count."""

import json
import re

from bench.arithmetic import Pair, Row, row
from bench.scene import opened
from tests.integration.stack import Process
from tests.support.waiting import eventually

EVENTS, EVERY_S = 150, 0.4
LINE = r"run\.updates [^\n]*execution_id={id}\b[^\n]*"


def measure(rounds: int) -> list[Row]:
    """All rounds at once: each is a run of its own, and all of them mostly wait for their model."""
    message = json.dumps({"tokens": EVENTS, "every_s": EVERY_S})
    with opened(worker=False, bare=False, AGENT_RUNNER_REPORTING="compatible") as scene:
        stack = scene.stack
        worker = stack.start("worker", AGENT_RUNNER_REPORTING="compatible")
        eventually(lambda: " is ready: " in worker.output(), within_s=40, what="the worker")
        ids = [stack.create(message, graph="tokens")["metadata"]["id"] for _ in range(rounds)]
        statuses = {id: stack.wait_for(id, within_s=2 * EVENTS * EVERY_S)["status"] for id in ids}
        told = {id: _told(worker, id) for id in ids}
        worker.stop()
    if wrong := {id: status["phase"] for id, status in statuses.items() if status["phase"] != "EXECUTION_COMPLETED"}:
        raise RuntimeError(f"not all completed: {wrong}")
    updates = sorted({sent for sent, _ in told.values()})
    pairs = [Pair(value=spent_s, baseline=EVENTS * EVERY_S) for _, spent_s in told.values()]
    return [row("S12", "share", pairs, f"updates of a run before the last one: {', '.join(map(str, updates))}")]


def _told(worker: Process, id: str) -> tuple[int, float]:
    """Updates that were sent, and the seconds that the calls took."""
    line = eventually(lambda: re.search(LINE.format(id=id), worker.output()), what=f"the count of {id}")
    said = dict(re.findall(r"(\w+)=([\d.]+)", line[0]))
    if int(said["failed"]):
        raise RuntimeError(f"{said['failed']} updates of {id} failed")
    return int(said["updates"]), float(said["spent_s"])
