"""A run whose tools leave a line each in a file outside of the product: who runs anything twice is seen there."""

import contextlib
import os

from tests.faults.scene import Scene
from tests.integration.stack import Json


class Gate:
    """A pipe that holds whoever reads it: no run gets past it before `let_go`, however slow or fast the machine is."""

    def __init__(self, scene: Scene) -> None:
        self.path = scene.stack.folder / "gate"
        os.mkfifo(self.path)

    def let_go(self) -> None:
        """Those that wait here now. Call it again for those that come later."""
        with contextlib.suppress(OSError):  # nobody waits
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))


class Once:
    """`message` for an agent of ours: `steps` commands that leave a line each, with a pause before each but the first.

    With a `gate` the last pause is as long as that is closed.
    """

    def __init__(
        self, scene: Scene, *, steps: int = 3, pause_s: float = 1.0, name: str = "once", gate: Gate | None = None
    ) -> None:
        self._steps = steps
        self._file = scene.stack.folder / f"{name}.txt"
        lines = ["Work."]
        for n in range(1, steps + 1):
            pause = f"cat {gate.path}" if gate and n == steps else f"sleep {pause_s}"
            lines += [f"$ {pause}"] if n > 1 else []
            lines.append(f"$ echo {n} >> {self._file}; echo line {n} done")
        self.message = "\n".join(lines)

    def lines(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []

    def problems(self, status: Json) -> list[str]:
        """What is wrong with the run: a tool that ran twice or not at all, a text that is told twice."""
        expected = [str(n) for n in range(1, self._steps + 1)]
        found = [] if self.lines() == expected else [f"the tools left {self.lines()}, not {expected}"]
        calls = [call["args"].get("command") for call in status["tool_calls"]]
        if len(calls) != 2 * self._steps - 1:
            found.append(f"not each command once: {calls}")
        if wrong := [call["id"] for call in status["tool_calls"] if call["status"] != "TOOL_CALL_COMPLETED"]:
            found.append(f"calls that did not complete: {wrong}")
        texts = [m["content"] for m in status["messages"] if m["type"] == "MESSAGE_AI" and m.get("content")]
        if len({m["id"] for m in status["messages"] if m.get("id")}) < len(
            [m for m in status["messages"] if m.get("id")]
        ):
            found.append("two messages with one id")
        counts = [texts[-1].count(f"> line {n} done") for n in range(1, self._steps + 1)] if texts else []
        if counts != [1] * self._steps:
            found.append(f"the answer does not tell each line once: {counts}")
        return found

    def check(self, scene: Scene, status: Json, who: str = "the run") -> None:
        for problem in self.problems(status):
            scene.demand(False, f"{who}: {problem}")
