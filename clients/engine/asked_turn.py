"""The turn of a run that a client of LangGraph's own API asked for: the graph is called as that API says.

Unlike our own turns, new input goes on top of whatever the state is, no input at all goes on where the graph stopped,
and an answer is a command. It begins at the checkpoint that the client names, else at the head of the session.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.errors import EmptyInputError
from langgraph.types import Command, Send

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.graph_input import graph_input
from agent_runner.clients.engine.memory.checkpoints import HeadTracking
from agent_runner.clients.engine.memory.finished_calls import find_finished_calls
from agent_runner.clients.engine.memory.untold_steps import NO_CHECKPOINT, catch_up
from agent_runner.clients.engine.turn import Given, HeadMovedError, Turn, call_config, checkpoint_id
from agent_runner.clients.engine.user_graphs.run_context import RunContext, declared_fields
from agent_runner.clients.engine.user_graphs.user_graphs import Graph
from agent_runner.status.requests.run_request import EVERY_NODE, RunRequest

DEFAULT_LIMIT = 25
"""The most steps of such a run, if neither the client nor the graph's author set a limit: as LangGraph's server."""


async def open_asked_turn(
    graph: Graph, run: CurrentRun, bundle: Bundle, given: Given, asked: RunRequest, *, resume: bool = False
) -> Turn:
    """Input and config of the turn. `resume`: the run was handed back, or another worker lost it, and it goes on.

    Raises GraphError, HeadMovedError, and EmptyInputError for a command that says nothing: LangGraph fails on it with
    an error of its own code (`findings/empty-command-is-an-unbound-local.sh`).
    """
    memory: object = graph.checkpointer
    if not isinstance(memory, HeadTracking):
        return Turn(input=_input(graph, bundle, given, asked), config=_named(call_config(run, bundle), asked))
    if run.untold:
        resume = await catch_up(memory, run) or resume
    latest = checkpoint_id(await graph.aget_state(call_config(run, bundle)))
    if resume:
        if latest != run.head_checkpoint_id:
            raise HeadMovedError(f"thread {run.thread_id} has moved on to {latest}: send the input again")
        await find_finished_calls(graph, run)
        return Turn(input=None, config=_named(call_config(run, bundle), asked))
    head = asked.checkpoint_id or run.head_checkpoint_id
    # With the id of its latest checkpoint LangGraph would run the finished tasks of that step again.
    config = call_config(run, bundle, head="" if head == latest else head or NO_CHECKPOINT)
    begins = _input(graph, bundle, given, asked)
    if begins is None or isinstance(begins, Command):
        await find_finished_calls(graph, run)
    return Turn(input=begins, config=_named(config, asked))


def fitted(graph: Graph, context: RunContext, asked: RunRequest) -> RunContext:
    """The context of the run as LangGraph's server gives it: fields that the graph does not declare are dropped, and
    those that it declares stand in `configurable` too."""
    declared = declared_fields(graph)
    given = context.context
    if given is not None and declared:
        given = {name: value for name, value in given.items() if name in declared}
    config = dict(context.config)
    if given:
        config["configurable"] = {**given, **(config.get("configurable") or {})}
    bound = (getattr(graph, "config", None) or {}).get("recursion_limit")
    if not config.get("recursion_limit") and not bound:
        config["recursion_limit"] = DEFAULT_LIMIT
    return replace(context, context=given, config=config, facts={**context.facts, **asked.facts})


def stops(asked: RunRequest) -> dict[str, Any]:
    """The breakpoints of the run, as options of LangGraph's calls."""
    told = {"interrupt_before": asked.interrupt_before, "interrupt_after": asked.interrupt_after}
    return {n: EVERY_NODE if nodes == (EVERY_NODE,) else list(nodes) for n, nodes in told.items() if nodes}


def _input(graph: Graph, bundle: Bundle, given: Given, asked: RunRequest) -> Any:
    if asked.command is not None:
        return _command(asked.command)
    if not given.input_json and not given.message:
        return None
    return graph_input(graph, bundle, given.message, given.input_json, given.blocks)


def _command(given: Mapping[str, Any]) -> Command[Any]:
    goto, update = given.get("goto"), given.get("update")
    places = goto if isinstance(goto, list) else [] if goto is None else [goto]
    if update is None and given.get("resume") is None and not places:
        raise EmptyInputError(
            "The command names neither resume, update nor goto. Null counts as none: a question cannot be answered with"
            " null; wrap it, as in {'answer': None}."
        )
    if isinstance(update, list):
        update = [tuple(one) if isinstance(one, list) and len(one) == 2 else one for one in update]
    return Command(
        update=update,
        resume=given.get("resume"),
        goto=[Send(one["node"], one.get("input")) if isinstance(one, dict) else str(one) for one in places],
    )


def _named(config: RunnableConfig, asked: RunRequest) -> RunnableConfig:
    """The config with the run's id as LangChain knows it."""
    run_id = asked.facts.get("run_id")
    return {**config, "run_id": UUID(str(run_id))} if run_id else config
