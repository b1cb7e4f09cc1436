"""F18 and F19: the message on the queue is not what the worker can use; its headers say whose it is."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

from tests.faults.broker_hand import BrokerHand
from tests.faults.registry import case
from tests.faults.scene import Scene

OTHER_VERSION = "ExecuteGraphtonV2"


@case("F18")
def unknown_task(scene: Scene) -> None:
    """As a server of another version would send it."""
    _changed(scene, headers={"task": OTHER_VERSION})


@case("F19/undecodable")
def undecodable_body(scene: Scene) -> None:
    _changed(scene, body=b"\xff\xfe no JSON at all {")


@case("F19/pickle")
def pickled_body(scene: Scene) -> None:
    """It is refused unread: what reading it would do does not happen."""
    trap = scene.stack.folder / "trap"
    body = pickle.dumps(((_Trap(trap),), {}, {}))
    _changed(scene, body=body, content_type="application/x-python-serialize")
    scene.demand(not trap.exists(), "the pickle was loaded")


@case("F19/arguments")
def wrong_arguments(scene: Scene) -> None:
    _changed(scene, body=json.dumps([["one", "too", "many"], {}, {}]).encode())


def _changed(scene: Scene, **changed: Any) -> None:
    """The worker takes the execution's message after somebody else changed it."""
    worker = scene.worker()
    hand = BrokerHand(scene)
    with hand.held():
        id = scene.send("Who can read this?")
        before = hand.alter(**changed)
        scene.strike()
    scene.end()
    scene.evidence(before["headers"]["execution_id"] == id, "the execution's own message was changed")
    hand.empties()
    scene.demand(worker.popen.poll() is None, "the worker died of it")
    scene.next_works()


class _Trap:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._file),)
