"""Keeps exceptions of an agent's own code inside its run.

asyncio raises SystemExit and KeyboardInterrupt of a task again out of the event loop, which would end every other run
of the process. A CancelledError that nobody asked for looks like a cancel. All of these become `AgentExitError`, which
ends only the run that raised it.

    contain(loop)         once per loop: no task lets SystemExit or KeyboardInterrupt out
    guard_nodes(graph)    every node of a graph turns a BaseException that is no Exception into AgentExitError
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.pregel import Pregel

from agent_runner.clients.engine.current import AgentExitError


def exit_error(error: BaseException) -> AgentExitError:
    """The error that the run reports instead of `error`. Its text names the exception."""
    if isinstance(error, asyncio.CancelledError):
        return AgentExitError("the agent's own code raised CancelledError: nobody cancelled this run")
    argument = f"({error})" if str(error) else ""
    return AgentExitError(f"the agent's own code raised {type(error).__name__}{argument}")


def cancelled_by_us() -> bool:
    """Whether a cancel of the current task was really requested."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@asynccontextmanager
async def contained() -> AsyncIterator[None]:
    """Turn a BaseException that is no Exception into AgentExitError. GeneratorExit and a real cancel pass through."""
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
    """From now on a task of `loop` fails with AgentExitError instead of stopping the loop."""
    loop.set_task_factory(_contained_task)


def _contained_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    return asyncio.Task(_Contained(coro), loop=loop, **options)


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine that raises AgentExitError instead of SystemExit and KeyboardInterrupt. Not an `async def`: a task
    that is cancelled before its first step would never await the inner coroutine, and Python would warn about it."""

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
        # asyncio reads these attributes when it prints a task and its stack.
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
    """Wrap every node once. A node that is a sub-graph, or holds one, is not wrapped: LangGraph must still find it."""
    for node in graph.nodes.values():
        if not isinstance(node.bound, (_Guarded, Pregel)) and not node.subgraphs:
            node.bound = _Guarded(node.bound)
