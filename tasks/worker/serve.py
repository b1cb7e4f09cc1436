"""The life of a worker process: which pool it has, when it is present, how it leaves.

async      one process: the event loop, the channel and the presence are this process'
prefork    the parent forks and opens no channel; each child has its own, with an incarnation of its own
"""

import contextlib
import math
import os
import signal
import socket
import threading
import time
import uuid
import warnings
from multiprocessing.sharedctypes import RawValue
from types import FrameType
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from celery.exceptions import SecurityWarning
from celery.worker import state as worker_state
from celery.worker.control import Panel

from agent_runner.clients.broker.start_check import look_at_redis
from agent_runner.clients.process.logs import end_process
from agent_runner.clients.process.signs_of_life import show_life
from agent_runner.clients.process.supervision import ask_for_successor
from agent_runner.clients.sandbox.isolation import Isolation
from agent_runner.clients.sandbox.kinds.offered import check_sandboxes
from agent_runner.status.event_logger import event_logger
from agent_runner.tasks.app import Role, queue_of
from agent_runner.tasks.body_errors import FailureReports
from agent_runner.tasks.signals import Signals, telling_consumer
from agent_runner.tasks.worker.departure import LeavingWorker
from agent_runner.tasks.worker.forks.fork_pool import ForkPool
from agent_runner.tasks.worker.forks.user_processes import open_to_forks
from agent_runner.tasks.worker.pool import TaskPool, set_slots
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.tasks.worker.workplace import Workplace

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)

COLD_DRAIN_S, COLD_LAST_WORD_S = 5.0, 3.0
"""The time after SIGQUIT to reach a step boundary (less if the drain time is shorter), and to report the end."""
ORCHESTRATOR_SLOTS = 10
CHILDREN_PER_CORE = 2
"""Prefork children unless told otherwise: each is a process of 150 MB and more that runs one agent at a time."""
BROKER_S = 5
CHILD_REST_S = 1.0
"""Between a child that could not start and the next one in its place."""
EXIT_WORN_OUT = 71
"""The exit code of a process that ended only because of its hung threads, which end with their process only."""
WEAR_LOOK_S = 1.0
SUCCESSOR_S = 10.0
"""The usual time until a successor is up. Until then a worn-out worker takes messages that no other would take."""


