"""Whether every step ran once: a file outside the system that each tool leaves a line in (law L4)."""

from pathlib import Path

from tests.faults.scene import Scene
from tests.integration.stack import Json, eventually


class OneStart:
    """A run of three commands in the role; `first`, a pause and `second`."""

    def __init__(self, scene: Scene, role: str = "run", *, pause_s: float = 1.0) -> None:
        self._scene, self._role = scene, role
        self.file: Path = scene.stack.folder / f"lines of {role}.txt".replace(" ", "-")
        self.file.touch()
        self.message = "\n".join(
            [
                "Work.",
                f"$ echo first >> {self.file}; echo first done",
                f"$ sleep {pause_s:g}",
                f"$ echo second >> {self.file}; echo second done",
            ]
        )

    def send(self, **given: object) -> "OneStart":
        self._scene.send(self.message, role=self._role, **given)
        return self

    def lines(self) -> list[str]:
        return self.file.read_text().split()

    def in_the_middle(self) -> "OneStart":
        """Wait until its first tool has begun, and the server knows."""
        eventually(self.lines, within_s=15, what=f"{self._role} to begin")
        self._scene.in_flight(self._role, text="first done")
        return self

    def check(self) -> Json:
        """Wait for its end: each tool ran once, and nothing is said twice."""
        scene, role = self._scene, self._role
        status = scene.end(role)
        scene.demand(self.lines() == ["first", "second"], f"not each tool once in {role}: {self.lines()}")
        commands = [call for call in status.get("tool_calls", []) if call["name"] == "execute"]
        scene.demand(len(commands) == 3, f"{role} shows {len(commands)} commands instead of 3")
        texts = [m["content"] for m in status["messages"] if m["type"] == "MESSAGE_AI" and m.get("content")]
        scene.demand(len(texts) == len(set(texts)), f"{role} says something twice: {texts}")
        for done in ("first done", "second done"):
            count = texts[-1].count(f"\n> {done}") if texts else 0
            scene.demand(count == 1, f"the answer of {role} says {done!r} {count} times")
        return status
