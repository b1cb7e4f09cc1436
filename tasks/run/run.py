"""A run that this process owns: its live state, from the claim to the end. Used on the event loop, unless noted."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from langgraph.runtime import RunControl

from agent_runner.clients.engine.current import CurrentRun, StopRun
from agent_runner.clients.engine.stream.graph_parts import GraphParts
from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.clients.engine.user_graphs.run_context import RunContext, facts_of
from agent_runner.clients.masking.mask import IN_A_THREAD, Mask, characters_in
from agent_runner.clients.tracing.switches import without_switches
from agent_runner.status.failures import Code
from agent_runner.status.log.bounds import (
    DEFAULT_MAX_ENCODED_BYTES,
    DEFAULT_MAX_OUTPUT_BYTES,
    DEFAULT_MAX_TOOL_RESULT_BYTES,
)
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.custom import CustomLimits
from agent_runner.status.log.events import Event, GraphOutput, MessageBroken, MessageFinished, StreamPart
from agent_runner.status.log.log import Delta
from agent_runner.status.log.plain import has_more_parts
from agent_runner.status.log.stream.stream_parts import StreamLimits, StreamRows
from agent_runner.status.phases import Phase
from agent_runner.status.requests.run_request import RunRequest
from agent_runner.status.usage.model_usage import Priced
from agent_runner.tasks.run.masked_texts import MaskedChunks, MaskedTexts
from agent_runner.tasks.run.run_log import RunLog
from agent_runner.tasks.run.stops import Stop
from agent_runner.v1 import runner_pb2 as pb

GATE_LOOK_S = 0.1
MANY_PARTS = 2_000
"""An output of more takes longer than other runs should wait. A long text does not: it is cut."""
BROKEN_OFF = {
    Code.CANCELLED.value: "the run was cancelled while it was open",
    Code.START_TO_CLOSE.value: "the run's time was up while it was open",
    Code.SCHEDULE_TO_CLOSE.value: "the run's time was up while it was open",
    Code.HEARTBEAT.value: "the worker was lost while it was open",
    Code.WORKER_LOST.value: "the worker was lost while it was open",
    Code.WORKER_SHUTDOWN.value: "the worker was shut down while it was open",
    Code.APPLICATION.value: "the run failed while it was open",
    Code.BUDGET.value: "the run's budget was used up while it was open",
}
"""What an agent reads about calls that the run before left open, by the code of that run."""
STRUCTURE = frozenset({"id", "message", "scope", "status", "type"})
"""The fields of a log row that connect rows with each other. All other fields come from the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim that was granted. `told` is the server's reply; its seconds count from `at` (monotonic)."""

    execution_id: str
    reply: pb.ClaimReply
    at: float
    token: bytes = field(default=b"", repr=False)
    """This process created it for the claim. It proves that reports about the run come from its owner."""

    @property
    def ends_at(self) -> float:
        return self.at + self.reply.start_to_close_s


def context_with(claim: Claim) -> RunContext:
    """The values of the claim for the graph, besides its input."""
    reply = claim.reply
    facts = facts_of(
        execution_id=claim.execution_id,
        session_id=reply.session_id or reply.session.metadata.id,
        org=reply.org,
        caller=reply.caller,
        attempt=reply.attempt,
        graph=reply.graph,
    )
    return RunContext(
        context=json.loads(reply.context_json) if reply.context_json else None,
        config=json.loads(reply.config_json) if reply.config_json else {},
        facts=facts,
    )


