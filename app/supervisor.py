"""Keeps one child process alive. Reports to the server how each child died, or why it could not start.

It imports neither Celery nor gRPC nor any task: an error that ends a worker must not end the supervisor. Each child
gets a new incarnation id and the read end of a pipe that only this process holds open. When the pipe closes, the child
knows that the supervisor is gone.

A child that must leave but still has work to finish asks for a successor (SIGUSR1): the next child starts at once.

A child that shows no sign of life any more is ended (`silence.py`).

It imports only what it must of the standard library, too, because each process of a stack has one, for as long as it
lives. `typing` and `dataclasses` would be a quarter of it, so only the type checker imports names for annotations.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from queue import Empty, SimpleQueue

from agent_runner.app.silence import LOOK_S, Place, Signs, busiest_thread, end, is_here, silence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO, Any
    from urllib.request import OpenerDirector

INCARNATION_ENV = "AGENT_RUNNER_INCARNATION"
SUPERVISOR_FD_ENV = "AGENT_RUNNER_SUPERVISOR_FD"
SIGNS_FD_ENV = "AGENT_RUNNER_SIGNS_FD"
PARENT_FD_ENV = "AGENT_RUNNER_PARENT_FD"
BANNER = b"STARTUP FAILURE"
KEPT_BYTES = 4096
PAUSE_FIRST_S, PAUSE_MOST_S = 0.5, 30.0
LONG_LIFE_S = 10.0
"""A child that lived this long was fine: the next pause is the shortest again."""
REPORT_TIMEOUT_S, REPORT_PAUSE_S, REPORT_TRIES = 2.0, 1.0, 30
DETOUR_AFTER_TRIES = 3
MOST_LEAVING = 2
"""The most leaving children beside the one that works. With more, the next successor must wait for an end."""
LAST_REPORTS_S = 2.0
CANNOT_BE_EXECUTED = 127
LAST_LINES_S = 0.2
"""The time to read what a child has written before its end: others may hold its pipe open."""
_TICK_S = 0.02


def supervise(
    role: str,
    argv: Sequence[str],
    *,
    queue: str,
    http_url: str,
    api_key: str,
    opener: Callable[[], OpenerDirector] | None = None,
    detour: Callable[[bytes], object] | None = None,
    ready: Callable[[int], None] | None = None,
    on_silent: Callable[[int, float, str], None] | None = None,
) -> int:
    """Run `argv` again and again until a signal asks to stop. Returns the last child's exit code (128 + n: signal n).

    Reports to the server go through what `opener` makes, else directly: a proxy of the environment is for model
    providers. A report that the server refuses, or does not take in `DETOUR_AFTER_TRIES` tries, goes to `detour`, which
    raises if it fails too. `ready` is called with the pid of each new child. With `on_silent` children are watched;
    it is called with the pid of one that was ended for its silence, how long that was, and in what it was, if that is
    known. SIGINT is passed on as SIGTERM. Main thread only.
    """
    told = _Telling(http_url, api_key, opener, detour)
    return _Supervisor(role, argv, queue=queue, told=told, ready=ready, on_silent=on_silent).run()


class _Supervisor:
    def __init__(
        self, role: str, argv: Sequence[str], *, queue: str, told: _Telling, ready: Any, on_silent: Any
    ) -> None:
        self._role, self._argv, self._queue = role, list(argv), queue
        self._told = told
        self._ready, self._on_silent = ready, on_silent
        self._stop_signal = 0
        self._lives: list[_Life] = []
        """The children that have not ended. The last one works, the others are leaving."""
        self._news: SimpleQueue[_Life | None] = SimpleQueue()
        """A child that has ended; None: a child asks for a successor."""

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGUSR1, lambda *_: self._news.put(None))
        if parent_fd := os.environ.pop(PARENT_FD_ENV, ""):
            threading.Thread(target=_end_with, args=(int(parent_fd),), daemon=True).start()
        pause_s = PAUSE_FIRST_S
        life = None
        while not self._stop_signal:
            born = time.monotonic()
            life = self._begin()
            if life is not None and self._is_followed(life):
                continue
            if time.monotonic() - born >= LONG_LIFE_S:
                pause_s = PAUSE_FIRST_S
            until = time.monotonic() + pause_s
            while not self._stop_signal and time.monotonic() < until:
                time.sleep(_TICK_S)
            pause_s = min(pause_s * 2, PAUSE_MOST_S)
        for left in list(self._lives):
            while left.thread.is_alive():
                left.thread.join(LOOK_S)
                self._look()
        self._told.finish()
        code = life.code if life is not None else CANNOT_BE_EXECUTED
        return code if code >= 0 else 128 - code

    def _begin(self) -> _Life | None:
        """Start a child; None if it cannot be executed."""
        while not self._news.empty():
            self._news.get()  # news of earlier children
        incarnation = os.urandom(16).hex()
        child_end, our_end = os.pipe()
        signs_end, its_end = os.pipe()
        signs = Signs(signs_end)
        env = {**os.environ, INCARNATION_ENV: incarnation, SUPERVISOR_FD_ENV: str(child_end)}
        fds = [child_end]
        if self._on_silent:
            env[SIGNS_FD_ENV] = str(its_end)
            fds.append(its_end)
        try:
            # The child has a session of its own: Ctrl-C reaches it only through this process, as SIGTERM.
            child = subprocess.Popen(  # noqa: S603 - our own command line
                self._argv, env=env, pass_fds=fds, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as exc:
            os.close(our_end)
            signs.close()
            text = f"STARTUP FAILURE: {self._argv[0]} cannot be executed: {exc}\n"
            sys.stderr.write(text)
            self._report(incarnation, CANNOT_BE_EXECUTED, text, startup=True)
            return None
        finally:
            os.close(child_end)
            os.close(its_end)
        life = _Life(child, incarnation, our_end, signs, self._end)
        self._lives.append(life)
        if self._stop_signal:
            self._forward(self._stop_signal)
        if self._ready:
            self._ready(child.pid)
        life.thread.start()
        return life

    def _is_followed(self, life: _Life) -> bool:
        """Wait until it has ended (False) or asks for a successor (True)."""
        while (news := self._next_news()) is not life:
            if news is None and not self._stop_signal and len(self._lives) <= MOST_LEAVING:
                return True
        return False

    def _next_news(self) -> _Life | None:
        while True:
            try:
                return self._news.get(timeout=LOOK_S if self._on_silent else None)
            except Empty:
                self._look()

    def _look(self) -> None:
        for life in list(self._lives):
            for pid, silent_s in life.signs.look().items():
                threading.Thread(
                    target=self._end_silent, args=(life, pid, silent_s), name="silent", daemon=True
                ).start()

    def _end_silent(self, life: _Life, pid: int, silent_s: float) -> None:
        """The child, or a process that it has forked."""
        session, place = life.child.pid, life.errors.place
        if not is_here(pid, session):
            return
        if pid == session:
            life.silent_s = silent_s
        thread = busiest_thread(pid)
        place.expect(bool(thread))
        end(pid, session=session, thread=thread, has_ended=lambda: not life.thread.is_alive())
        until = time.monotonic() + LAST_LINES_S
        while thread and not place.found and time.monotonic() < until:
            time.sleep(_TICK_S)
        if pid != session:  # its parent is no child of ours to wait for
            self._report(f"{life.incarnation}.{pid}", -signal.SIGABRT, silence(silent_s, place), startup=False)
        self._on_silent(pid, silent_s, place.found)

    def _end(self, life: _Life) -> None:
        """Runs on the life's own thread: waits for the child's end and reports it at once."""
        code = life.code = life.child.wait()
        # After a signal no banner is read. After an exit it may still be in the pipe, which others may hold open.
        life.errors.finish(0.0 if code < 0 and not life.silent_s else LAST_LINES_S)
        self._lives.remove(life)
        os.close(life.our_end)
        life.signs.close()
        if not (self._stop_signal and code == 0):
            banner = life.errors.banner() if code > 0 else ""
            why = silence(life.silent_s, life.errors.place) if life.silent_s else ""
            self._report(life.incarnation, code, banner or why, startup=bool(banner))
        self._news.put(life)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stop_signal = signal.SIGQUIT if number == signal.SIGQUIT else signal.SIGTERM
        self._forward(self._stop_signal)

    def _forward(self, number: int) -> None:
        for life in list(self._lives):
            with contextlib.suppress(ProcessLookupError):
                life.child.send_signal(number)

    def _report(self, incarnation: str, code: int, text: str, *, startup: bool) -> None:
        said = {
            "incarnation": incarnation,
            "role": self._role,
            "queue": self._queue,
            "signal": -code if code < 0 else None,
            "exit_code": code if code >= 0 else None,
            "text": text,
            "startup": startup,
        }
        self._told.tell(said)


class _Life:
    """One child, from its start to its end, which `end` waits for on a thread of its own."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        incarnation: str,
        our_end: int,
        signs: Signs,
        end: Callable[[_Life], None],
    ) -> None:
        self.child, self.incarnation, self.our_end, self.signs = child, incarnation, our_end, signs
        self.errors = _Errors(child.stderr)
        self.code = 0
        self.silent_s = 0.0
        """For how long it had been silent when the supervisor ended it."""
        self.thread = threading.Thread(target=end, args=(self,), name="life", daemon=True)


