"""Starts one turn of a conversation on a graph: chooses the checkpoint to begin at, and the input.

A new turn begins at the head that came with the claim. It never begins at the latest checkpoint of the thread, which
may belong to a run that was given up. A run that was handed back continues from the latest checkpoint, and only if that
is the one it was handed back at. Its config has no checkpoint id: with one, LangGraph would run the finished tasks of
an open step again.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, StateSnapshot

from agent_runner.clients.engine.agent_definition import Bundle
from agent_runner.clients.engine.approvals.budget_question import is_budget_question
from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.graph_input import graph_input, read_input
from agent_runner.clients.engine.memory.checkpoints import HeadTracking, tracks_heads
from agent_runner.clients.engine.memory.finished_calls import find_finished_calls
from agent_runner.clients.engine.memory.repair import make_whole
from agent_runner.clients.engine.memory.tool_results import ToolResults
from agent_runner.clients.engine.memory.untold_steps import NO_CHECKPOINT, catch_up
from agent_runner.clients.engine.questions import open_questions
from agent_runner.clients.engine.standing import standing_at
from agent_runner.clients.engine.user_graphs.run_context import RECURSION_LIMIT
from agent_runner.clients.engine.user_graphs.user_graphs import Graph
from agent_runner.clients.engine.user_graphs.whole_calls import WholeCallsHandler
from agent_runner.status.questions import NOTHING, AnswerError, answers_for, expected_text


class HeadMovedError(Exception):
    """Another run wrote to the thread after the hand-back: going on would continue the work of that run."""


class MemoryGone(Exception):
    """The checkpoint at which the turn has to begin is not in the store: the agent would remember nothing."""

    def __init__(self, thread_id: str, head: str) -> None:
        super().__init__(
            f"The memory of this session is gone: checkpoint {head} of thread {thread_id} is not in the checkpoint"
            " store of this worker"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The arguments of `run_events(graph, turn.input, turn.config)`."""

    input: Any
    config: RunnableConfig
    expected: str = ""
    """What the answered questions expect, in words; empty for a turn that answers no question."""


