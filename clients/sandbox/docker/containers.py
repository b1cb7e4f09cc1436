"""The containers of one data directory: found, made, started, ended and swept, by labels that every worker can read.

    agent-runner.install     whose: the workers that share this data directory
    agent-runner.sandbox     the session's sandbox
    agent-runner.shape       a digest of all that the container was made with

A container runs while a run needs it. Its first process ends with the worker's connection (`scripts.KEEPER`), so a
worker that dies leaves a stopped container, which the session's next run starts again.

A **life** is one start of a container, told by the moment that the engine has noted. Who finds another one than its own
has lost the session to another run, and touches nothing.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_runner.clients.sandbox.docker.engine import Engine, NoSuchContainer, Stream, Taken
from agent_runner.clients.sandbox.docker.scripts import KEEPER
from agent_runner.clients.sandbox.kinds.port import SandboxError

INSTALL, SANDBOX, SHAPE = "agent-runner.install", "agent-runner.sandbox", "agent-runner.shape"
KEEPER_USER = 1_909_999_998
"""Nobody else's user and group, inside and outside."""
END_S = 10.0
UNSTARTED_S = 300.0
"""A container that was made and not started in this time has lost its worker."""
TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a session's container is made with. `binds`: path of this machine and inside, whether it is writable."""

    image: str
    user: str
    host_config: Mapping[str, Any]


