"""How one turn of a conversation is started on a graph: where its memory begins, and what goes in.

A new turn begins at the head that came with the claim, never at the latest checkpoint of the thread, which may be that
of a run that was given up. A run that was handed back goes on from the latest, without a checkpoint id (with one,
finished siblings of an open step run again), and only if the latest is the one handed back.
"""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, StateSnapshot

from clients.engine.bundle import Bundle
from clients.engine.current import CurrentRun
from clients.engine.memory import tracks_heads
from clients.engine.middleware import GateHandler
from clients.engine.repair import make_whole
from clients.engine.tool_results import ToolResults
from clients.engine.user_graphs import Graph, GraphError

RECURSION_LIMIT = 1000
NO_CHECKPOINT = "00000000-0000-0000-0000-000000000000"
"""A checkpoint that never exists: a turn without a head starts empty, whatever the thread holds."""


class HeadMovedError(Exception):
    """Somebody wrote to the thread after the hand-back: going on would continue another run's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What `graph.astream_events(turn.input, turn.config)` needs."""

    input: Any
    config: RunnableConfig


def call_config(run: CurrentRun, bundle: Bundle, *, head: str = "") -> RunnableConfig:
    """The config of a call. `head`: the checkpoint to begin at; empty for the latest. Holds no secret: LangGraph
    copies what is configurable into checkpoints."""
    configurable = {"thread_id": run.thread_id}
    if head:
        configurable["checkpoint_id"] = head
    # Agents that we built have the gate in their middleware.
    callbacks: list[BaseCallbackHandler] = [GateHandler(), ToolResults()] if bundle.graph else []
    return RunnableConfig(
        configurable=configurable, recursion_limit=RECURSION_LIMIT, run_id=uuid.uuid4(), callbacks=callbacks
    )


def graph_input(graph: Graph, bundle: Bundle, message: str, input_json: str = "") -> Any:
    """The state to start with: `input_json` (an object) with the message added if the graph has messages.

    Raises GraphError if the graph takes no messages and no input was given, or if the input is not JSON.
    """
    given: Any = {}
    if input_json:
        try:
            given = json.loads(input_json)
        except ValueError as error:
            raise GraphError(f"the execution's input is not JSON: {error}") from error
    takes_messages = "messages" in graph.channels
    if not message or not isinstance(given, dict):
        return given
    if takes_messages and "messages" not in given:
        return {**given, "messages": [HumanMessage(content=message)]}
    if not input_json:
        name = bundle.graph or "the agent"
        raise GraphError(f"graph '{name}' has no 'messages' channel: give it `input` (a JSON object), not a message")
    return given


async def open_turn(
    graph: Graph, run: CurrentRun, bundle: Bundle, message: str, input_json: str = "", *, resume: bool = False
) -> Turn:
    """Input and config of this turn. `resume`: the run was handed back and goes on where it was.

    A head that waits for an answer (`interrupt()`) gets the message as that answer. Raises GraphError, HeadMovedError.
    """
    if not tracks_heads(graph.checkpointer):
        # The graph keeps its own memory, or none: heads are not known for it.
        given = graph_input(graph, bundle, message, input_json)
        return Turn(input=given, config=await _whole(graph, run, call_config(run, bundle), given))
    head = run.head_checkpoint_id
    if resume:
        latest = await graph.aget_state(call_config(run, bundle))
        if _checkpoint_id(latest) != head:
            raise HeadMovedError(
                f"thread {run.thread_id} has moved on from {head or 'its start'} to {_checkpoint_id(latest)}"
            )
        if head:
            return Turn(input=None, config=call_config(run, bundle))
    config = call_config(run, bundle, head=head or NO_CHECKPOINT)
    if head and (asked := (await graph.aget_state(config)).interrupts):
        answer = _answer(message, input_json)
        # Several questions at once must be answered by id.
        return Turn(input=Command(resume={one.id: answer for one in asked}), config=config)
    given = graph_input(graph, bundle, message, input_json)
    return Turn(input=given, config=await _whole(graph, run, config, given) if head else config)


async def _whole(graph: Graph, run: CurrentRun, config: RunnableConfig, given: Any) -> RunnableConfig:
    """Where the input goes in, after what a run that ended in the middle left there has been made whole."""
    at = (await make_whole(graph, run, config, given)).get("configurable", {}).get("checkpoint_id")
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": at}} if at else config


async def state_at_head(graph: Graph, run: CurrentRun, bundle: Bundle) -> StateSnapshot | None:
    """What the run has reached: `.next` and `.interrupts` say whether it is at its end. None without our memory."""
    if not tracks_heads(graph.checkpointer) or not run.head_checkpoint_id:
        return None
    return await graph.aget_state(call_config(run, bundle, head=run.head_checkpoint_id))


def _answer(message: str, input_json: str) -> Any:
    return json.loads(input_json) if input_json and not message else message


def _checkpoint_id(snapshot: StateSnapshot) -> str:
    return str(snapshot.config.get("configurable", {}).get("checkpoint_id", ""))