class Run:
    """`silent_s` says how long the server has not answered a beat of this process. `operators`: the mask of secrets
    that no run may show."""

    def __init__(
        self,
        claim: Claim,
        *,
        log: Callable[["Run"], RunLog],
        silent_s: Callable[[], float],
        custom: CustomLimits | None = None,
        stream: StreamLimits | None = None,
        operators: Mask | None = None,
        priced: Priced | None = None,
    ) -> None:
        self.claim = claim
        self.mask = (operators or Mask()).also([claim.reply.env[name] for name in claim.reply.secret_names])
        self._texts = MaskedTexts(self.mask)
        self.current = CurrentRun(
            thread_id=claim.reply.thread_id,
            mask=self.mask,
            gate=self._gate,
            head_checkpoint_id=claim.reply.head_checkpoint_id,
            untold=claim.reply.untold_execution_id,
            go_on_if_found=claim.reply.go_on_if_found,
            execution_id=claim.execution_id,
            attempt=claim.reply.attempt,
            broken_off=BROKEN_OFF.get(claim.reply.previous_code, ""),
            context=context_with(claim),
            org=claim.reply.org,
            env=without_switches(dict(claim.reply.env)) if claim.reply.graph else {},
        )
        self.builder = StatusBuilder(
            max_tool_result_bytes=claim.reply.max_tool_result_bytes or DEFAULT_MAX_TOOL_RESULT_BYTES,
            max_output_bytes=claim.reply.max_output_bytes or DEFAULT_MAX_OUTPUT_BYTES,
            max_encoded_bytes=claim.reply.max_encoded_bytes or DEFAULT_MAX_ENCODED_BYTES,
            custom=custom,
            priced=priced,
        )
        self.asked = RunRequest.from_json(json.loads(told)) if (told := claim.reply.asked_json) else None
        self.parts: GraphParts | None = None
        self._stream_rows = StreamRows(stream)
        self._chunks = MaskedChunks(self.mask)
        if self.asked is not None:
            self.current.trail.keeps_all = True
        self.control = RunControl()
        self.log = log(self)
        self.current.head_moved = self.log.head_moved
        self.current.trail.known = self.log.heads_told
        self.began = False
        """The agent's first step has started: from now on no failure is tried again."""
        self.expected = ""
        """The form of answer that the answered questions expect; empty for a run that answers none."""
        self.lacks = ""
        """Values that its graph declares but the run did not get, as text that follows a failure of the graph."""
        self.open_nodes: dict[Any, str] = {}
        self.can_hand_back = False
        self.stands_at: Callable[[], Awaitable[list[str]]] | None = None
        """Asks the run's memory which nodes come next."""
        self.stop_reason: Stop | None = None
        self.stop_asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.rolled_back = False
        self.error = ""
        """What the status says of its end, if it did not complete."""
        """The server said, at its end, that what it did to memory is to be removed."""
        self._silent_s = silent_s
        self.left_threads = ""
        """The threads of the run that have not come back, as text that follows the failure's text."""
        self._given_up = False
        self._draining = False

    @property
    def id(self) -> str:
        return self.claim.execution_id

    @property
    def left_s(self) -> float:
        return max(0.0, self.claim.ends_at - time.monotonic())

    def open_step(self) -> str:
        """The current step of the run, as text; empty between steps."""
        if step := self.builder.open_step():
            return step
        return ", ".join(f"node '{name}'" for name in dict.fromkeys(self.open_nodes.values())) or self.current.doing

    async def feed(self, event: Event) -> None:
        """Add an event to the log. An output of many parts is made plain in a thread and much text is masked in one, so
        that beats and other runs do not wait for it."""
        if self._given_up:
            return
        if isinstance(event, StreamPart) and self.mask and event.part == "messages":
            chunk = self._chunks.through(event.data)
            if chunk is not None:
                self.log.add(self._stream(replace(event, data=chunk)))
                return
        if isinstance(event, GraphOutput) and has_more_parts(event.output, MANY_PARTS):
            deltas = await self._made_apart(event)
        else:
            deltas = self._stream(event) if isinstance(event, StreamPart) else self.builder.feed(event)
        if self.mask:
            deltas = self._texts.through(deltas)
            if isinstance(event, MessageFinished | MessageBroken):
                deltas += self._texts.end(event.message_id)
        if not self.mask or sum(characters_in(delta.payload) for delta in deltas) < IN_A_THREAD:
            self._tell(deltas)
            return
        try:
            masked = await asyncio.to_thread(self._without_secrets, deltas)
        except asyncio.CancelledError:
            self._tell(deltas)  # the builder assumes that they are in the log
            raise
        if not self._given_up:
            self.log.add(masked)

    async def _made_apart(self, event: Event) -> list[Delta]:
        """Nothing, if the run is given up meanwhile."""
        deltas = await asyncio.to_thread(self.builder.feed, event)
        return [] if self._given_up else deltas

    def _stream(self, event: StreamPart) -> list[Delta]:
        row = self._stream_rows.row(event)
        return [] if row is None else [row]

    def tell_stream_end(self, error: BaseException | None) -> None:
        """Says where the graph stopped, if the run was asked for its stream."""
        if self.asked is None:
            return
        values = plain_part(self.parts.values) if self.parts else None
        failed = plain_part(error) if error is not None else None
        self._tell([self._stream_rows.end(values, self.parts.interrupts if self.parts else [], failed)])

    def say(self, deltas: list[Delta]) -> None:
        """Add deltas to the log, with the secrets masked."""
        self._tell(self._texts.through(deltas) if self.mask else deltas)

    def _tell(self, deltas: list[Delta]) -> None:
        self.log.add(self._without_secrets(deltas) if self.mask else deltas)

    def _without_secrets(self, deltas: list[Delta]) -> list[Delta]:
        """Streamed texts are masked already."""
        return [
            delta if delta.kind == "text" else Delta(kind=delta.kind, payload=self._masked(delta.payload))
            for delta in deltas
        ]

    def _masked(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {name: value if name in STRUCTURE else self.mask.within(value) for name, value in payload.items()}

    def stop(self, reason: Stop) -> None:
        """Ask the run to end. The first reason counts, but FENCED_OUT replaces any other: then nothing is reported."""
        if self.stop_reason is None or reason is Stop.FENCED_OUT:
            self.stop_reason = reason
        if not self.stop_asked.done():
            self.stop_asked.set_result(None)

    def on_verdict(self, verdict: int) -> None:
        """Handles the server's verdict about this run, from a beat or an append."""
        if verdict == pb.CANCEL:
            self.stop(Stop.CANCEL)
        elif verdict == pb.FENCED_OUT:
            self.stop(Stop.FENCED_OUT)

    def give_up(self) -> None:
        """Code of the run that is still active adds nothing to the log any more, and starts no further call."""
        self._given_up = True

    def ask_drain(self, reason: str) -> None:
        """Stop at the next step boundary, if another worker can continue the run from there."""
        self._draining = True
        if self.can_hand_back:
            self.control.request_drain(reason)

    def allow_hand_back(self) -> None:
        """The run can be handed back: its graph keeps its state in our memory."""
        self.can_hand_back = True
        if self._draining:
            self.control.request_drain("shutdown")

    def beat(self) -> pb.RunBeat:
        """May be called on any thread."""
        return pb.RunBeat(
            handle=self.log.handle,
            fence=self.log.fence,
            run_token=self.log.token,
            progress=pb.Progress(**self.progress()),
        )

    def progress(self) -> dict[str, Any]:
        """Counts without content. May be called on any thread."""
        return {
            "events_processed": self.builder.events_processed,
            "messages": self.builder.messages,
            "tool_calls": self.builder.tool_calls,
            "phase": Phase.IN_PROGRESS.wire_name,
            "input_tokens": self.builder.used.tokens.get("input_tokens", 0),
            "output_tokens": self.builder.used.tokens.get("output_tokens", 0),
            **({"cost": cost.amount, "currency": cost.currency} if (cost := self.builder.used.cost) else {}),
        }

    @property
    def unheard(self) -> bool:
        """No answer for longer than the heartbeat timeout: the server may have given the run to another worker."""
        since_claim = time.monotonic() - self.claim.at
        return min(self._silent_s(), since_claim) > self.claim.reply.heartbeat_s

    async def _gate(self) -> None:
        """Awaited before each model and tool call: calls in flight continue, but no new call starts."""
        while True:
            if self._given_up or self.stop_asked.done():
                raise StopRun("the run was told to stop")
            if not self.unheard and not self.log.full:
                return
            await asyncio.sleep(GATE_LOOK_S)