class Station:
    """One worker process. `open` raises the error that keeps it from working; `run` returns the exit code."""

    def __init__(self, settings: "Settings", role: Role, app: Celery, workplace: Workplace) -> None:
        self._settings, self._role, self._app, self._workplace = settings, role, app, workplace
        self._queue = queue_of(settings, role)
        self._incarnation = os.environ.get("AGENT_RUNNER_INCARNATION") or uuid.uuid4().hex
        self._name = f"{role}-{os.getpid()}@{socket.gethostname()}"
        self._forks = role == "worker" and settings.pool == "prefork"
        # Memory that is shared with forked children: set before they are asked to leave, and read by them.
        self._within_s = RawValue("d", math.inf)
        self._worn_out = RawValue("b", 0)
        self._isolation: Isolation | None = None
        self._unusable: dict[str, str] = {}
        """Kinds of sandboxes that are offered beside the default one, and why they cannot be used now."""

    def open(self) -> None:
        look_at_redis(self._settings)
        if self._role == "worker":
            # Before any fork, so that children inherit the answer. If it forbids the start, the broker is not asked.
            self._isolation, self._unusable = check_sandboxes(self._settings)
        with self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=1, timeout=BROKER_S)
            # If the broker refuses the queue, the start fails with a report. Celery would ask again for ever.
            self._app.amqp.queues[self._queue](connection.default_channel).declare()
        # Opened now, so that a bad URL fails the start. Celery opens it with a result, and each task would fail.
        _ = self._app.backend
        # Made by one thread: Celery gives the pool its limit after others can use it (`Publisher._sent`).
        _ = self._app.amqp.producer_pool
        if self._forks:
            # Imported before the fork: children share the memory pages.
            import agent_runner.clients.engine.memory.checkpoints  # noqa: F401
            from agent_runner.clients.engine.engines.installed import import_engine

            import_engine(self._settings.engine)

            signals.worker_process_init.connect(self._on_child, weak=False)
            signals.worker_process_shutdown.connect(self._on_child_end, weak=False)
        else:
            self._workplace.process = self._start_process(self._incarnation, self._slots)
            open_to_forks()

    def run(self) -> int:
        reports = FailureReports(self._settings)
        told = Signals(self._app, reports, queue=self._queue, worker=self._name, forks=self._forks)
        told.connect()
        signals.setup_logging.connect(_keep_logging, weak=False)
        # Celery warns about pickle when it runs as root, but only JSON is accepted here.
        warnings.filterwarnings("ignore", category=SecurityWarning)
        signals.worker_ready.connect(self._on_ready, weak=False)
        signals.worker_shutting_down.connect(lambda **_: self.leave(self._settings.drain_timeout_s), weak=False)
        self._app.conf.worker_consumer = telling_consumer(told)
        self._app.conf.worker_proc_alive_timeout = 60.0
        Panel.data["autoscale"] = set_slots
        worker = LeavingWorker(
            app=self._app,
            hostname=self._name,
            pool_cls=ForkPool if self._forks else TaskPool,
            concurrency=self._slots,
            queues=[self._queue],
            loglevel=self._settings.log_level,
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        worker.leave, worker.leave_cold = self._leave_warm, self._leave_cold
        self._worker = worker
        if self._role == "worker":
            threading.Thread(target=self._replace_when_worn_out, name="wear", daemon=True).start()
        worker.start()
        if not self._forks:
            self._workplace.process.stop()
        return int(worker.exitcode or 0)

    def leave(self, within_s: float) -> None:
        """Have the runs stop at their next step. A second call can only shorten the time; safe in a signal handler."""
        if within_s >= self._within_s.value:
            return
        self._within_s.value = within_s
        if not self._forks:
            self._workplace.process.drain("the worker is leaving", within_s)
            return
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR2)

    @property
    def _slots(self) -> int:
        if self._role == "orchestrator":
            return ORCHESTRATOR_SLOTS
        if self._forks and not self._settings.given("concurrency"):
            return CHILDREN_PER_CORE * (os.cpu_count() or 1)
        return self._settings.concurrency

    def _start_process(self, incarnation: str, slots: int) -> RunnerProcess:
        process = RunnerProcess(
            self._settings,
            role=self._role,
            queue=self._queue,
            incarnation=incarnation,
            name=self._name,
            slots=slots,
            on_blocked=lambda: self._consume(False),
            on_free=lambda: self._consume(True),
            on_worn_out=lambda: setattr(self._worn_out, "value", 1),
        )
        process.start()
        return process

    def _consume(self, on: bool) -> None:
        """A worker with a blocked loop takes no further message; others can. A forked child has one run anyway."""
        if self._forks:
            return
        order = self._app.control.add_consumer if on else self._app.control.cancel_consumer
        try:
            order(self._queue, destination=[self._name])
        except Exception as exc:  # the broker is away: then nothing is taken either
            log.warning("consuming.not_switched", on=on, error=exc)

    def _children(self) -> list[int]:
        pool = getattr(getattr(self._worker, "pool", None), "_pool", None)
        return [child.pid for child in getattr(pool, "_pool", None) or ()]

    def _replace_when_worn_out(self) -> None:
        """Leave as on SIGTERM, but let the runs end: the supervisor starts a successor meanwhile."""
        while not self._worn_out.value:
            time.sleep(WEAR_LOOK_S)
        if ask_for_successor():
            time.sleep(SUCCESSOR_S)
        worker_state.should_stop = EXIT_WORN_OUT  # type: ignore[assignment]

    def _leave_warm(self) -> None:
        self.leave(self._settings.max_run_s if self._worn_out.value else self._settings.drain_timeout_s)

    def _leave_cold(self) -> None:
        """In the handler of SIGQUIT, before Celery cancels the tasks: gives runs time to reach a step boundary."""
        self.leave(min(COLD_DRAIN_S, self._settings.drain_timeout_s))
        self._worker.stop_consuming()
        until = time.monotonic() + COLD_DRAIN_S + COLD_LAST_WORD_S
        while time.monotonic() < until and self._busy():
            time.sleep(0.05)

    def _busy(self) -> bool:
        if not self._forks:
            return bool(self._workplace.process.busy)
        # The parent cannot see what its children have handed back while it is in this handler.
        return bool(worker_state.active_requests)

    def _on_ready(self, **_: Any) -> None:
        log.info("worker.ready", worker=self._name, queue=self._queue, slots=self._slots, tasks=self._known())
        if self._isolation is not None:
            if self._isolation.walls:
                log.info("sandbox.walls", walls=self._isolation.said)
            else:
                log.warning("sandbox.no_walls", walls=self._isolation.said)
        for kind, why in self._unusable.items():
            log.warning("sandbox.unusable", kind=kind, error=why)
        if not self._forks:
            pool: Any = self._worker.pool
            pool.on_resize = self._workplace.process.resized
            self._workplace.process.announce()

    def _known(self) -> str:
        from agent_runner.tasks.app import registered

        return ", ".join(registered(self._app))

    def _on_child(self, **_: Any) -> None:
        try:
            process = self._start_process(f"{self._incarnation}.{os.getpid()}", 1)
        except Exception:
            # Celery would log this and give it runs all the same, which could not begin.
            log.exception("child.not_started")
            time.sleep(CHILD_REST_S)
            end_process(1)
        open_to_forks()
        show_life(process.silence_s)
        self._workplace.process = process
        signal.signal(signal.SIGUSR2, lambda *_: process.drain("the worker is leaving", self._within_s.value))
        die = signal.getsignal(signal.SIGTERM)

        def on_terminate(number: int, frame: FrameType | None) -> None:
            """An operator's terminate reaches a child as this signal: its run reports it and ends (E401)."""
            if process.draining or not process.revoke():
                signal.signal(number, die)
                os.kill(os.getpid(), number)
                return
            overdue = threading.Timer(self._settings.settle_grace_s, os.kill, (os.getpid(), signal.SIGKILL))
            overdue.daemon = True
            overdue.start()
            signals.task_postrun.connect(lambda **_: overdue.cancel(), weak=False)

        signal.signal(signal.SIGTERM, on_terminate)
        process.announce()

    def _on_child_end(self, **_: Any) -> None:
        self._workplace.process.stop()


def _keep_logging(**_: Any) -> None:
    """Celery sets up no logging if this signal has a receiver: so our logging stays."""
