"""Who watches an execution from before the fault: SSE, `watch` and the contract's `subscribe`, each to its own end.

Every subscriber runs on a thread, keeps what it was sent and when, and ends when its stream closes after the terminal
event. With `reconnects` a lost stream is taken up again where it was (L7); without, a lost stream is a failure.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import ExecutionPhase
from agent_runner.ai.stigmer.agentic.agentexecution.v1.query_pb2_grpc import AgentExecutionQueryControllerStub
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1.executions_pb2_grpc import ExecutionsStub
from tests.integration.stack import KEY, TERMINAL, Json

CONNECT_S = 10.0
AGAIN_S = 0.2
METADATA = (("authorization", f"Bearer {KEY}"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One row of the log as a subscriber was sent it. `arrived` is monotonic."""

    seq: int
    kind: str
    payload: Any
    arrived: float


@dataclass
class Subscriber:
    """`connected` after its first event. `ended_at` (monotonic) when the terminal event came and the stream closed."""

    name: str
    rows: list[Seen] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0
    phase: str = ""
    code: str = ""
    last: Json | None = None
    """The whole execution, where the stream carries it."""
    losses: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def last_seq(self) -> int:
        return self.rows[-1].seq if self.rows else 0


class Witness:
    """`with` it around the fault, or `start` and `stop`. `id`: the execution."""

    def __init__(self, id: str, *, http_port: int, grpc_port: int, reconnects: bool = False) -> None:
        self.id = id
        self._http = f"http://127.0.0.1:{http_port}/v1/executions/{id}/events"
        self._grpc = f"127.0.0.1:{grpc_port}"
        self._reconnects = reconnects
        self._stopped = threading.Event()
        self._channel: grpc.Channel | None = None
        self.sse, self.watch, self.subscribe = Subscriber("SSE"), Subscriber("watch"), Subscriber("subscribe")

    @property
    def all(self) -> tuple[Subscriber, ...]:
        return self.sse, self.watch, self.subscribe

    def start(self) -> "Witness":
        """Returns when all three have received their first event."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 64 << 20),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500),
                   ("grpc.enable_http_proxy", 0)]  # fmt: skip
        self._channel = grpc.insecure_channel(self._grpc, options=options)
        for subscriber, read in ((self.sse, self._sse), (self.watch, self._watch), (self.subscribe, self._subscribe)):
            name = f"{subscriber.name} of {self.id}"
            threading.Thread(target=self._follow, args=(subscriber, read), name=name, daemon=True).start()
        until = time.monotonic() + CONNECT_S
        for subscriber in self.all:
            if not subscriber.connected.wait(max(0.0, until - time.monotonic())):
                raise AssertionError(f"{subscriber.name} was not connected within {CONNECT_S:g} s: {subscriber.losses}")
        return self

    def stop(self) -> None:
        self._stopped.set()
        if self._channel is not None:
            self._channel.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether all three ended by themselves in that time."""
        until = time.monotonic() + timeout_s
        return all(subscriber.done.wait(max(0.0, until - time.monotonic())) for subscriber in self.all)

    def row_at(self, matches: Callable[[Seen], bool]) -> Seen | None:
        """The first row of the log that matches, as SSE was sent it."""
        return next((row for row in list(self.sse.rows) if matches(row)), None)

    def problems(self) -> list[str]:
        """What a subscriber that was there before the fault should have been sent, and was not."""
        found = []
        for subscriber in self.all:
            if not subscriber.ended_at:
                found.append(f"{subscriber.name} got no terminal event {subscriber.losses or ''}".strip())
            elif subscriber.losses and not self._reconnects:
                found.append(f"{subscriber.name} was broken off: {subscriber.losses[0]}")
        for subscriber in (self.sse, self.watch):
            sequence = [row.seq for row in subscriber.rows]
            first = sequence[0] if sequence else 1
            if sequence != list(range(first, first + len(sequence))):
                found.append(f"{subscriber.name} has gaps or repeats: {sequence[:50]}")
        if len({subscriber.phase for subscriber in self.all if subscriber.ended_at}) > 1:
            found.append(f"subscribers disagree: {[(s.name, s.phase) for s in self.all]}")
        return found

    def _follow(self, subscriber: Subscriber, read: Callable[[Subscriber], Iterator[None]]) -> None:
        """Read to the end; take it up again where that is allowed."""
        while not self._stopped.is_set():
            try:
                for _ in read(subscriber):
                    subscriber.connected.set()
                if subscriber.phase in TERMINAL:
                    subscriber.ended_at = time.monotonic()
                    break
                subscriber.losses.append("closed without a terminal event")
            except (httpx.HTTPError, grpc.RpcError) as error:
                subscriber.losses.append(_words(error))
                if subscriber.phase in TERMINAL:
                    subscriber.losses[-1] = f"broke after the terminal event: {subscriber.losses[-1]}"
            if not self._reconnects:
                break
            self._stopped.wait(AGAIN_S)
        subscriber.done.set()

    def _sse(self, subscriber: Subscriber) -> Iterator[None]:
        headers = {"Authorization": f"Bearer {KEY}", "Last-Event-ID": str(subscriber.last_seq)}
        timeout = httpx.Timeout(5.0, read=40.0)  # a quiet stream is pinged every 15 s
        with httpx.stream("GET", self._http, headers=headers, timeout=timeout, trust_env=False) as answer:
            answer.raise_for_status()
            frame: dict[str, str] = {}
            for line in answer.iter_lines():
                if line and not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    frame[name] = value
                elif frame:
                    _take_frame(subscriber, frame)
                    frame = {}
                    yield

    def _watch(self, subscriber: Subscriber) -> Iterator[None]:
        assert self._channel is not None
        request = own.WatchRequest(execution_id=self.id, from_seq=subscriber.last_seq)
        for event in ExecutionsStub(self._channel).watch(request, metadata=METADATA):
            match event.WhichOneof("what"):
                case "update":
                    row = event.update
                    _add(subscriber, row.seq, row.kind, json.loads(row.payload))
                case "end":
                    subscriber.phase, subscriber.code = _phase(event.end.phase), event.end.error_code
                case "snapshot":
                    subscriber.last = _json(event.snapshot.execution)
            yield

    def _subscribe(self, subscriber: Subscriber) -> Iterator[None]:
        assert self._channel is not None
        stub = AgentExecutionQueryControllerStub(self._channel)
        for execution in stub.subscribe(io_pb2.AgentExecutionId(value=self.id), metadata=METADATA):
            subscriber.last = _json(execution)
            subscriber.phase = _phase(execution.status.phase)
            yield


def _take_frame(subscriber: Subscriber, frame: dict[str, str]) -> None:
    data = json.loads(frame["data"])
    match frame.get("event"):
        case "update":
            _add(subscriber, data["seq"], data["kind"], data["payload"])
        case "end":
            subscriber.phase, subscriber.code = data["phase"], data["error_code"]
        case "error":
            subscriber.losses.append(f"event: error {frame['data'][:200]}")


def _add(subscriber: Subscriber, seq: int, kind: str, payload: Any) -> None:
    subscriber.rows.append(Seen(seq=seq, kind=kind, payload=payload, arrived=time.monotonic()))


def _phase(number: int) -> str:
    return str(ExecutionPhase.Name(number))  # type: ignore[arg-type]


def _json(message: Any) -> Json:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _words(error: Exception) -> str:
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if callable(code) and callable(details):
        return f"{code()}: {details()}"
    return f"{type(error).__name__}: {error}"