class _Telling:
    """Sends the reports to the server, in threads: a server that is away must not delay the next child."""

    def __init__(
        self,
        http_url: str,
        api_key: str,
        opener: Callable[[], OpenerDirector] | None,
        detour: Callable[[bytes], object] | None,
    ) -> None:
        self._url = f"{http_url.rstrip('/')}/v1/runner/exits"
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self._opener = opener
        self._detour = detour
        self._reports: list[threading.Thread] = []

    def tell(self, said: dict[str, Any]) -> None:
        thread = threading.Thread(target=self._send, args=(json.dumps(said).encode(),), name="exit report", daemon=True)
        thread.start()
        self._reports = [t for t in self._reports if t.is_alive()] + [thread]

    def _send(self, body: bytes) -> None:
        import urllib.request  # imported here: it is a third of the memory, and most supervisors never report

        opener = self._opener() if self._opener else urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for tries in range(1, REPORT_TRIES + 1):
            request = urllib.request.Request(self._url, body, self._headers, method="POST")  # noqa: S310
            try:
                with opener.open(request, timeout=REPORT_TIMEOUT_S):
                    return
            except (OSError, ValueError) as exc:
                # A new try does not help after an answer of 4xx. It may help after a 5xx or without a server.
                refused = 400 <= getattr(exc, "code", 500) < 500
                if (refused or tries >= DETOUR_AFTER_TRIES) and self._by_detour(body):
                    return
                if refused:
                    sys.stderr.write(f"supervisor: the exit report was refused: {exc}\n")
                    return
            time.sleep(REPORT_PAUSE_S)

    def _by_detour(self, body: bytes) -> bool:
        if self._detour is None:
            return False
        try:
            self._detour(body)
        except Exception as exc:  # any error of its client: the next try or the log must be enough
            sys.stderr.write(f"supervisor: the exit report could not be left for the server either: {exc}\n")
            return False
        return True

    def finish(self) -> None:
        """Wait up to `LAST_REPORTS_S` for the last reports."""
        until = time.monotonic() + LAST_REPORTS_S
        for thread in self._reports:
            thread.join(max(until - time.monotonic(), 0.0))


class _Errors:
    """Passes the child's stderr on, and keeps what follows its startup failure banner."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._pipe = pipe
        self._kept = b""
        self.place = Place()
        self._thread = threading.Thread(target=self._pump, name="stderr", daemon=True)
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def banner(self) -> str:
        """From the banner on, at most the last 4 KB with the banner's own line always first; empty without one."""
        at = self._kept.find(BANNER)
        return "" if at < 0 else self._kept[at : at + KEPT_BYTES].decode(errors="replace")

    def _pump(self) -> None:
        with self._pipe:
            for line in iter(self._pipe.readline, b""):
                self.place.read(line)
                if BANNER in self._kept:
                    self._kept = self._kept[: 2 * KEPT_BYTES] if len(self._kept) > 2 * KEPT_BYTES else self._kept + line
                elif BANNER in line:
                    self._kept = line
                with contextlib.suppress(OSError, ValueError):
                    sys.stderr.buffer.write(line)
                    sys.stderr.buffer.flush()


def _end_with(parent_fd: int) -> None:
    """Wait for the end of the parent's pipe, then stop as on SIGTERM."""
    with contextlib.suppress(OSError):
        while os.read(parent_fd, 64):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
