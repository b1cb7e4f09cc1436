"""The worker process' presence: one stream to a server, on a thread and a channel of its own.

The stream carries the heartbeats of all runs. They follow the clock, not the agents' progress, so that a run stays
alive while its model is silent for minutes or a tool blocks the event loop. A process that leaves says goodbye, because
to the server a clean close and a crash look the same.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from agent_runner.clients.backend.channel import RECONNECT_MOST_S, authorization, open_blocking_channel, words
from agent_runner.status.event_logger import event_logger
from agent_runner.v1 import runner_pb2 as pb
from agent_runner.v1.runner_pb2_grpc import RunnerStub

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

BEAT_AT_MOST_EVERY_S = 10.0
BEAT_AT_LEAST_EVERY_S = 0.05
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """The content of one heartbeat. `every_s`: seconds until the next one is due, as the runs need it."""

    runs: Sequence[pb.RunBeat]
    busy: int
    loop_lag_s: float
    every_s: float = BEAT_AT_MOST_EVERY_S
    hung_threads: int = 0
    not_taking: str = ""
    slots: int = 0


class PresenceThread:
    """Start it once, after any fork; `goodbye` ends it. Reconnects for ever.

    `pulse` makes a heartbeat. `on_verdicts` gets the server's verdicts about runs, in answers or pushed. Both are
    called on threads of this object.
    """

    def __init__(
        self,
        settings: "Settings",
        hello: pb.Hello,
        *,
        pulse: Callable[[], Pulse],
        on_verdicts: Callable[[Sequence[pb.RunVerdict]], None],
    ) -> None:
        self._settings = settings
        self._metadata = authorization(settings)
        self._hello = hello
        self._pulse = pulse
        self._on_verdicts = on_verdicts
        self._changed = threading.Condition()
        self._beat_now = False
        self._due = math.inf
        """When the next heartbeat is sent at the latest (monotonic)."""
        self._leaving = False
        self._said_goodbye = threading.Event()
        self._server_every_s = BEAT_AT_MOST_EVERY_S
        self._sent: deque[float] = deque()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self.connected = threading.Event()
        """Set while a server has welcomed this process."""
        self.answered_at = time.monotonic()
        """When the last beat that was answered was *sent*: what is known about the server is no younger than that."""

    def start(self) -> None:
        self._thread.start()

    def beat_within(self, seconds: float) -> None:
        """A run began or ended: send a heartbeat within this time. All calls until then share it, because a heartbeat
        is a write for each run of the process."""
        due = time.monotonic() + max(seconds, BEAT_AT_LEAST_EVERY_S)
        with self._changed:
            if due < self._due:
                self._due = due
                self._changed.notify_all()

    def beat_soon(self) -> None:
        """Send a heartbeat now, and ask `pulse` again for the interval."""
        with self._changed:
            self._beat_now = True
            self._changed.notify_all()

    def goodbye(self, timeout_s: float = GOODBYE_S) -> None:
        """Tell the server that this process leaves. Idempotent. Returns when it is sent, or after `timeout_s`; without
        a connection after 0.2 s at most."""
        if not self._thread.is_alive():
            return
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        self._said_goodbye.wait(timeout_s if self.connected.is_set() else min(timeout_s, 0.2))

    def _run(self) -> None:
        channel = open_blocking_channel(self._settings)
        stub = RunnerStub(channel)
        pause_s = BEAT_AT_LEAST_EVERY_S
        while not self._leaving:
            lost = threading.Event()
            try:
                for reply in stub.presence(self._requests(lost), metadata=self._metadata, wait_for_ready=True):
                    pause_s = BEAT_AT_LEAST_EVERY_S
                    self._take(reply)
                log.info("presence.ended")
            except grpc.RpcError as exc:
                log.warning("presence.lost", error=words(exc))
            except Exception:
                log.exception("presence.failed")
            finally:
                self.connected.clear()
                lost.set()
                with self._changed:
                    self._changed.notify_all()
            if not self._leaving:
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, RECONNECT_MOST_S)
        self._said_goodbye.set()
        channel.close()

    def _requests(self, lost: threading.Event) -> Iterator[pb.PresenceRequest]:
        """The requests of one stream. Runs on gRPC's thread; the wait in it is the clock of the heartbeats."""
        self._sent.clear()
        yield pb.PresenceRequest(hello=self._hello)
        self._due = time.monotonic()
        while not lost.is_set():
            with self._changed:
                while not (self._leaving or self._beat_now or lost.is_set()):
                    left_s = self._due - time.monotonic()
                    if left_s <= 0:
                        break
                    self._changed.wait(left_s)
                self._beat_now = False
                self._due = math.inf  # a run that begins from here on may want the next heartbeat sooner
            if lost.is_set():
                return
            if self._leaving:
                yield pb.PresenceRequest(goodbye=pb.Goodbye())
                return
            pulse = self._pulse()
            now = time.monotonic()
            every_s = max(BEAT_AT_LEAST_EVERY_S, min(pulse.every_s, self._server_every_s, BEAT_AT_MOST_EVERY_S))
            with self._changed:
                self._due = min(self._due, now + every_s)
            self._sent.append(now)
            yield pb.PresenceRequest(
                beat=pb.BeatRequest(
                    incarnation=self._hello.incarnation,
                    runs=pulse.runs,
                    busy=pulse.busy,
                    loop_lag_s=pulse.loop_lag_s,
                    hung_threads=pulse.hung_threads,
                    not_taking=pulse.not_taking,
                    slots=pulse.slots,
                )
            )

    def _take(self, reply: pb.PresenceReply) -> None:
        if reply.WhichOneof("what") == "welcome":
            self._server_every_s = reply.welcome.beat_every_s or BEAT_AT_MOST_EVERY_S
            self.connected.set()
            self.beat_soon()  # the first heartbeat was sent before the server's interval was known
            log.info("presence.up", server_id=reply.welcome.server_id)
            return
        if self._sent:
            self.answered_at = max(self.answered_at, self._sent.popleft())
        if reply.beat.runs:
            self._on_verdicts(reply.beat.runs)
