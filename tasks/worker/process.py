"""One process of a worker: its event loop, its channel, its presence, and the runs that it owns.

Built once per process and never across a fork: `start`, then `announce` when it takes work, `drain` when it is asked
to leave, `stop` at the end.
"""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from agent_runner.clients.backend.presence import BEAT_AT_LEAST_EVERY_S, BEAT_AT_MOST_EVERY_S, Pulse
from agent_runner.clients.masking.mask import Mask
from agent_runner.clients.masking.operator_secrets import operator_secrets
from agent_runner.clients.process.signs_of_life import may_be_silent
from agent_runner.clients.reporting.port import Reporting, is_native, latest_head, open_reporting, presence_of
from agent_runner.clients.sandbox.kinds.offered import sandbox_said
from agent_runner.clients.tracing.tracing import OFF, Tracing, open_tracing
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code
from agent_runner.status.timeouts import silent_process_s
from agent_runner.tasks.body_errors import FailureReports
from agent_runner.tasks.run.flusher import Flusher
from agent_runner.tasks.run.stops import ACTIVITY, Stop
from agent_runner.tasks.worker.loop import AgentLoop
from agent_runner.tasks.worker.sandbox_sweep import SandboxSweep
from agent_runner.tasks.worker.wear import Wear
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.clients.engine.factory import EngineFactory
    from agent_runner.clients.engine.memory.checkpoints import Memory
    from agent_runner.clients.engine.store.org_store import OrgStore
    from agent_runner.clients.settings.settings import Settings
    from agent_runner.clients.tracing.langsmith_traces import LangSmithTraces
    from agent_runner.tasks.run.run import Run
    from agent_runner.tasks.worker.measures import Measures

log = event_logger(__name__)

START_S = 60.0
EXIT_BLOCKED = 70
BUSY_WITHIN_S = 1.0
"""A server knows after this time how busy a worker is. A heartbeat for each run would cost a write for each slot."""
TRACES_S = 3.0
"""The time at the end of a process to send the traces that are left."""
LAST_WORD_S = 5.0
"""The time after the drain time, for the cancelled runs to end and report it."""