def call_config(run: CurrentRun, bundle: Bundle, *, head: str = "") -> RunnableConfig:
    """The config of a call. `head`: the checkpoint to begin at; empty for the latest. The config holds no secret,
    because LangGraph copies `configurable` into checkpoints."""
    configurable = {"thread_id": run.thread_id}
    if head:
        configurable["checkpoint_id"] = head
    # In agents that we built, the middleware and the model do the same.
    callbacks: list[BaseCallbackHandler] = [WholeCallsHandler(), ToolResults()] if bundle.graph else []
    config = RunnableConfig(
        configurable=configurable, recursion_limit=RECURSION_LIMIT, run_id=uuid.uuid4(), callbacks=callbacks
    )
    return run.context.into(config)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the caller sent: a text, JSON, answers by question id. `blocks`: the whole message, if it is more than text.
    `waiting`: the server knows that the session waits for an answer."""

    message: str = ""
    blocks: Sequence[Mapping[str, Any]] = ()
    input_json: str = ""
    answers_json: str = ""
    waiting: bool = False


async def open_turn(graph: Graph, run: CurrentRun, bundle: Bundle, given: Given, *, resume: bool = False) -> Turn:
    """Input and config of this turn. `resume`: the run was handed back and continues where it stopped. The next attempt
    of a run does too, if it finds a step of its own.

    If the graph waits at the head for an answer (`interrupt()`), the caller's input is that answer. If it stopped at a
    breakpoint, it goes on. Raises GraphError, HeadMovedError, MemoryGone, AnswerError.
    """
    memory: object = graph.checkpointer
    if not isinstance(memory, HeadTracking):
        return await _own_memory_turn(graph, run, bundle, given)
    if run.untold:
        resume = await catch_up(memory, run) or resume
    head = run.head_checkpoint_id
    if resume:
        latest = await graph.aget_state(call_config(run, bundle))
        if checkpoint_id(latest) != head:
            if head and not checkpoint_id(latest):
                raise MemoryGone(run.thread_id, head)
            # The head may be pruned by now: a session that went on since does not need it.
            raise HeadMovedError(
                f"thread {run.thread_id} has moved on from {head or 'its start'} to {checkpoint_id(latest)}:"
                " it cannot be gone on with from there. Send the message again, or redrive from the start"
            )
        if head:
            await find_finished_calls(graph, run)
            return Turn(input=None, config=call_config(run, bundle))
    config = call_config(run, bundle, head=head or NO_CHECKPOINT)
    if head:
        # Without a checkpoint id LangGraph gives the current state: a question that a finished branch had answered is
        # not open in it.
        latest = await standing_at(graph, call_config(run, bundle), subgraphs=True)
        moved_on = checkpoint_id(latest) != head
        standing = await _standing_at_head(graph, run, bundle, head) if moved_on else latest
        run.budget_questions = frozenset(q["id"] for q in open_questions(standing) if is_budget_question(q))
        if goes_on := _continuation(graph, standing, given):
            # To leave a breakpoint at the latest checkpoint, give no checkpoint id: with one it would be a fork.
            fork = moved_on or isinstance(goes_on[0], Command)
            config = config if fork else call_config(run, bundle)
            await find_finished_calls(graph, run)
            return Turn(input=goes_on[0], config=config, expected=_expected(goes_on[0], standing))
    begins = _fresh(graph, bundle, given)
    return Turn(input=begins, config=await _whole(graph, run, config, begins) if head else config)


async def _standing_at_head(graph: Graph, run: CurrentRun, bundle: Bundle, head: str) -> StateSnapshot:
    """The state at the checkpoint `head`. Raises MemoryGone if it is missing: LangGraph would begin without a state."""
    standing = await standing_at(graph, call_config(run, bundle, head=head))
    if standing.metadata is None:
        raise MemoryGone(run.thread_id, head)
    return standing


async def _whole(graph: Graph, run: CurrentRun, config: RunnableConfig, given: Any) -> RunnableConfig:
    """The config for the input, after the state that an unfinished run left has been repaired (`make_whole`)."""
    at = (await make_whole(graph, run, config, given)).get("configurable", {}).get("checkpoint_id")
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": at}} if at else config


async def _own_memory_turn(graph: Graph, run: CurrentRun, bundle: Bundle, given: Given) -> Turn:
    """The turn of a graph with its own memory or none. Its heads are not tracked, so its latest checkpoint counts."""
    config = call_config(run, bundle)
    memory: object = graph.checkpointer
    if isinstance(memory, BaseCheckpointSaver):
        latest = await standing_at(graph, call_config(run, bundle), subgraphs=True)
        if run.attempt > 1 and latest.next and (latest.metadata or {}).get("execution_id") == run.execution_id:
            return Turn(input=None, config=config)
        if goes_on := _continuation(graph, latest, given):
            return Turn(input=goes_on[0], config=config, expected=_expected(goes_on[0], latest))
    begins = _fresh(graph, bundle, given)
    return Turn(input=begins, config=await _whole(graph, run, config, begins))


def _continuation(graph: Graph, standing: StateSnapshot, given: Given) -> tuple[Any] | None:
    """The input that continues a graph which waits for a person. None if the graph does not wait."""
    if questions := open_questions(standing):
        answers = json.loads(given.answers_json) if given.answers_json else None
        sent = json.loads(given.input_json) if given.input_json else list(given.blocks) or NOTHING
        return (Command(resume=answers_for(questions, given.message, sent, answers)),)
    if not (given.waiting and standing.next):
        return None
    # A text only says that the graph may go on: as a message after a tool call it would spoil the conversation. JSON
    # fields update the state.
    fields = read_input(given.input_json) if given.input_json else None
    return (Command(update=fields) if isinstance(fields, dict) and fields else None,)


def _expected(goes_on: Any, standing: StateSnapshot) -> str:
    answered = goes_on.resume if isinstance(goes_on, Command) and isinstance(goes_on.resume, dict) else {}
    return "; ".join(expected_text(one) for one in open_questions(standing) if one["id"] in answered)


def _fresh(graph: Graph, bundle: Bundle, given: Given) -> Any:
    if given.answers_json:
        raise AnswerError("the session has no open question; send a message or `input` to begin a new turn")
    return graph_input(graph, bundle, given.message, given.input_json, given.blocks)


async def state_at_head(graph: Graph, run: CurrentRun, bundle: Bundle) -> StateSnapshot | None:
    """The state at the run's head: `.next` and `.interrupts` say whether it is the end. None without our memory."""
    if not tracks_heads(graph.checkpointer) or not run.head_checkpoint_id:
        return None
    return await graph.aget_state(call_config(run, bundle, head=run.head_checkpoint_id))


async def next_nodes(graph: Graph, run: CurrentRun) -> list[str]:
    """The nodes that would run next from the run's head, by LangGraph's names: one for each task."""
    state = await state_at_head(graph, run, Bundle())
    return list(state.next) if state else []


def checkpoint_id(snapshot: StateSnapshot) -> str:
    """The id of a state's checkpoint; empty if there is none."""
    return str(snapshot.config.get("configurable", {}).get("checkpoint_id", ""))
