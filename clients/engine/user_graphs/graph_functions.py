"""Calls a user's functions that make a graph for a run, in every form that LangGraph's own tools support.

A function is sync or async, plain or a context manager (also a bare generator, or a function that returns a context
manager). It takes the run's config, the server's runtime, both or neither. What a parameter gets depends on its
annotation (`RunnableConfig`, `ServerRuntime`), else on its name (`config`, `runtime`), else on its position: config
first, then runtime.

A context manager is opened for the run and closed after it, in the run's own task.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime

from agent_runner.clients.engine.contain import contained_blocking
from agent_runner.clients.engine.current import current_run
from agent_runner.clients.engine.user_graphs.grouped_errors import named
from agent_runner.clients.engine.user_graphs.run_context import Caller, RunContextError, context_for
from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)

RUNNABLE = (
    ". A Runnable has no steps or memory: make it a node,"
    " StateGraph(MessagesState).add_node('run', runnable).add_edge(START, 'run').compile()"
)


class GraphFunctionError(Exception):
    """A graph function cannot be called, or failed; the text says why, and follows the graph's name."""


async def call(name: str, target: Any, config: RunnableConfig, store: BaseStore | None) -> Any:
    """The value that the function returns for this run. Raises GraphFunctionError, RunContextError."""
    if not callable(target):
        raise GraphFunctionError(
            f"is {type(target).__name__}, not a graph or a function that returns one{_hint(target)}"
        )
    try:
        arguments = _arguments(name, target, config, store)
        made = await _called(target, arguments)
        return await _opened(made) if _is_manager(made) else made
    except (GraphFunctionError, RunContextError):
        raise
    except Exception as error:
        raise GraphFunctionError(f"could not be made, its function failed: {named(error)}") from error


def _hint(target: Any) -> str:
    return RUNNABLE if isinstance(target, Runnable) else ""


async def _called(target: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call an async function here and any other in a thread, as it may block. A generator becomes a context manager."""
    positional = [value for key, value in arguments.items() if key.startswith("*")]
    named = {key: value for key, value in arguments.items() if not key.startswith("*")}
    if inspect.isasyncgenfunction(target):
        return asynccontextmanager(target)(*positional, **named)
    if inspect.isgeneratorfunction(target):
        return contextmanager(target)(*positional, **named)
    if inspect.iscoroutinefunction(target):
        return await target(*positional, **named)
    made = await asyncio.to_thread(_blocking, target, positional, named)
    return await made if inspect.isawaitable(made) else made


def _blocking(target: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> Any:
    with contained_blocking():
        return target(*positional, **named)


def _is_manager(made: Any) -> bool:
    return hasattr(type(made), "__aenter__") or hasattr(type(made), "__enter__")


async def _opened(manager: Any) -> Any:
    """Open the context manager for the current run. It is closed at the end of the run."""
    run = current_run()
    if run is None:
        raise GraphFunctionError("is a context manager, which is opened for a run only")
    if hasattr(type(manager), "__aenter__"):
        return await run.resources.enter_async_context(manager)
    made = await asyncio.to_thread(_blocking, manager.__enter__, [], {})

    async def leave(*error: Any) -> None:
        await asyncio.to_thread(manager.__exit__, *error)

    run.resources.push_async_exit(leave)
    return made


async def close(resources: AsyncExitStack, error: BaseException | None, within_s: float, execution_id: str) -> None:
    """Close the context managers of a run, in its own task. An error, or a close that takes too long, is logged."""
    try:
        async with asyncio.timeout(within_s):
            await resources.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except BaseException as failed:
        if failed is error or (isinstance(failed, asyncio.CancelledError) and _cancelled()):
            return
        log.warning("graph.close_failed", execution_id=execution_id, error=repr(failed))


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _arguments(name: str, target: Any, config: RunnableConfig, store: BaseStore | None) -> dict[str, Any]:
    """The arguments by parameter name. The name of a positional-only parameter has a `*` before it."""
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return {}
    hints = _hints(target)
    given: dict[str, Any] = {}
    places = ["config", "runtime"]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        hint = hints.get(parameter.name, parameter.annotation)
        kind = _kind(hint) or (parameter.name if parameter.name in places else "")
        if not kind and parameter.default is not parameter.empty:
            continue
        if not kind and places:
            kind = places[0]
        if not kind:
            raise GraphFunctionError(
                f"could not be made, its function wants '{parameter.name}': it may take the run's config, the server's"
                " runtime, or both"
            )
        if kind in places:
            places.remove(kind)
        value = config if kind == "config" else _runtime(name, hint, store)
        given[f"*{parameter.name}" if parameter.kind is parameter.POSITIONAL_ONLY else parameter.name] = value
    return given


def _hints(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target if inspect.isroutine(target) else type(target).__call__)
    except Exception:  # a name that is imported for type checkers only
        return {}


def _kind(hint: Any) -> str:
    if isinstance(hint, str):
        return "config" if "RunnableConfig" in hint else "runtime" if "Runtime" in hint else ""
    if hint is RunnableConfig or hint is dict or get_origin(hint) is dict:
        return "config"
    plain = get_origin(hint) or hint
    if plain is ServerRuntime or "Runtime" in getattr(plain, "__name__", ""):
        return "runtime"
    kinds = {_kind(part) for part in get_args(hint) if part is not type(None)} if get_args(hint) else set()
    return kinds.pop() if len(kinds) == 1 else ""


def _runtime(name: str, hint: Any, store: BaseStore | None) -> Any:
    run = current_run()
    given = run.context if run else None
    user = Caller(given.facts["caller"]) if given and given.facts.get("caller") else None
    schema = next((part for part in get_args(hint) if inspect.isclass(part)), None)
    context = context_for(SimpleNamespace(context_schema=schema), given, name) if given else None
    return _ExecutionRuntime(access_context="threads.create_run", user=user, store=store, context=context)  # type: ignore[arg-type]
