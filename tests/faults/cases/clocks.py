"""F35: a worker's wall clock is wrong by five minutes. Deadlines are the database's, and seconds are counted."""

import re
import time
from datetime import datetime
from pathlib import Path

from tests.faults.once import Once
from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Process

OFF_S = 300
SITE = '''
"""Shifts the wall clock of a Python process. gRPC hands its deadlines to C, which reads the real clock."""

import sys
import time

_real, _real_ns = time.time, time.time_ns


def _shifted():
    shift = 0 if sys._getframe(1).f_globals.get("__name__", "").startswith("grpc") else OFF_S
    return _real() + shift


time.time, time.time_ns = _shifted, lambda: _real_ns() + OFF_S * 10**9
'''


@case("F35/ahead")
def ahead(scene: Scene) -> None:
    _shifted(scene, OFF_S)


@case("F35/behind")
def behind(scene: Scene) -> None:
    _shifted(scene, -OFF_S)


def _shifted(scene: Scene, off_s: int) -> None:
    """Two turns on a worker and an orchestrator with that clock; then the worker leaves, and nobody takes the third."""
    clock = _clock(scene, off_s)
    worker = scene.worker(**clock)
    scene.stack.start("orchestrator", **clock)
    once = Once(scene, steps=3, pause_s=0.3).send()
    id = scene.roles["run"].id
    scene.strike()
    once.check()
    session = scene.stack.get(id)["spec"]["session_id"]
    scene.next_works("What did I say?", session_id=session)
    found = _off_s(worker)
    scene.evidence(abs(found - off_s) < 10, f"the worker's clock was off by {off_s} s: {found:.0f} s")
    ages = [time.time() - _seconds(row) for row in _times(scene.stack.get(id)["status"])]
    scene.demand(ages and all(-5 < age < 60 for age in ages), f"times of the status are not the database's: {ages}")
    worker.stop()
    scene.send("Is there anybody?", role="nobody")
    scene.strike("nobody", at=scene.roles["nobody"].struck_at)
    scene.end("nobody")


def _clock(scene: Scene, off_s: int) -> dict[str, str]:
    """The environment of a process whose clock is off: libfaketime, or without it our own, for Python only."""
    found = sorted(Path("/usr").glob("lib*/*/faketime/libfaketimeMT.so.1"))
    if found:
        scene.note("libfaketime")
        return {"LD_PRELOAD": str(found[0]), "FAKETIME": f"{off_s:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    scene.note("time.time shifted, there is no libfaketime")
    folder = scene.stack.folder / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE.replace("OFF_S", f"({off_s})"))
    return {"PYTHONPATH": str(folder)}


def _off_s(worker: Process) -> float:
    """By the time in front of the last line of its log."""
    said = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ", worker.output(), re.M)
    return time.mktime(time.strptime(said[-1], "%Y-%m-%d %H:%M:%S")) - time.time() if said else 0.0


def _times(status: dict[str, object]) -> list[str]:
    return re.findall(r"'(?:timestamp|started_at|completed_at|created_at)': '([^']+)'", str(status))


def _seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339.replace("Z", "+00:00")).timestamp()