class RunnerProcess:
    """`name` is Celery's node name. `slots` is how many runs fit; `on_blocked`/`on_free` stop and resume consuming."""

    engine: "EngineFactory"
    backend: Reporting
    flusher: Flusher

    def __init__(
        self,
        settings: "Settings",
        *,
        role: str,
        queue: str,
        incarnation: str,
        name: str,
        slots: int,
        on_blocked: Callable[[], None] = lambda: None,
        on_free: Callable[[], None] = lambda: None,
        on_worn_out: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings, self.role, self.incarnation, self.name = settings, role, incarnation, name
        self.queue, self._slots = queue, slots
        self.mask = Mask(operator_secrets(settings))
        """Of the operator's secrets, which no run may show."""
        self.sandbox = sandbox_said(settings) if role == "worker" else ""
        """A text that says what commands run in."""
        self._sweep = SandboxSweep(settings)
        self.leaving_now = False
        """From now on no run waits for a report that cannot be delivered."""
        self.draining = False
        self._runs: dict[int, Run] = {}
        self._memory: Memory | None = None
        self._store: OrgStore | None = None
        self._langsmith: LangSmithTraces | None = None
        self.tracing: Tracing = OFF
        self.measures: Measures | None = None
        self._reports = FailureReports(settings)
        self._on_blocked, self._on_free = on_blocked, on_free
        self._consuming = True
        self.loop = AgentLoop(threads_per_run=settings.threads_per_run, on_blocked=self._blocked, on_free=self._free)
        self._wear = Wear(self.loop.threads, most=settings.max_hung_threads, on_worn_out=on_worn_out)
        self._presence = presence_of(
            settings,
            pb.Hello(
                incarnation=incarnation,
                queue=queue,
                role=role,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                slots=slots,
                name=name,
                version=version("agent-runner"),
                sandbox=self.sandbox,
            ),
            pulse=self._pulse,
            on_verdicts=lambda verdicts: self.loop.call_soon(self._take, verdicts),
        )

    def start(self) -> None:
        """Raises the error that keeps it from working: the checkpoint store, an engine that is not installed."""
        self.loop.start()
        self.loop.submit(self._open()).result(START_S)

    def announce(self) -> None:
        """Tell the server that this process takes work."""
        self._presence.start()
        if self.role == "worker":
            threading.Thread(target=warm_up, args=(self.settings.engine,), name="warm up", daemon=True).start()
            self._sweep.start()

    def resized(self, slots: int) -> None:
        """The pool has another size: the server and those who look at it are told. Any thread."""
        self._slots = slots
        self._presence.beat_within(BEAT_AT_LEAST_EVERY_S)

    def drain(self, reason: str, within_s: float) -> None:
        """Have every run stop at its next step boundary; after `within_s` they are cancelled. Signal-safe."""
        self.draining = True
        self.loop.call_soon(self._drain, reason, within_s)

    def revoke(self) -> bool:
        """Cancel every run as an operator's order; each run reports that. False when there is none. Signal-safe."""
        runs = list(self._runs.values())
        for run in runs:
            self.loop.call_soon(run.stop, Stop.REVOKED)
        return bool(runs)

    def stop(self) -> None:
        """Say goodbye and close everything. Idempotent; takes a limited time."""
        self.leaving_now = True
        self._sweep.stop()
        self._presence.goodbye()
        try:
            self.loop.submit(self._close()).result(LAST_WORD_S)
        except Exception as exc:
            log.warning("process.close_failed", error=repr(exc))
        self.loop.stop()
        if self.measures is not None:
            self.measures.close()
        self.tracing.close(TRACES_S)
        if self._langsmith is not None:
            self._langsmith.close(TRACES_S)

    def own(self, run: "Run") -> None:
        self._runs[run.log.handle] = run
        may_be_silent(self.silence_s)
        self.loop.threads.begin(run.id)
        if self.draining:
            self._ask_drain(run, "shutdown")
        self._presence.beat_within(min(BUSY_WITHIN_S, run.claim.reply.heartbeat_s / 3))

    def disown(self, run: "Run") -> None:
        self._runs.pop(run.log.handle, None)
        may_be_silent(self.silence_s)
        self.loop.threads.end(run.id)
        if self.loop.threads.any_left and self._wear.look():
            self._presence.beat_within(BEAT_AT_LEAST_EVERY_S)

    @property
    def memory(self) -> "Memory":
        """The agents' memory. Raises RuntimeError if this is no started worker."""
        if self._memory is None:
            raise RuntimeError("this process has no checkpoint store: it is not a worker that has been started")
        return self._memory

    @property
    def graph_store(self) -> "OrgStore":
        """The store of graphs. Raises RuntimeError if this is no started worker."""
        if self._store is None:
            raise RuntimeError("this process has no store of graphs: it is not a worker that has been started")
        return self._store

    @property
    def busy(self) -> int:
        return len(self._runs)

    @property
    def silence_s(self) -> float:
        """How long this process may show no sign of life: no run of it is open after that."""
        told, beats = [run.claim.reply for run in list(self._runs.values())], is_native(self.settings)
        # Compatible reporting has no heartbeats: there a run is open until its own time is up.
        limits = [reply.heartbeat_s if beats else reply.start_to_close_s for reply in told]
        return silent_process_s(max(limits, default=self.settings.heartbeat_timeout_s))

    def silent_s(self) -> float:
        """For how long no beat of this process has been answered."""
        return time.monotonic() - self._presence.answered_at

    async def _open(self) -> None:
        self.backend = open_reporting(self.settings, self._head_of)
        self._measure()
        told = self.measures.flushed if self.measures else None
        self.flusher = Flusher(self.backend, merged=is_native(self.settings), on_answer=told)
        self.flusher.start()
        if self.role == "worker":
            from agent_runner.clients.engine.contain import contain
            from agent_runner.clients.engine.factory import EngineFactory
            from agent_runner.clients.engine.memory.checkpoints import open_saver
            from agent_runner.clients.engine.store.org_store import OrgStore
            from agent_runner.clients.engine.user_graphs import run_environment

            self.tracing = open_tracing(self.settings, self.role)
            if self.settings.langsmith_tracing:
                from agent_runner.clients.tracing.langsmith_traces import LangSmithTraces

                self._langsmith = LangSmithTraces.start(self.settings)
            self.loop.also(contain)
            self._memory = await open_saver(self.settings.checkpoint_url)
            self._store = OrgStore(self.settings.checkpoint_url)
            self.engine = EngineFactory(self.settings, self._memory.saver, self._store)
            run_environment.install()

    def _measure(self) -> None:
        """Serves the metrics of this process, if a port is set."""
        if not self.settings.worker_metrics_port or self.role != "worker":
            return
        from agent_runner.tasks.worker.measures import Measures

        measures = Measures(busy=lambda: self.busy, lag_s=self.loop.lag, slots=self._slots)
        if measures.serve(self.settings.bind, self.settings.worker_metrics_port):
            self.measures = measures

    async def _head_of(self, thread_id: str) -> str:
        return await latest_head(self._memory.saver, thread_id) if self._memory is not None else ""

    async def _close(self) -> None:
        await self.flusher.stop()
        await self.backend.close()
        if self._store is not None:
            await self._store.aclose()
        if self._memory is not None:
            await self._memory.aclose()

    def _pulse(self) -> Pulse:
        runs = list(self._runs.values())
        return Pulse(
            runs=[run.beat() for run in runs],
            busy=len(runs),
            loop_lag_s=self.loop.lag(),
            every_s=min((run.claim.reply.heartbeat_s / 3 for run in runs), default=BEAT_AT_MOST_EVERY_S),
            hung_threads=self._wear.look(),
            not_taking=self._not_taking(),
            slots=self._slots,
        )

    def _not_taking(self) -> str:
        """Why this process takes no more work; empty while it does. Any thread."""
        if self._wear.reason:
            return self._wear.reason
        if self.loop.blocked:
            return f"its event loop has been blocked for {self.loop.lag():.0f} s"
        return "it is leaving" if self.draining else ""

    def _take(self, verdicts: Sequence[pb.RunVerdict]) -> None:
        for verdict in verdicts:
            run = self._runs.get(verdict.handle)
            if run is not None and run.log.fence == verdict.fence:
                run.on_verdict(verdict.verdict)

    def _drain(self, reason: str, within_s: float) -> None:
        log.info("runs.drain", runs=len(self._runs), within_s=within_s, reason=reason)
        for run in list(self._runs.values()):
            self._ask_drain(run, reason)
        loop = asyncio.get_running_loop()
        loop.call_later(within_s, self._stop_runs)
        loop.call_later(within_s + LAST_WORD_S, setattr, self, "leaving_now", True)

    def _ask_drain(self, run: "Run", reason: str) -> None:
        """A run that cannot be handed back continues to its end, within the drain time."""
        if is_native(self.settings):
            run.ask_drain(reason)

    def _stop_runs(self) -> None:
        for run in list(self._runs.values()):
            run.stop(Stop.SHUTDOWN)

    def _blocked(self, owner: str, for_s: float) -> None:
        """Called on the loop's watch thread, because the loop itself is blocked."""
        if self._consuming:
            self._consuming = False
            self._on_blocked()
        culprit = next((run for run in list(self._runs.values()) if run.id == owner), None)
        if culprit is not None and time.monotonic() > culprit.claim.ends_at:
            self._end_blocked(culprit)

    def _free(self) -> None:
        self._consuming = True
        self._on_free()

    def _end_blocked(self, culprit: "Run") -> None:
        """A run blocks the loop beyond its time: only the end of this process can end it."""
        log.critical("loop.never_free", execution_id=culprit.id)
        told = culprit.claim.reply
        facts = {"activity": ACTIVITY, "worker": self.name}
        blocked = {"limit_s": told.start_to_close_s, "open_step": " (its code blocked the worker's event loop)"}
        reports = [(culprit.id, Code.START_TO_CLOSE, {**facts, **blocked, "attempt": told.attempt})]
        cause = f"execution {culprit.id} blocked this worker's event loop, so the worker was ended"
        for run in list(self._runs.values()):
            if run is not culprit:
                lost = {**facts, "cause": cause, "attempt": run.claim.reply.attempt}
                reports.append((run.id, Code.WORKER_LOST, lost))
        threads = [
            threading.Thread(target=self._reports.tell_now, args=report, kwargs={"tries": 2}) for report in reports
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LAST_WORD_S)
        os._exit(EXIT_BLOCKED)


def warm_up(engine: str) -> None:
    """Saves the first run half a second of imports. If an import fails, that run reports the failure.

    What was imported stays, so the garbage collector need not look at it: it stopped all runs for 0.1 s each time."""
    with contextlib.suppress(Exception):
        from agent_runner.clients.engine.engines.installed import import_engine

        import_engine(engine)
        import agent_runner.clients.engine.stream.event_stream  # noqa: F401
    gc.freeze()
