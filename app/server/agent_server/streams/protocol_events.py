"""The events of the thread protocol: the stream of a thread's runs in a form of its own, from the same rows.

An event has an `event_id`, which is the same for every reader, and a `seq` that counts per reader.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agent_runner.app.server.agent_server.runs.run_drafts import PROTOCOL, RUN
from agent_runner.app.server.agent_server.streams.content_blocks import ContentBlocks
from agent_runner.app.server.agent_server.streams.run_end import run_end
from agent_runner.app.server.agent_server.streams.thread_runs import runs_of_thread
from agent_runner.app.server.agent_server.uuids import run_uuid
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.log_feed.follow import Updates, follow
from agent_runner.app.server.log_feed.log_ends import End
from agent_runner.status.log.log import LogRow
from agent_runner.status.log.stream.message_pieces import parts_in
from agent_runner.status.log.stream.stream_parts import STREAM
from agent_runner.status.phases import Phase
from agent_runner.status.store.records import Execution

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
INTERRUPT = "__interrupt__"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolEvent:
    event_id: str
    method: str
    namespace: Sequence[str]
    data: Any
    at: float

    @property
    def channel(self) -> str:
        return self.method.partition(".")[0]

    def as_json(self, seq: int) -> Json:
        params = {"namespace": list(self.namespace), "timestamp": int(self.at * 1000), "data": self.data}
        return {"type": "event", "event_id": self.event_id, "seq": seq, "method": self.method, "params": params}


async def thread_events(ctx: ServerContext, session_id: str) -> AsyncGenerator[ProtocolEvent, None]:
    """Of all runs of the thread that the protocol started. Never ends by itself."""
    async with aclosing(runs_of_thread(ctx, session_id, 0)) as runs:
        async for run in runs:
            if run is None or not (run.spec.get(RUN) or {}).get(PROTOCOL):
                continue
            async with aclosing(_events_of(ctx, run)) as events:
                async for event in events:
                    yield event


async def _events_of(ctx: ServerContext, run: Execution) -> AsyncGenerator[ProtocolEvent, None]:
    told = _RunEvents(run)
    yield told.lifecycle("running", run.created_at)
    async with aclosing(follow(ctx, run.id, 0)) as followed:
        async for one in followed:
            match one:
                case Updates():
                    for row in one.rows:
                        for event in told.of(row):
                            yield event
                case End():
                    ended = await ctx.store.get(run.id)
                    error = (await run_end(ctx, ended)).error if ended is not None else None
                    for event in told.end(one.phase, error):
                        yield event


class _RunEvents:
    def __init__(self, run: Execution) -> None:
        self._run, self._id = run, run_uuid(run.id)
        self._blocks: dict[tuple[str, ...], ContentBlocks] = {}
        self._asked: set[str] = set()
        self._inner: dict[tuple[str, ...], None] = {}
        self._at = run.created_at

    def lifecycle(self, event: str, at: float, namespace: Sequence[str] = (), **more: Any) -> ProtocolEvent:
        place = "|".join(namespace)
        name = namespace[-1].partition(":")[0] if namespace else self._run.graph
        data = {"event": event, "graph_name": name, **({"namespace": list(namespace)} if namespace else {}), **more}
        id_ = f"synth:{self._id}:lc|{place}|{event}"
        return ProtocolEvent(event_id=id_, method="lifecycle", namespace=namespace, data=data, at=at)

    def of(self, row: LogRow) -> Iterator[ProtocolEvent]:
        if row.kind != STREAM:
            return
        self._at = row.at
        for number, (part, namespace, data) in enumerate(parts_in(row.payload)):
            place = tuple(namespace)
            if place and place not in self._inner:
                self._inner[place] = None
                yield self.lifecycle("started", row.at, place)
            shown = self._shown(part, place, data, row.at)
            for more, (method, content) in enumerate(shown):
                id_ = f"{self._id}:{row.seq}-{number}" + (f".{more}" if more else "")
                if method == "input.requested":
                    id_ = f"synth:{self._id}:input|{'|'.join(place)}|{content['interrupt_id']}"
                yield ProtocolEvent(event_id=id_, method=method, namespace=place, data=content, at=row.at)
            if any(method == "input.requested" for method, _ in shown):
                yield self.lifecycle("interrupted", row.at)

    def _shown(self, part: str, place: tuple[str, ...], data: Any, at: float) -> list[tuple[str, Any]]:
        if part == "messages":
            blocks = self._blocks.setdefault(place, ContentBlocks())
            return [("messages", content) for content in blocks.feed(data[0])]
        if part != "values" or not isinstance(data, dict):
            return [(part, data)]
        asked = [one for one in data.get(INTERRUPT) or () if not place and one["id"] not in self._asked]
        self._asked.update(one["id"] for one in asked)
        values = {name: value for name, value in data.items() if name != INTERRUPT}
        requested = [{"interrupt_id": one["id"], "payload": one["value"], "value": one["value"]} for one in asked]
        return [*(("input.requested", one) for one in requested), ("values", values)]

    def end(self, phase: Phase, error: Json | None) -> Iterator[ProtocolEvent]:
        for place, blocks in self._blocks.items():
            for number, content in enumerate(blocks.finish()):
                id_ = f"{self._id}:end-{number}|{'|'.join(place)}"
                yield ProtocolEvent(event_id=id_, method="messages", namespace=place, data=content, at=self._at)
        for place in self._inner:
            yield self.lifecycle("completed", self._at, place)
        if phase is Phase.FAILED:
            told = error or {}
            text = f"{told.get('error', '')}: {told.get('message', '')}"
            beside = {name: told[name] for name in ("code", "next_step") if name in told}
            yield self.lifecycle("failed", self._at, error=text, **beside)
        elif phase is Phase.CANCELLED:
            yield self.lifecycle("interrupted", self._at)
        elif not self._asked:
            yield self.lifecycle("completed", self._at)
