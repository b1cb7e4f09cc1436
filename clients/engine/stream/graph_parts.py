"""Takes the parts of a graph's own stream that a run was asked for out of its events, as LangGraph gives them."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent_runner.clients.engine.stream.event_handler import WRONG_TURN
from agent_runner.clients.engine.stream.message_dumps import MessageDumps
from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.status.log.events import StreamPart
from agent_runner.status.requests.run_request import (
    CHECKPOINTS,
    DEBUG,
    EVENTS,
    MESSAGES,
    VALUES,
    RunRequest,
)

INTERRUPT = "__interrupt__"
MOST_METADATA = 64
"""Model calls that stream at the same time, whose metadata are kept."""
_SHOWN_OF_EVENT = ("event", "data", "name", "tags", "run_id", "metadata", "parent_ids")


class GraphParts:
    """The parts of one run. Also keeps the last state of the graph itself and the interrupts at which it stopped."""

    def __init__(self, asked: RunRequest) -> None:
        self._asked = asked
        self._metadata: dict[int, tuple[Any, Any]] = {}
        self._dumps = MessageDumps()
        self.values: Any = None
        self.interrupts: list[Any] = []

    @property
    def modes(self) -> list[str]:
        """The stream modes that LangGraph is asked for because of these parts."""
        return [part for part in self._asked.parts if part != EVENTS]

    @property
    def are_messages(self) -> bool:
        """No other parts are reported."""
        return self._asked.parts == (MESSAGES,)

    @property
    def needs_all_events(self) -> bool:
        return EVENTS in self._asked.parts

    def of(self, raw: Mapping[str, Any]) -> Iterator[StreamPart]:
        """The parts in the event `raw` of `astream_events`."""
        if raw["event"] == "on_chain_stream" and not raw["parent_ids"]:
            chunk = raw["data"].get("chunk")
            if isinstance(chunk, tuple) and len(chunk) == 3:
                yield from self._chunk(*chunk)
        elif EVENTS in self._asked.parts and raw["event"] != WRONG_TURN:
            told = {name: raw[name] for name in _SHOWN_OF_EVENT if name in raw}
            yield StreamPart(part=EVENTS, namespace=(), data=plain_part(told))

    def _chunk(self, namespace: tuple[str, ...], part: str, data: Any) -> Iterator[StreamPart]:
        if part == VALUES and not namespace:
            self._keep(data)
        if part not in self._asked.parts or (namespace and not self._asked.subgraphs):
            return
        shown = self._message(data) if part == MESSAGES else plain_part(data)
        if part == CHECKPOINTS:
            shown = _placed(shown)
        elif part == DEBUG and isinstance(shown, dict) and shown.get("type") == "checkpoint":
            shown = {**shown, "payload": _placed(shown.get("payload") or {})}
        yield StreamPart(part=part, namespace=namespace, data=shown)

    def _message(self, data: Any) -> Any:
        """`[message or chunk, metadata]`. LangGraph gives all chunks of a model call the same metadata: they are made
        plain once, and the same object tells those who write it that it is known."""
        message, metadata = data
        known = self._metadata.get(id(metadata))
        if known is None or known[0] is not metadata:
            if len(self._metadata) >= MOST_METADATA:
                self._metadata.clear()
            known = self._metadata[id(metadata)] = metadata, plain_part(metadata)
        return [self._dumps.of(message), known[1]]

    def _keep(self, data: Any) -> None:
        if isinstance(data, Mapping) and INTERRUPT in data:
            told = [plain_part(one) for one in data[INTERRUPT]]
            known = {one.get("id") for one in self.interrupts}
            self.interrupts += [one for one in told if one.get("id") not in known]
            data = {name: value for name, value in data.items() if name != INTERRUPT}
        elif self.interrupts:
            # A graph that is interrupted makes no further step. What still comes are the writes of the tasks beside it,
            # which LangGraph's server does not answer either: they are in the state.
            return
        self.values = data


def _placed(told: Any) -> Any:
    """A checkpoint with its own place and that of its parent, as clients read them."""
    if not isinstance(told, dict):
        return told
    places = {"checkpoint": told.get("config"), "parent_checkpoint": told.get("parent_config")}
    return told | {name: _place(config) for name, config in places.items()}


def _place(config: Any) -> dict[str, Any] | None:
    if not isinstance(config, dict):
        return None
    given = config.get("configurable") or {}
    names = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
    return {name: given[name] for name in names if name in given}
