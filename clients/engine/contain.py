"""Keeps what an agent's own code raises inside its run.

SystemExit and KeyboardInterrupt in a task are raised again out of the event loop by asyncio, and would end every other
run of the process; a CancelledError that nobody asked for looks like a cancel. Both become `AgentExitError`, which
ends the run that raised it.

    contain(loop)         once per loop: no task lets SystemExit or KeyboardInterrupt out
    guard_nodes(graph)    every node of a graph turns what is no Exception into AgentExitError
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.pregel import Pregel

from agent_runner.clients.engine.current import AgentExitError


def exit_error(error: BaseException) -> AgentExitError:
    """What the run reports instead: it names the exception."""
    if isinstance(error, asyncio.CancelledError):
        return AgentExitError("the agent's own code raised CancelledError: nobody cancelled this run")
    argument = f"({error})" if str(error) else ""
    return AgentExitError(f"the agent's own code raised {type(error).__name__}{argument}")


def cancelled_by_us() -> bool:
    """Whether somebody really asked the current task to cancel."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def contained() -> AsyncIterator[None]:
    """Turn what is no Exception into AgentExitError, but let a real cancel through."""
    try:
        yield
    except asyncio.CancelledError as error:
        if cancelled_by_us():
            raise
        raise exit_error(error) from error
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        raise exit_error(error) from error


@contextmanager
def contained_blocking() -> Iterator[None]:
    """`contained` for code in a thread, where nothing can be cancelled."""
    try:
        yield
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        raise exit_error(error) from error


def contain(loop: asyncio.AbstractEventLoop) -> None:
    """Every task of `loop` from now on fails with AgentExitError where it would have stopped the loop."""
    loop.set_task_factory(_contained_task)


def _contained_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(_Contained(coro), loop=loop, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine whose exits are errors. Not an `async def`: a task that is cancelled before its first step would
    never await the inner one, and Python would warn about it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.__name__ = getattr(inner, "__name__", type(inner).__name__)
        self.__qualname__ = getattr(inner, "__qualname__", self.__name__)

    def send(self, value: Any) -> Any:
        try:
            return self._inner.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise exit_error(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._inner.throw(*error)
        except (SystemExit, KeyboardInterrupt) as left:
            raise exit_error(left) from left

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        # What is running, and where: asyncio prints tasks and their stacks from these.
        if name.startswith(("cr_", "gi_")):
            return getattr(self._inner, name)
        raise AttributeError(name)


class _Guarded(Runnable[Any, Any]):
    """A node's runnable with `contained` around it; emits no events of its own."""

    def __init__(self, inner: Runnable[Any, Any]) -> None:
        self._inner = inner

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        with contained_blocking():
            return self._inner.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async with contained():
            return await self._inner.ainvoke(input, config, **kwargs)


def guard_nodes(graph: "Pregel[Any, Any, Any, Any]") -> None:
    """Wrap every node once. Sub-graphs that are nodes are left to their own nodes, so that they are still found."""
    for node in graph.nodes.values():
        if not isinstance(node.bound, (_Guarded, Pregel)) and not node.subgraphs:
            node.bound = _Guarded(node.bound)
