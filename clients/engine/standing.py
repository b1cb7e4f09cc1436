"""The state at which a graph stands, with all questions that are open there, and the sub-graphs that it stands in.

LangGraph's snapshot leaves out what the error handler of a node has asked: it shows the tasks of the nodes that come
next, among them the node that failed, and its handler is none of them
(`findings/question-of-an-error-handler-is-hidden.sh`). The checkpoint has the question, and an answer by its id counts.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import INTERRUPT
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from agent_runner.clients.engine.user_graphs.user_graphs import Graph


def sub_graphs(graph: Graph) -> list[Pregel[Any]]:
    """Those that run here, of every depth. A `RemoteGraph` is none: it runs on another server."""
    return [sub for _, sub in graph.get_subgraphs(recurse=True) if isinstance(sub, Pregel)]


def shows_inner_states(graph: Graph) -> bool:
    """Whether LangGraph can read the states of sub-graphs with the graph's own. It would ask for those of a
    `RemoteGraph` under a place that its server does not know."""
    return all(isinstance(sub, Pregel) for _, sub in graph.get_subgraphs(recurse=True))


async def standing_at(graph: Graph, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
    """As the graph's `aget_state`, with the questions of error handlers among its `interrupts`. `subgraphs`: with the
    states of sub-graphs, if all of them run here."""
    snapshot = await graph.aget_state(config, subgraphs=subgraphs and shows_inner_states(graph))
    saver: object = graph.checkpointer
    if not isinstance(saver, BaseCheckpointSaver) or not any(task.error for task in snapshot.tasks):
        return snapshot
    found = await saver.aget_tuple(snapshot.config)
    shown = {task.id for task in snapshot.tasks}
    asked = [
        question
        for task_id, channel, questions in (found.pending_writes if found else None) or ()
        if channel == INTERRUPT and task_id not in shown
        for question in questions
    ]
    return snapshot._replace(interrupts=(*snapshot.interrupts, *asked))
