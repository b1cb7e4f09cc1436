"""Tool calls that had finished when their step was cut off get their saved results. They are not made again.

LangChain has no hook that can answer a call before it is made: callbacks are only informed, a `ToolNode` may be
anywhere in a graph, and the node may be a function of the user's. So `BaseTool` itself looks for a saved result first.
It finds one only in a run that continues in the middle of a step.
"""

from functools import wraps
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool

from agent_runner.clients.engine.current import CurrentRun, current_run
from agent_runner.clients.engine.memory.checkpoints import HeadTracking
from agent_runner.clients.engine.memory.tool_results import CHANNEL, result_id
from agent_runner.clients.engine.user_graphs.user_graphs import Graph


async def find_finished_calls(graph: Graph, run: CurrentRun) -> None:
    """Load the saved results of the step that is open at the run's head. Call it before the run continues there."""
    saver: object = graph.checkpointer
    if not isinstance(saver, HeadTracking):
        return
    run.finished_calls = await saver.writes_since(run.thread_id, run.head_checkpoint_id, CHANNEL)


def answer_finished_calls() -> None:
    """From now on each tool of this process looks for a saved result before it runs. Idempotent."""
    make, amake = BaseTool.run, BaseTool.arun
    if getattr(make, "looks_first", False):
        return

    @wraps(make)
    def run(self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        came = _result(tool_call_id)
        return make(self, tool_input, *args, tool_call_id=tool_call_id, **kwargs) if came is None else came

    @wraps(amake)
    async def arun(self: BaseTool, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        came = _result(tool_call_id)
        return await amake(self, tool_input, *args, tool_call_id=tool_call_id, **kwargs) if came is None else came

    vars(run)["looks_first"] = True
    BaseTool.run, BaseTool.arun = run, arun  # type: ignore[method-assign]


def _result(tool_call_id: str | None) -> Any:
    """The saved result: a message, a command or a list of them. None if the call has to be made."""
    run = current_run()
    if run is None or not run.finished_calls or not tool_call_id:
        return None
    place = (var_child_runnable_config.get() or {}).get("configurable") or {}
    return run.finished_calls.get(result_id(place, tool_call_id))
