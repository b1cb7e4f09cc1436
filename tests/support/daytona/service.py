"""The Daytona for tests: its API, and the way into each sandbox. Needs bubblewrap and Linux.

    with DaytonaService(folder) as service:
        ... DAYTONA_API_URL=service.url, DAYTONA_API_KEY=service.key

A sandbox is a directory that stays while it is stopped, and one bubblewrap with the toolbox in it while it is started.
It has no network when `networkBlockAll` says so. Its cpu, memory and disk are noted, and not kept. `pass_minutes` moves
the clock by which Daytona stops, deletes and destroys.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CODE = "/run/code"
"""Where a sandbox has this folder."""
HOME = "/home/daytona"
START_S, SETTLE_S = 20.0, 0.7


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, kw_only=True, eq=False)
class Box:
    id: str
    asked: dict[str, Any]
    folder: Path
    state: str = "creating"
    idle_min: float = 0.0
    stopped_min: float = 0.0
    error: str = ""
    recoverable: bool = False
    process: "subprocess.Popen[bytes] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def socket(self) -> str:
        return str(self.folder / "run" / "s")


class DaytonaService:
    """`refuse`: (status, message) by (method, end of the path), each used once; for failures of Daytona's own."""

    def __init__(self, folder: Path) -> None:
        self.key = f"dtn_{secrets.token_hex(24)}"
        self.boxes: dict[str, Box] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse: dict[tuple[str, str], tuple[int, str]] = {}
        self.settles_in = "started"
        self.streams: set[socket.socket] = set()
        self._folder, self._lock = folder, threading.Lock()
        service = self

        class Handler(_Handler):
            of = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"

    def __enter__(self) -> "DaytonaService":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        for box in list(self.boxes.values()):
            self._end(box)

    def only(self) -> Box:
        """The one sandbox that is there."""
        (box,) = self.boxes.values()
        return box

    def cut_streams(self) -> int:
        """Break the connections over which logs are followed, as a network does."""
        cut = list(self.streams)
        for stream in cut:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        return len(cut)

    def pass_minutes(self, minutes: float) -> None:
        """What Daytona does with sandboxes that nobody uses for so long."""
        for box in list(self.boxes.values()):
            stop, delete = box.asked.get("autoStopInterval", 15), box.asked.get("autoDeleteInterval", -1)
            if box.state == "started":
                box.idle_min += minutes
                if stop and box.idle_min >= stop:
                    self._end(box)
                    box.state, box.stopped_min = "stopped", box.idle_min - stop
            elif box.state in ("stopped", "archived"):
                box.stopped_min += minutes
            if box.state in ("stopped", "archived") and 0 <= delete <= box.stopped_min:
                self._forget(box)

    def shown(self, box: Box) -> dict[str, Any]:
        asked = box.asked
        given = {name: asked.get(name) for name in ("snapshot", "env", "labels", "networkAllowList", "domainAllowList")}
        intervals = {name: value for name, value in asked.items() if name.endswith("Interval")}
        return {
            **given, **intervals, "id": box.id, "organizationId": "org", "name": asked.get("name") or box.id,
            "user": "daytona", "public": bool(asked.get("public")), "kvm": False, "target": asked.get("target") or "us",
            "networkBlockAll": bool(asked.get("networkBlockAll")), "cpu": asked.get("cpu") or 1, "gpu": 0,
            "memory": asked.get("memory") or 1, "disk": asked.get("disk") or 3, "state": box.state,
            "desiredState": "started", "errorReason": box.error or None, "recoverable": box.recoverable,
            "toolboxProxyUrl": self.url.replace("/api", "/toolbox"),
        }  # fmt: skip

    def find(self, id_or_name: str) -> Box:
        for box in self.boxes.values():
            if id_or_name in (box.id, box.asked.get("name")):
                return box
        raise Refusal(404, f"Sandbox with ID or name {id_or_name} not found")

    def settled(self, box: Box) -> Box:
        """After a moment, if it is just being started: the SDK would ask again after a second."""
        until = time.monotonic() + SETTLE_S
        while box.state in ("starting", "restoring", "creating") and time.monotonic() < until:
            time.sleep(0.005)
        return box

    def create(self, asked: dict[str, Any]) -> Box:
        with self._lock:
            name = asked.get("name")
            if name and any(box.asked.get("name") == name for box in self.boxes.values()):
                raise Refusal(409, f"Sandbox with name {name} already exists")
            if "buildInfo" not in asked and any(asked.get(one) for one in ("cpu", "memory", "disk")):
                raise Refusal(400, "Cannot specify Sandbox resources when using a snapshot")
            id_ = str(uuid.uuid4())
            box = self.boxes[id_] = Box(id=id_, asked=asked, folder=self._folder / id_[:8])
        (box.folder / "home").mkdir(parents=True)
        if self.settles_in == "started":
            threading.Thread(target=self.start, args=(box,), daemon=True).start()
        else:
            box.state = self.settles_in
        return box

    def start(self, box: Box) -> None:
        """With its files as they were, and without a process of before."""
        with box.lock:
            self._end(box)
            shutil.rmtree(box.folder / "run", ignore_errors=True)
            (box.folder / "run").mkdir()
            box.process = subprocess.Popen(
                self._command_line(box), env={}, stdin=subprocess.PIPE, start_new_session=True
            )
            until = time.monotonic() + START_S
            while not _listens(box.socket):
                if time.monotonic() > until or box.process.poll() is not None:
                    box.state, box.error = "error", "the toolbox did not start"
                    return
                time.sleep(0.005)
            box.state, box.idle_min = "started", 0.0

    def stop(self, box: Box, state: str = "stopped") -> None:
        with box.lock:
            self._end(box)
            box.state, box.stopped_min = state, 0.0

    def delete(self, box: Box) -> None:
        with box.lock:
            self._end(box)
            box.state = "destroyed"
            self._forget(box)

    def _forget(self, box: Box) -> None:
        self._end(box)
        self.boxes.pop(box.id, None)
        shutil.rmtree(box.folder, ignore_errors=True)

    def _end(self, box: Box) -> None:
        if box.process is not None:
            box.process.kill()
            box.process.wait()
            assert box.process.stdin is not None
            box.process.stdin.close()
            box.process = None

    def _command_line(self, box: Box) -> list[str]:
        line = [shutil.which("bwrap") or "bwrap", "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        line += ["--unshare-net"] if box.asked.get("networkBlockAll") else []
        line += ["--uid", "1000", "--gid", "1000", "--clearenv", "--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib64"):
            path = Path("/", name)
            if path.is_symlink():
                line += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir():
                line += ["--ro-bind", str(path), str(path)]
        if not sys.base_prefix.startswith("/usr"):
            line += ["--ro-bind", sys.base_prefix, sys.base_prefix]
        line += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp"]
        line += ["--bind", str(box.folder / "home"), HOME, "--bind", str(box.folder / "run"), "/run/toolbox"]
        line += ["--ro-bind", str(Path(__file__).parent), f"{CODE}/tests/support/daytona", "--chdir", CODE]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": HOME, "DAYTONA_SANDBOX_ID": box.id}
        for name, value in {**env, **(box.asked.get("env") or {})}.items():
            line += ["--setenv", name, value]
        python = f"{sys.base_prefix}/bin/python3"
        digest = hashlib.sha256(self.key.encode()).hexdigest()
        program = [python, "-E", "-s", "-B", "-m", "tests.support.daytona.toolbox"]
        return [*line, *program, "/run/toolbox/s", digest, HOME]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: DaytonaService

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._check()
            if self.path.startswith("/toolbox/"):
                self._pass_on(body)
                return
            answer = self._route(json.loads(body) if body else {})
        except Refusal as refusal:
            answer = refusal.status, {"statusCode": refusal.status, "message": str(refusal), "path": self.path}
        status, said = answer
        data = b"" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any

    def _check(self) -> None:
        path = self.path.partition("?")[0]
        if "/socket.io/" in path:
            raise Refusal(404, "no events here")  # the SDK then polls
        self.of.requests.append((self.command, path))
        for (method, end), refusal in list(self.of.refuse.items()):
            if method == self.command and re.search(end, path):
                del self.of.refuse[method, end]
                raise Refusal(*refusal)
        if self.headers.get("Authorization") != f"Bearer {self.of.key}":
            raise Refusal(401, "Invalid credentials")

    def _route(self, asked: dict[str, Any]) -> tuple[int, Any]:
        url, service = urllib.parse.urlsplit(self.path), self.of
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        path = [urllib.parse.unquote(part) for part in url.path.split("/")[2:]]
        match (self.command, *path):
            case ("POST", "sandbox"):
                return 200, service.shown(service.create(asked))
            case ("GET", "sandbox"):
                return 200, self._page(query)
            case ("GET", "sandbox", name):
                return 200, service.shown(service.settled(service.find(name)))
            case ("DELETE", "sandbox", name):
                box = service.find(name)
                service.delete(box)
                return 200, service.shown(box)
            case ("POST", "sandbox", name, "start"):
                box = service.find(name)
                if box.state not in ("stopped", "archived", "paused"):
                    raise Refusal(400, "Sandbox is not in valid state")
                box.state = "restoring" if box.state == "archived" else "starting"
                threading.Thread(target=service.start, args=(box,), daemon=True).start()
                return 200, service.shown(box)
            case ("POST", "sandbox", name, "stop"):
                service.stop(service.find(name))
                return 200, service.shown(service.find(name))
            case ("POST", "sandbox", name, "recover"):
                box = service.find(name)
                if not box.recoverable:
                    raise Refusal(403, "Sandbox is not recoverable")
                service.start(box)
                return 200, service.shown(box)
            case ("POST", "sandbox", name, "last-activity"):
                service.find(name).idle_min = 0.0
                return 201, None
            case ("POST", "sandbox", name, "autodelete", minutes):
                box = service.find(name)
                box.asked["autoDeleteInterval"] = int(float(minutes))
                return 200, service.shown(box)
        raise Refusal(404, f"no such route here: {self.command} {url.path}")

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        """Two at a time, so that whoever lists reads on."""
        wanted, start = json.loads(query.get("labels", "{}")), int(query.get("cursor", 0))
        boxes = [box for box in self.of.boxes.values() if wanted.items() <= (box.asked.get("labels") or {}).items()]
        more = str(start + 2) if len(boxes) > start + 2 else None
        return {"items": [self.of.shown(box) for box in boxes[start : start + 2]], "nextCursor": more}

    def _pass_on(self, body: bytes) -> None:
        """To the toolbox of that sandbox, byte by byte until one side ends."""
        path = self.path.removeprefix("/toolbox")
        box = self.of.find(path.split("/")[1])
        box.idle_min = 0.0
        with socket.socket(socket.AF_UNIX) as inner:
            try:
                inner.connect(box.socket)
            except OSError as error:
                raise Refusal(502, f"the sandbox does not answer: {error.strerror}") from error
            upgrade = "Upgrade" in self.headers
            lines = [f"{self.command} {path} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in self.headers.items() if upgrade or name != "Connection"]
            lines += [] if upgrade else ["Connection: close"]
            inner.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            if upgrade:
                threading.Thread(target=_copy, args=(self.connection, inner), daemon=True).start()
                self.of.streams.add(inner)
            _copy(inner, self.connection)
            self.of.streams.discard(inner)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as inner:
        return inner.connect_ex(path) == 0


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def daytona_service(folder: Path) -> Iterator[DaytonaService]:
    with DaytonaService(folder) as service:
        yield service
