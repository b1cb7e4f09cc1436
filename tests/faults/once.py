"""A run whose tools leave a line each in a file outside of the product: who runs anything twice is seen there (L4)."""

import contextlib
import os

from tests.faults.scene import Scene
from tests.integration.stack import Json
from tests.support.waiting import eventually


class Gate:
    """A pipe that holds whoever reads it: no run gets past it before `let_go`, however slow or fast the machine is."""

    def __init__(self, scene: Scene) -> None:
        self.path = scene.stack.witnesses / "gate"
        os.mkfifo(self.path)

    def let_go(self) -> None:
        """Those that wait here now. Call it again for those that come later."""
        with contextlib.suppress(OSError):  # nobody waits
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))


class Once:
    """In its role: `steps` commands that leave a line each, with a pause before each but the first.

    With a `gate` the last pause is as long as that is closed.
    """

    def __init__(
        self, scene: Scene, role: str = "run", *, steps: int = 2, pause_s: float = 1.0, gate: Gate | None = None
    ) -> None:
        self._scene, self._role, self._steps = scene, role, steps
        self._file = scene.stack.witnesses / f"{role.replace(' ', '-')}.txt"
        lines = ["Work."]
        for n in range(1, steps + 1):
            pause = f"cat {gate.path}" if gate and n == steps else f"sleep {pause_s}"
            lines += [f"$ {pause}"] if n > 1 else []
            lines.append(f"$ echo {n} >> {self._file}; echo line {n} done")
        self.message = "\n".join(lines)

    def send(self) -> "Once":
        self._scene.send(self.message, role=self._role)
        return self

    def in_the_middle(self) -> "Once":
        """Wait until its first command has run, and the server knows."""
        eventually(self.lines, within_s=15, what=f"{self._role} to begin")
        self._scene.in_flight(self._role, text="line 1 done\\n[Command succeeded")
        return self

    def lines(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []

    @property
    def went_on(self) -> bool:
        """Its last command has run too."""
        return self.lines() == self._expected

    def problems(self, status: Json) -> list[str]:
        """What is wrong with the run: a tool that ran twice or not at all, a text that is told twice."""
        found = [] if self.went_on else [f"the tools left {self.lines()}, not {self._expected}"]
        calls = [call["args"].get("command") for call in status.get("tool_calls", ())]
        if len(calls) != 2 * self._steps - 1:
            found.append(f"not each command once: {calls}")
        if wrong := [call["id"] for call in status.get("tool_calls", ()) if call["status"] != "TOOL_CALL_COMPLETED"]:
            found.append(f"calls that did not complete: {wrong}")
        texts = [m["content"] for m in status["messages"] if m["type"] == "MESSAGE_AI" and m.get("content")]
        ids = [m["id"] for m in status["messages"] if m.get("id")]
        if len(set(ids)) < len(ids):
            found.append("two messages with one id")
        counts = [texts[-1].count(f"> line {n} done") for n in range(1, self._steps + 1)] if texts else []
        if counts != [1] * self._steps:
            found.append(f"the answer does not tell each line once: {counts}")
        return found

    def check(self, status: Json | None = None) -> Json:
        """Each command ran once and nothing is said twice, in `status` or in that of its end, which is waited for."""
        ended = self._scene.end(self._role) if status is None else status
        for problem in self.problems(ended):
            self._scene.demand(False, f"{self._role}: {problem}")
        return ended

    @property
    def _expected(self) -> list[str]:
        return [str(n) for n in range(1, self._steps + 1)]
