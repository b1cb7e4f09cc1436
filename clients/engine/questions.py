"""The questions that a graph waits for: those of its interrupts, and the breakpoints that it was compiled with.

The checkpoint has the open questions (a question stays open after a bad answer). The stream has the sub-agent that
asked. A breakpoint (`interrupt_before`, `interrupt_after`) asks nothing, so it is reported as a question that any next
message answers.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Interrupt, PregelTask, StateSnapshot

from agent_runner.clients.engine.current import CurrentRun
from agent_runner.clients.engine.standing import standing_at, sub_graphs
from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.engine.user_graphs.user_graphs import Graph
from agent_runner.status.log.events import Event, Interrupted
from agent_runner.status.log.plain import plain
from agent_runner.status.questions import Json, expects_of

MAX_VALUE_BYTES = 256 * 1024
"""A longer text in a question's value is cut to this size."""


def question_of(asked: Interrupt[Any], *, scope: str = "", node: str = "") -> Json:
    """An interrupt in the form of a question that `status.questions` describes."""
    value = plain(asked.value, max_bytes=MAX_VALUE_BYTES)
    expects = expects_of(value, plain(asked.response_schema, max_bytes=MAX_VALUE_BYTES))
    question = {"id": asked.id, "value": value, "text": read.question_words(asked.value), "expects": expects}
    return question | ({"node": node} if node else {}) | ({"scope": scope} if scope else {})


def open_questions(snapshot: StateSnapshot) -> list[Json]:
    """The open questions of a snapshot, each with its node. `scope`: the path of the sub-graph that asks, if any."""
    places = dict(_places(snapshot.tasks, ""))
    return [question_of(one, **_named(places.get(one.id, ("", "")))) for one in snapshot.interrupts]


def breakpoint_of(snapshot: StateSnapshot) -> Json:
    """The question for a graph that stopped at a breakpoint before the nodes `snapshot.next`."""
    nodes = ", ".join(dict.fromkeys(_next_nodes(snapshot)))
    return {
        "id": "breakpoint",
        "value": {"breakpoint": list(snapshot.next)},
        "text": f"The graph stands at a breakpoint, before {nodes}. The next message lets it go on.",
        "node": nodes,
        "expects": {"kind": "go_on"},
    }


def has_breakpoints(graph: Any) -> bool:
    """Whether the graph or one of its sub-graphs was compiled with `interrupt_before` or `interrupt_after`."""
    return any(one.interrupt_before_nodes or one.interrupt_after_nodes for one in (graph, *sub_graphs(graph)))


async def told_in_full(
    events: AsyncIterator[Event], graph: Graph, run: CurrentRun, config: RunnableConfig, *, stops: bool = False
) -> AsyncIterator[Event]:
    """Pass on the `events` of a run that ends by itself. Its questions are completed from the checkpoint: with nodes,
    breakpoints, and earlier questions that are still open. Secrets in questions are masked. `stops`: the run has
    breakpoints besides those of its graph."""
    asked: Interrupted | None = None
    async with aclosing(events) as told:  # type: ignore[type-var]
        async for event in told:
            if isinstance(event, Interrupted):
                asked = event
            else:
                yield event
    memory: object = graph.checkpointer
    if not isinstance(memory, BaseCheckpointSaver) or (asked is None and not (stops or has_breakpoints(graph))):
        if asked is not None:
            yield _masked(asked, run)
        return
    thread = RunnableConfig(configurable={"thread_id": config["configurable"]["thread_id"]})
    snapshot = await standing_at(graph, thread, subgraphs=True)
    if asked is None and snapshot.next and not snapshot.interrupts:
        stop = breakpoint_of(snapshot)
        yield _masked(Interrupted(question=stop["text"], questions=(stop,), next=snapshot.next), run)
    elif asked is not None:
        scopes = {one["id"]: one["scope"] for one in asked.questions if one.get("scope")}
        standing = [q | ({"scope": scopes[q["id"]]} if q["id"] in scopes else {}) for q in open_questions(snapshot)]
        question = read.question_text([one.value for one in snapshot.interrupts]) if standing else asked.question
        questions = tuple(standing) or asked.questions
        yield _masked(Interrupted(question=question, questions=questions, next=snapshot.next), run)


def _masked(asked: Interrupted, run: CurrentRun) -> Interrupted:
    return replace(
        asked,
        question=run.mask(asked.question),
        questions=tuple({**run.mask.within(dict(one)), "id": one["id"]} for one in asked.questions),
    )


def _places(tasks: tuple[PregelTask, ...], path: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(id of an interrupt, (its node, the path of sub-graphs to the node)), the innermost last."""
    for task in tasks:
        yield from ((one.id, (task.name, path)) for one in task.interrupts)
        if isinstance(task.state, StateSnapshot):
            yield from _places(task.state.tasks, f"{path}/{task.name}" if path else task.name)


def _named(place: tuple[str, str]) -> Mapping[str, str]:
    return {"node": place[0], "scope": place[1]}


def _next_nodes(snapshot: StateSnapshot) -> Iterator[str]:
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot) and task.state.next:
            yield from _next_nodes(task.state)
        elif task.name in snapshot.next:
            yield task.name