@dataclass(slots=True, kw_only=True, eq=False)
class Life:
    """A container that runs for a run of ours, and the connection that keeps it. `broken`: the limit, in words, for
    which everything in it was killed."""

    container: str
    started_at: str
    keeper: Stream = field(repr=False)
    broken: str = ""
    over: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set before it is ended."""


class Containers:
    def __init__(self, engine: Engine, data_dir: Path) -> None:
        self.engine, self._sandboxes = engine, data_dir / "sandboxes"
        self._install_file = self._sandboxes / ".docker-install"
        self._install = ""

    @property
    def ever_used(self) -> bool:
        """Whether a container may have been made for this data directory."""
        return self._install_file.exists()

    @property
    def install(self) -> str:
        """The id of this data directory, made by the first worker that needs it. Raises OSError."""
        path = self._install_file
        while not self._install:
            with contextlib.suppress(FileNotFoundError):
                self._install = path.read_text().strip()
            if not self._install:
                self._sandboxes.mkdir(mode=0o700, parents=True, exist_ok=True)
                new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
                new.write_text(uuid.uuid4().hex[:16])
                with contextlib.suppress(FileExistsError):
                    os.link(new, path)
                new.unlink()
        return self._install

    def name_of(self, sandbox: str) -> str:
        return f"agent-runner-{self.install}-{sandbox}"

    def start(self, sandbox: str, shape: Shape, before: Life | None) -> Life:
        """Start the session's container, and make it if need be. `before`: the life that this run had until now.

        What still runs in it belongs to a run that has lost the session, and is killed. Raises SandboxError.
        """
        for _ in range(TRIES):
            try:
                return self._start(self._container(sandbox, shape, before), before)
            except NoSuchContainer:
                before = None  # removed by somebody; the files are not in it
        raise SandboxError(f"the container {self.name_of(sandbox)} was removed again and again")

    def _container(self, sandbox: str, shape: Shape, before: Life | None) -> str:
        name, digest = self.name_of(sandbox), _digest(shape)
        with self.engine.errors("the container cannot be made") as api:
            for _ in range(TRIES):
                try:
                    there = api.inspect_container(name)
                except Exception as error:
                    if type(error).__name__ != "NotFound":
                        raise
                else:
                    if before and there["Id"] != before.container:
                        raise SandboxError(LOST)
                    if there["Config"]["Labels"].get(SHAPE) == digest and not there["State"].get("Dead"):
                        return str(there["Id"])
                    self.remove(there["Id"])  # made with other settings
                with contextlib.suppress(Taken), self.engine.errors("the container cannot be made"):
                    return str(api.create_container_from_config(self._config(sandbox, shape, digest), name=name)["Id"])
        raise SandboxError(f"the container {name} is made and removed by others all the time")

    def _config(self, sandbox: str, shape: Shape, digest: str) -> dict[str, Any]:
        return {
            "Image": shape.image,
            "Entrypoint": ["/bin/sh", "-c", KEEPER],
            "Cmd": [],
            "User": shape.user,
            "Hostname": "sandbox",
            "OpenStdin": True,
            "StdinOnce": True,
            "AttachStdin": True,
            "Labels": {INSTALL: self.install, SANDBOX: sandbox, SHAPE: digest},
            "HostConfig": dict(shape.host_config),
        }

    def _start(self, container: str, before: Life | None) -> Life:
        with self.engine.errors("the container cannot be started") as api:
            state = api.inspect_container(container)["State"]
            if before and before.container == container and state["StartedAt"] != before.started_at:
                raise SandboxError(LOST)
            if state["Running"]:
                with contextlib.suppress(Taken), self.engine.errors("what runs in the container cannot be killed"):
                    api.kill(container)
                self._wait(api, container, state["StartedAt"])
            # Before the start: the engine then closes the first process's input when this connection ends.
            keeper = Stream(api.attach_socket(container, params={"stdin": 1, "stream": 1}))
            try:
                api.start(container)
                state = api.inspect_container(container)["State"]
                if not state["Running"]:
                    raise SandboxError(f"the container ended at once (exit code {state['ExitCode']}): {state['Error']}")
            except BaseException:
                keeper.close()
                raise
        return Life(container=container, started_at=state["StartedAt"], keeper=keeper)

    def is_on(self, life: Life) -> bool:
        """Whether it goes on. Raises SandboxError if the session was taken over, or the engine does not answer."""
        try:
            with self.engine.errors("the container cannot be looked at") as api:
                state = api.inspect_container(life.container)["State"]
        except NoSuchContainer:
            return False
        if state["StartedAt"] != life.started_at:
            raise SandboxError(LOST)
        return bool(state["Running"])

    def end(self, life: Life) -> None:
        """End everything in it, and nothing of a later life. Raises SandboxError."""
        life.over.set()
        life.keeper.close()
        with contextlib.suppress(NoSuchContainer), self.engine.errors("the container cannot be ended") as api:
            if not self._wait(api, life.container, life.started_at, END_S / 5):
                api.kill(life.container)
                self._wait(api, life.container, life.started_at)

    def _wait(self, api: Any, container: str, started_at: str, within_s: float = END_S) -> bool:
        until, pause_s = time.monotonic() + within_s, 0.01
        while True:
            state = api.inspect_container(container)["State"]
            if not state["Running"] or state["StartedAt"] != started_at:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.2)

    def remove(self, container: str, *, running: bool = True) -> bool:
        """Whether it was there. `running`: with what runs in it; else one that runs by now is left alone."""
        with self.engine.errors("the container cannot be removed") as api:
            try:
                api.remove_container(container, force=running, v=True)
            except Exception as error:
                if type(error).__name__ == "NotFound":
                    return False
                if getattr(getattr(error, "response", None), "status_code", 0) != 409:
                    raise
                return running  # somebody else is removing it, or a run has just started it
        return True

    def sweep(self, idle_s: float, longest_run_s: float) -> int:
        """Remove containers that were idle for too long, whose directory is gone, or that run for longer than any run
        may; how many."""
        removed = 0
        with self.engine.errors("containers cannot be listed") as api:
            for listed in api.containers(all=True, filters={"label": f"{INSTALL}={self.install}"}):
                with contextlib.suppress(NoSuchContainer), self.engine.errors("a container cannot be looked at"):
                    found = api.inspect_container(listed["Id"])
                    if self._is_left(found, idle_s, longest_run_s):
                        removed += self.remove(listed["Id"], running=found["State"]["Running"])
        return removed

    def _is_left(self, found: Mapping[str, Any], idle_s: float, longest_run_s: float) -> bool:
        state, name = found["State"], found["Config"]["Labels"].get(SANDBOX, "")
        if state["Running"]:
            return _age_s(state["StartedAt"]) > longest_run_s
        if not name or not (self._sandboxes / name).is_dir():
            return True
        never = state["StartedAt"].startswith("0001")
        return _age_s(found["Created"]) > UNSTARTED_S if never else _age_s(state["FinishedAt"]) > idle_s


LOST = "another run of the session has taken the container over"


def _digest(shape: Shape) -> str:
    told = [shape.image, shape.user, shape.host_config]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _age_s(at: str) -> float:
    """Seconds since a moment as the engine writes it. Its clock and ours are those of one machine."""
    whole = re.sub(r"(\.\d{1,6})\d*", r"\1", at).replace("Z", "+00:00")
    return (datetime.now(UTC) - datetime.fromisoformat(whole)).total_seconds()
