"""A run that a fault meets between its two tools, and of which every step must run once (law L4)."""

from tests.faults.once import Once
from tests.faults.scene import Scene
from tests.integration.stack import Json, eventually

BEFORE, AFTER = "1", "2"


class OneStart:
    """In its role: a tool, a pause, and a second tool."""

    def __init__(self, scene: Scene, role: str = "run", *, pause_s: float = 1.0) -> None:
        self._scene, self._role = scene, role
        self._once = Once(scene, steps=2, pause_s=pause_s, name=role.replace(" ", "-"))

    @property
    def message(self) -> str:
        return self._once.message

    @property
    def went_on(self) -> bool:
        """Its second tool has run too."""
        return self._once.lines() == [BEFORE, AFTER]

    def send(self) -> "OneStart":
        self._scene.send(self.message, role=self._role)
        return self

    def in_the_middle(self) -> "OneStart":
        """Wait until its first tool has run, and the server knows."""
        eventually(self._once.lines, within_s=15, what=f"{self._role} to begin")
        self._scene.in_flight(self._role, text=f"line {BEFORE} done\\n[Command succeeded")
        return self

    def check(self) -> Json:
        """Wait for its end: each tool ran once, and nothing is said twice."""
        status = self._scene.end(self._role)
        self._once.check(self._scene, status, self._role)
        return status
