"""The state at which a graph stands, with all questions that are open there.

LangGraph's snapshot leaves out what the error handler of a node has asked: it shows the tasks of the nodes that come
next, among them the node that failed, and its handler is none of them
(`findings/question-of-an-error-handler-is-hidden.sh`). The checkpoint has the question, and an answer by its id counts.
"""

from langchain_core.runnables import RunnableConfig
from langgraph._internal._constants import INTERRUPT
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from agent_runner.clients.engine.user_graphs.user_graphs import Graph


async def standing_at(graph: Graph, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
    """As the graph's `aget_state`, with the questions of error handlers among its `interrupts`."""
    snapshot = await graph.aget_state(config, subgraphs=subgraphs)
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
