"""The run that the current code works for, found through a context variable.

A compiled graph holds nothing of one run, so that concurrent runs share it: tools, the memory and the middleware find
the run's sandbox, mask, gate and head here. Tasks and threads started inside the run inherit it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from agent_runner.clients.engine.memory.trail import Trail
from agent_runner.clients.engine.user_graphs.run_context import RunContext
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.sandbox.local import LocalSandbox


class StopRun(Exception):
    """Raised inside a run to end it, whatever tool or sub-agent it is in: no tool error handling swallows it."""


class AgentExitError(StopRun):
    """The agent's own code tried to leave the process or to cancel itself; the text names what it raised."""


async def open_gate() -> None:
    """The gate of a run that nobody holds up."""


@dataclass(slots=True, kw_only=True)
class CurrentRun:
    """`gate` is awaited before each model and tool call: it may wait, or raise StopRun. `head_checkpoint_id` starts as
    the head given with the claim and moves with each checkpoint of the main conversation that is durably written."""

    thread_id: str
    sandbox: LocalSandbox | None = None
    mask: Mask = field(default_factory=Mask)
    gate: Callable[[], Awaitable[None]] = open_gate
    head_checkpoint_id: str = ""
    head_moved: Callable[[], None] | None = None
    """Called after each such move."""
    trail: Trail = field(default_factory=Trail)
    broken_off: str = ""
    """How the session's run before this one ended, where that was in the middle; in words."""
    untold: str = ""
    """The execution before, whose worker may have written more than it could tell."""
    go_on_if_found: bool = False
    """If it has, this run goes on there without new input."""
    context: RunContext = field(default_factory=RunContext)
    org: str = ""
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    """What was opened for the run by a graph function, closed at its end in its task."""
    env: dict[str, str] = field(default_factory=dict)
    """The variables of the execution, for the code of a user's graph; never written into the process."""
    finished_calls: Mapping[str, Any] = field(default_factory=dict)
    """What calls of the step that it goes on with gave, by the ids that they are kept under (`tool_results.py`)."""
    doing: str = ""
    """What of its set-up may take long and goes on now, in words."""

    def move_head(self, checkpoint_id: str) -> None:
        """What is reached is in memory."""
        moved = checkpoint_id != self.head_checkpoint_id
        self.head_checkpoint_id = checkpoint_id
        if moved and self.head_moved is not None:
            self.head_moved()


_current: ContextVar[CurrentRun | None] = ContextVar("agent_runner_current_run", default=None)


def current_run() -> CurrentRun | None:
    """The run that this code works for, or None outside of one."""
    return _current.get()


@contextmanager
def running(run: CurrentRun) -> Iterator[CurrentRun]:
    """Make `run` the current one for this task and everything that it starts inside the block."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what the current run waits for, so that its end can name it."""
    run = current_run()
    if run is None:
        yield
        return
    run.doing = what
    try:
        yield
    finally:
        run.doing = ""
