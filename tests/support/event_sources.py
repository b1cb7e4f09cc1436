"""A source of events that holds ours, which is made of callbacks, against `astream_events` in the same run."""

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.utils.uuid import uuid7

from agent_runner.clients.engine.final_state import output_fields
from agent_runner.clients.engine.stream.event_handler import EventHandler
from agent_runner.clients.engine.stream.event_queue import Raw
from agent_runner.clients.engine.stream.event_sources import all_events, with_handlers
from agent_runner.clients.engine.stream.event_stream import V2Events
from agent_runner.status.log.events import Event


class _Heard(Runnable[Any, Any]):
    """A graph whose own stream a handler gets, too."""

    def __init__(self, graph: Any, handler: EventHandler) -> None:
        self._graph, self._handler = graph, handler

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        async with aclosing(self._graph.astream(input, config, **options)) as chunks:
            async for chunk in chunks:
                self._handler.streamed(chunk)
                yield chunk


async def compared(
    graph: Any, graph_input: Any, config: RunnableConfig, *, messages: bool = False, **options: Any
) -> AsyncGenerator[Raw, None]:
    """The events of `astream_events`. Fails at the end of the run if callbacks give other events of ours, or the same
    in another order: of all if one thing happens after the other, else for each message and each call."""
    if messages:
        options["stream_mode"] = [*options["stream_mode"], "messages"]
    config = ensure_config(config)
    root = config["run_id"] = config.get("run_id") or uuid7()
    ours: list[Raw] = []
    theirs: list[Raw] = []
    handler = EventHandler(ours.append, root)
    config["callbacks"] = with_handlers(config.get("callbacks"), handler)
    heard = _Heard(graph, handler)
    failed: Exception | None = None
    try:
        async with aclosing(all_events(heard, graph_input, config, **options)) as raw_events:
            async for raw in raw_events:
                theirs.append(raw)
                yield raw
    except Exception as error:
        failed = error
    one, other = translated(graph, graph_input, ours), translated(graph, graph_input, theirs)
    if _side_by_side(ours):
        one, other = _by_subject(one), _by_subject(other)
    assert one == other, f"{one} is not {other}"
    if failed is not None:
        raise failed


def translated(graph: Any, graph_input: Any, raw_events: Iterable[Raw]) -> list[Event]:
    story = V2Events(output_fields(graph), graph_input)
    return [event for raw in raw_events for event in story.feed(raw)]


def _side_by_side(raw_events: Iterable[Raw]) -> bool:
    """Whether any two runs were open of which neither is within the other. What they report has no order between them:
    `astream_events` hears of a callback one turn of the loop later, and of a chunk at once."""
    open_: set[str] = set()
    for raw in raw_events:
        if raw["event"].endswith("_start"):
            if open_ - set(raw["parent_ids"]):
                return True
            open_.add(raw["run_id"])
        elif raw["event"].endswith(("_end", "_error")):
            open_.discard(raw["run_id"])
    return False


def _by_subject(told: Iterable[Event]) -> Any:
    found: dict[Any, list[Event]] = defaultdict(list)
    for event in told:
        names = ("scope", "message_id", "tool_call_id", "call_id")
        found[tuple(getattr(event, name, "") for name in names)].append(event)
    return found
