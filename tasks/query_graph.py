"""QueryGraph: answers a question about a graph, its memory or its store, for somebody who waits at a server.

No lock is needed: reads disturb nobody, and a changed state counts only if no execution began meanwhile (the server
moves the head). A question that is too late, or that another worker has, is left alone.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from agent_runner.clients.engine.agent_definition import Bundle, SubAgentSpec
from agent_runner.clients.engine.current import CurrentRun, running
from agent_runner.clients.engine.factory import EngineError
from agent_runner.clients.engine.inspection.shapes import drawing_of, schemas_of, subgraphs_of
from agent_runner.clients.engine.inspection.states import (
    Place,
    QueryRefused,
    copy_thread,
    history_of,
    state_of,
    update_state,
)
from agent_runner.clients.engine.inspection.store_items import store_answer
from agent_runner.clients.engine.inspection.thread_size import thread_size
from agent_runner.clients.engine.memory.checkpoints import tracks_heads
from agent_runner.clients.engine.memory.database_errors import memory_errors
from agent_runner.clients.engine.memory.state.serializer import StateTypeError
from agent_runner.clients.engine.user_graphs.run_context import RunContext, RunContextError, facts_of
from agent_runner.clients.engine.user_graphs.user_graphs import Graph, GraphError
from agent_runner.clients.models.errors import ModelError
from agent_runner.clients.reporting.native import BackendError
from agent_runner.clients.sandbox.kinds.registry import ANNOTATION as SANDBOX
from agent_runner.clients.sandbox.kinds.registry import NONE
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)
MOST_ANSWER_BYTES = 32 << 20
FAILED = (GraphError, EngineError, ModelError, RunContextError, StateTypeError)


async def query_graph(process: "RunnerProcess", query_id: str) -> dict[str, Any]:
    """`{query_id, answered}`. Raises ExecutionError if no server takes the answer."""
    if not query_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Query ID is required for QueryGraph")
    try:
        taken = await process.backend.take_query(
            pb.TakeQueryRequest(query_id=query_id, incarnation=process.incarnation)
        )
        if not taken.granted:
            return {"query_id": query_id, "answered": False}
        answer = await _answered(process, taken)
        answer.query_id, answer.token = query_id, taken.token
        accepted = (await process.backend.answer_query(answer)).accepted
    except BackendError as exc:
        raise ExecutionError.of(Code.SYSTEM, f"the answer to {query_id} reached no server: {exc}") from None
    return {"query_id": query_id, "answered": accepted}


async def _answered(process: "RunnerProcess", taken: pb.TakeQueryReply) -> pb.AnswerQueryRequest:
    facts = facts_of(execution_id="", session_id="", org=taken.org, caller="", attempt=0, graph=taken.graph)
    run = CurrentRun(thread_id=taken.thread_id, org=taken.org, context=RunContext(facts=facts))
    try:
        async with asyncio.timeout(taken.within_s):
            with running(run):
                async with run.resources:
                    found = await _answer(process, taken, json.loads(taken.body_json))
        found = process.mask.within(found) if process.mask else found
        text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
        if len(text) > MOST_ANSWER_BYTES:
            raise QueryRefused("failed", f"the answer has more than {MOST_ANSWER_BYTES} bytes; ask for less at once")
        return pb.AnswerQueryRequest(answer_json=text)
    except QueryRefused as refused:
        return pb.AnswerQueryRequest(refusal=str(refused), refused_as=refused.kind)
    except FAILED as error:
        return pb.AnswerQueryRequest(refusal=str(error), refused_as="failed")
    except TimeoutError:
        return pb.AnswerQueryRequest(refusal="the worker did not find the answer in time", refused_as="failed")
    except memory_errors() as error:
        text = f"the checkpoint store cannot be read: {type(error).__name__}"
        return pb.AnswerQueryRequest(refusal=text, refused_as="failed")
    except Exception as error:
        log.exception("query.failed", kind=taken.kind)
        return pb.AnswerQueryRequest(
            refusal=f"{type(error).__name__} in the worker; its log says more", refused_as="failed"
        )


async def _answer(process: "RunnerProcess", taken: pb.TakeQueryReply, asked: Mapping[str, Any]) -> Any:
    place = Place(thread_id=taken.thread_id, head=taken.head_checkpoint_id, shown_id=str(asked.get("thread_id") or ""))
    if taken.kind == "store":
        return await store_answer(process.graph_store, asked)
    if taken.kind == "copy":
        return await copy_thread(process.memory.saver, place, asked)
    graph = await process.engine.graph(
        _bundle(taken, process.settings.sandbox), {"configurable": {"thread_id": taken.thread_id}}
    )
    match taken.kind:
        case "schemas":
            return schemas_of(graph, f"{taken.graph or 'agent'}_state")
        case "drawing":
            return await drawing_of(graph, asked)
        case "subgraphs":
            return await subgraphs_of(graph, asked)
    _must_remember(graph)
    match taken.kind:
        case "state":
            return await state_of(graph, place, asked)
        case "history":
            return await history_of(graph, place, asked)
        case "update":
            return await update_state(graph, place, asked)
        case "storage":
            return await _size(graph, place)
    raise QueryRefused("invalid", f"this worker has no answer to {taken.kind!r}; it may be of an earlier version")


async def _size(graph: Graph, place: Place) -> Any:
    memory = graph.checkpointer
    if not isinstance(memory, BaseCheckpointSaver) or not tracks_heads(memory):
        raise QueryRefused("invalid", "the graph brought its own memory, so only that knows how much it keeps")
    return await thread_size(memory, place.thread_id)


def _must_remember(graph: Graph) -> None:
    if not graph.checkpointer:
        raise QueryRefused("invalid", "the graph keeps no memory, so it has no state to read or to change")


def _bundle(taken: pb.TakeQueryReply, default: str) -> Bundle:
    """The graph, or the agent without its skills: they are files of a run and shape no state."""
    if taken.graph:
        return Bundle(graph=taken.graph)
    spec = taken.agent.spec
    subs = (
        SubAgentSpec(name=sub.name, description=sub.description, instructions=sub.instructions)
        for sub in spec.sub_agents
    )
    sandboxed = (taken.agent.metadata.annotations.get(SANDBOX) or default) != NONE
    return Bundle(instructions=spec.instructions, sub_agents=tuple(subs), sandboxed=sandboxed)
