"""The run that the current code works for, found through a context variable.

A compiled graph holds nothing of one run, so that concurrent runs can share it. Tools, the memory and the middleware
find the run's sandbox, mask, gate and head here. Tasks and threads started inside the run inherit the variable.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

from agent_runner.clients.engine.memory.trail import Trail
from agent_runner.clients.engine.user_graphs.run_context import RunContext
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.models.budget import Spent
from agent_runner.clients.models.order.model_call import FailedModel
from agent_runner.clients.sandbox.kinds.port import Sandbox


class StopRun(Exception):
    """Raised inside a run to end it, whatever tool or sub-agent it is in: no tool error handling swallows it."""


class AgentExitError(StopRun):
    """The agent's own code tried to leave the process or to cancel itself; the text names what it raised."""


class ToolServers(Protocol):
    """The MCP servers of a run."""

    async def call(self, server: str, tool: str, args: dict[str, Any]) -> Any: ...
    async def close(self) -> None: ...


class BudgetReached(StopRun):
    """The run may not do more; the text names the limit."""


async def open_gate() -> None:
    """A gate that is always open."""


@dataclass(slots=True, kw_only=True)
class CurrentRun:
    """`gate` is awaited before each model and tool call: it may wait, or raise StopRun. `head_checkpoint_id` starts as
    the head that came with the claim. It moves to each checkpoint of the main conversation once that is durable."""

    thread_id: str
    sandbox: Sandbox | None = None
    file_changes: Lock = field(default_factory=Lock)
    """Held while a tool changes a file: an edit reads it and writes it again, and a model asks for several at once."""
    tool_servers: ToolServers | None = None
    mask: Mask = field(default_factory=Mask)
    gate: Callable[[], Awaitable[None]] = open_gate
    head_checkpoint_id: str = ""
    head_moved: Callable[[], None] | None = None
    """Called each time after `head_checkpoint_id` has moved."""
    trail: Trail = field(default_factory=Trail)
    broken_off: str = ""
    """How the previous run of the session ended, in words, if it ended in the middle of its work; else empty."""
    untold: str = ""
    """The id of the previous execution, if its worker may have written more steps than it could report."""
    go_on_if_found: bool = False
    """If there are such steps, this run continues after them without new input."""
    execution_id: str = ""
    attempt: int = 1
    context: RunContext = field(default_factory=RunContext)
    org: str = ""
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)
    """The context managers that a graph function opened for the run. They are closed at its end, in its own task."""
    env: dict[str, str] = field(default_factory=dict)
    """The environment variables of the execution, for a user's graph; never written into the process environment."""
    finished_calls: Mapping[str, Any] = field(default_factory=dict)
    """The saved results of tool calls in the step that this run continues, by their result ids (`tool_results.py`)."""
    spent: Spent = field(default_factory=Spent)
    budget_questions: frozenset[str] = frozenset()
    """The ids of questions about a budget that were open when the run began."""
    failed_models: dict[str, FailedModel] = field(default_factory=dict)
    """The models that gave no answer in this run, by their names in the agent's order."""
    on_failed_model: Callable[[FailedModel], None] | None = None
    doing: str = ""
    """The part of the set-up that is running now and may take long, in words; empty if there is none."""

    def move_head(self, checkpoint_id: str) -> None:
        """Make `checkpoint_id` the head. The checkpoint is already in the store."""
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
    """Note in the current run what it waits for, so that a message about the end of the run can name it."""
    run = current_run()
    if run is None:
        yield
        return
    run.doing = what
    try:
        yield
    finally:
        run.doing = ""
