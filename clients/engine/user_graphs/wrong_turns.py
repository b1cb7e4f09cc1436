"""Notices that a graph was sent to a node which it does not have (`Command(goto=...)`, `Send`, a route without a map).

LangGraph leaves such a target out, with a line in its log of warnings, and the run ends as if its work were done. There
is no hook between the writes of a step's tasks and the next step, so the end of each step looks through these writes.
"""

from collections.abc import Iterator
from functools import wraps
from typing import Any

from langgraph._internal._constants import TASKS
from langgraph.constants import END
from langgraph.pregel._loop import PregelLoop
from langgraph.types import Command, Send

TO_A_NODE = "branch:to:"
"""The prefix of the channels by which LangGraph's `StateGraph` starts its nodes."""


def notice_wrong_turns() -> None:
    """From now on each step of a graph in this process tells the run's handler (`EventHandler.wrong_turn`) of targets
    that the graph does not have. Idempotent."""
    begins, ends = getattr(PregelLoop, "_first", None), getattr(PregelLoop, "after_tick", None)
    if begins is None or ends is None or getattr(ends, "notices", False):
        return

    @wraps(begins)
    def first(self: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.input, Command):
            for target in _of_command(self.input):
                if target not in self.nodes:
                    _tell(self, "", target)
        return begins(self, *args, **kwargs)

    @wraps(ends)
    def after_tick(self: Any) -> None:
        for node, target in _wrong_turns(self):
            _tell(self, node, target)
        ends(self)

    vars(after_tick)["notices"] = True
    PregelLoop._first, PregelLoop.after_tick = first, after_tick  # type: ignore[method-assign]


def _of_command(given: Command[Any]) -> Iterator[str]:
    """Where a command that begins a run goes to."""
    for place in given.goto if isinstance(given.goto, list | tuple) else [given.goto]:
        name = place.node if isinstance(place, Send) else str(place)
        if name != END:
            yield name


def _wrong_turns(loop: Any) -> Iterator[tuple[str, str]]:
    """(the node that routed, the target) for the tasks of the step that ends."""
    channels, nodes = loop.channels, loop.nodes
    for task in loop.tasks.values():
        for channel, value in task.writes:
            if channel not in channels:
                if channel.startswith(TO_A_NODE):
                    yield task.name, channel.removeprefix(TO_A_NODE)
            elif channel == TASKS and isinstance(value, Send) and value.node not in nodes:
                yield task.name, value.node


def _tell(loop: Any, node: str, target: str) -> None:
    place = tuple(str(part).partition(":")[0] for part in loop.checkpoint_ns)
    known = tuple(name for name in loop.nodes if not name.startswith("__"))
    for handler in loop.manager.handlers if loop.manager else ():
        if tell := getattr(handler, "wrong_turn", None):
            tell(loop.manager.run_id, {"node": node, "target": target, "place": place, "nodes": known})
