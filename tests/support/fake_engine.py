"""The part of Docker's HTTP API that the sandbox uses, over a socket file; what is started runs as local processes.

There are no walls: a container is a pipe that its programs hold, and every program of it is killed when that ends, as
the kernel ends those of a container. Images are not looked at. So it answers what the adapter does: lifecycle, streams,
exit codes, kills, limits of single processes, labels. What a container keeps apart only a real engine can show.
"""

import contextlib
import json
import os
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from agent_runner.clients.sandbox import commands
from agent_runner.clients.sandbox.docker.scripts import KILL

NEVER = "0001-01-01T00:00:00Z"
RLIMITS = {"fsize": "file", "nofile": "open", "cpu": "cpu", "data": "memory"}


class Refusal(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Program:
    """One `exec`: made, started once, ended."""

    def __init__(self, container: "Container", config: dict[str, Any]) -> None:
        self.id, self.container, self.config = secrets.token_hex(32), container, config
        self.group = config["User"].partition(":")[2]
        self.life = container.state["StartedAt"]
        self.service: commands.Service | None = None
        self.exit_code: int | None = None

    def start(self) -> commands.Service | None:
        """The pipes of the process; None for the program that kills a group, which this engine does itself."""
        argv, box = self.config["Cmd"], self.container
        if argv[2] == KILL:
            for other in box.programs:
                if other.group == argv[4] and other.service is not None:
                    other.service.shim.terminate()
            for other in box.programs:
                if other.group == argv[4] and other.service is not None:
                    other.service.shim.wait()
            self.exit_code = 0
            return None
        host = box.config["HostConfig"]
        limits = {RLIMITS[one["Name"]]: one["Hard"] for one in host["Ulimits"] if one["Name"] in RLIMITS}
        env = dict(pair.split("=", 1) for pair in self.config["Env"])
        told = {
            "argv": argv,
            "env": {"PATH": os.environ["PATH"], **env},
            "cwd": self.config["WorkingDir"],
            "umask": 0o022,
            "user": 0,
            "join": {},
            "rlimits": limits,
            "watch": {"memory": host.get("Memory") or 0, "processes": host["PidsLimit"] or 0},
            "directories": [],
        }
        self.service = commands.serve(told, box.pipe[0])
        return self.service


class Container:
    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.id, self.name, self.config = secrets.token_hex(32), name, config
        never = {"StartedAt": NEVER, "FinishedAt": NEVER}
        self.state: dict[str, Any] = {"Running": False, **never, "ExitCode": 0, "Error": ""}
        self.created = moment()
        self.programs: list[Program] = []
        self.pipe = (-1, -1)
        self.attached: socket.socket | None = None

    def start(self) -> None:
        if not self.state["Running"]:
            self.programs, self.pipe = [], os.pipe()
            self.state |= {"Running": True, "StartedAt": moment()}

    def stop(self) -> None:
        """As the kernel ends a container: returns when no process is left."""
        if not self.state["Running"]:
            return
        commands.close(*self.pipe)
        for program in self.programs:
            if program.service is not None:
                program.service.shim.wait()
        self.state |= {"Running": False, "FinishedAt": moment(), "ExitCode": 137}

    def shown(self) -> dict[str, Any]:
        config, host = self.config, self.config["HostConfig"]
        return {"Id": self.id, "Created": self.created, "State": self.state, "Config": config, "HostConfig": host}


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.url = f"unix://{path}"
        self.containers: dict[str, Container] = {}
        self.programs: dict[str, Program] = {}
        self.events: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.news = threading.Condition(threading.RLock())
        self.refuses: dict[str, tuple[int, str]] = {}
        """Method and the path's end -> status and text: what the engine does not do now."""
        self.first_output = b""
        """Of every program that is started, as the engine frames it."""
        self.gone = False

    def found(self, id_or_name: str) -> Container:
        for one in self.containers.values():
            if id_or_name in (one.id, one.name):
                return one
        raise Refusal(404, f"No such container: {id_or_name}")

    def tell(self, container: Container, action: str) -> None:
        with self.news:
            event = {"Action": action, "id": container.id, "timeNano": time.time_ns()}
            self.events.append(event)
            self.news.notify_all()


class Handler(BaseHTTPRequestHandler):
    server: FakeEngine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "local"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        parts = parts[1:] if parts[0].startswith("v1.") else parts
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(data) if data.strip() else {}
        self.server.calls.append(f"{self.command} /{'/'.join(parts)}")
        try:
            for end, (status, text) in self.server.refuses.items():
                if f"{self.command} /{'/'.join(parts)}".endswith(end):
                    raise Refusal(status, text)
            self._do(parts, asked, body)
        except Refusal as refusal:
            self._say({"message": str(refusal)}, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _do(self, parts: list[str], asked: dict[str, str], body: dict[str, Any]) -> None:
        match self.command, *parts:
            case "GET", "_ping":
                self._say("OK")
            case "GET", "version":
                self._say({"Version": "fake", "ApiVersion": "1.41", "MinAPIVersion": "1.12"})
            case "GET", "events":
                self._events(asked)
            case _, "containers", *rest:
                self._do_container(rest, asked, body)
            case "POST", "exec", id_, "start":
                self._start(self._program(id_))
            case "GET", "exec", id_, "json":
                self._say({"ExitCode": self._program(id_).exit_code, "Running": self._program(id_).exit_code is None})
            case _:
                raise Refusal(404, "page not found")

    def _create(self, name: str, config: dict[str, Any]) -> None:
        engine = self.server
        with engine.news:
            if any(one.name == name for one in engine.containers.values()):
                raise Refusal(409, f"Conflict. The container name {name} is already in use")
            for mount in config["HostConfig"]["Mounts"]:
                if not os.path.exists(mount["Source"]):
                    raise Refusal(400, f"bind source path does not exist: {mount['Source']}")
            made = Container(name, config)
            engine.containers[made.id] = made
        self._say({"Id": made.id, "Warnings": []}, 201)

    def _do_container(self, parts: list[str], asked: dict[str, str], body: dict[str, Any]) -> None:
        engine = self.server
        match self.command, *parts:
            case "POST", "create":
                self._create(asked["name"], body)
            case "GET", "json":
                wanted = json.loads(asked["filters"])["label"]
                labels = {one.id: one.config["Labels"].items() for one in engine.containers.values()}
                self._say([{"Id": id_} for id_, has in labels.items() if set(wanted) <= {f"{k}={v}" for k, v in has}])
            case "GET", id_, "json":
                self._say(engine.found(id_).shown())
            case "POST", id_, "start":
                engine.found(id_).start()
                self._say("", 204)
            case "POST", id_, "kill":
                if not engine.found(id_).state["Running"]:
                    raise Refusal(409, "is not running")
                engine.found(id_).stop()
                self._say("", 204)
            case "DELETE", id_:
                with engine.news:
                    one = engine.found(id_)
                    if one.state["Running"] and asked.get("force") not in ("1", "True", "true"):
                        raise Refusal(409, "You cannot remove a running container")
                    del engine.containers[one.id]
                one.stop()
                self._say("", 204)
            case "POST", id_, "attach":
                self._attach(engine.found(id_))
            case "POST", id_, "exec":
                one = engine.found(id_)
                if not one.state["Running"]:
                    raise Refusal(409, f"Container {id_} is not running")
                program = Program(one, body)
                one.programs.append(program)
                engine.programs[program.id] = program
                self._say({"Id": program.id}, 201)
            case _:
                raise Refusal(404, "page not found")

    def _program(self, id_: str) -> Program:
        found = self.server.programs.get(id_)
        if found is None or found.life != found.container.state["StartedAt"]:
            raise Refusal(404, f"No such exec instance: {id_}")
        return found

    def _say(self, what: Any, status: int = 200) -> None:
        data = what.encode() if isinstance(what, str) else json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(what, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _hijack(self, first: bytes = b"") -> socket.socket:
        """`first`: sent together with the head, as an engine's answer may arrive."""
        self.wfile.write(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n" + first)
        self.close_connection = True
        stream: socket.socket = self.connection
        return stream

    def _attach(self, container: Container) -> None:
        """The first process reads this connection: its end is the container's."""
        stream = self._hijack()
        container.attached = stream
        with contextlib.suppress(OSError):
            while stream.recv(1024):
                pass
        if container.attached is stream:
            container.stop()

    def _start(self, program: Program) -> None:
        stream = self._hijack(self.server.first_output)
        service = program.start()
        if service is None:
            return
        fds = (service.input_fd, service.errors_fd, service.output_fd, service.status_fd)
        for fd in fds:
            os.set_blocking(fd, True)
        lock = threading.Lock()
        carriers = [
            threading.Thread(target=_carry, args=(stream, lock, kind, fd), daemon=True)
            for kind, fd in ((1, service.output_fd), (2, service.errors_fd))
        ]
        for carrier in carriers:
            carrier.start()
        threading.Thread(target=_feed, args=(stream, service.input_fd), daemon=True).start()
        code, _, broken = os.read(service.status_fd, 512).decode().partition(" ")
        if "of memory" in broken:
            self.server.tell(program.container, "oom")
        program.exit_code = int(code) if code.isdigit() else 137
        if broken or not code:
            program.exit_code = 137
        for carrier in carriers:
            carrier.join()
        commands.close(service.output_fd, service.errors_fd, service.status_fd)

    def _events(self, asked: dict[str, str]) -> None:
        wanted = json.loads(asked["filters"])
        since = _seconds(asked["since"]) if "since" in asked else time.time()
        until = _seconds(asked["until"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        told = 0
        while True:
            with self.server.news:
                for event in self.server.events[told:]:
                    fits = event["Action"] in wanted["event"] and event["id"] in wanted.get("container", [event["id"]])
                    if fits and event["timeNano"] > since * 1e9:
                        line = json.dumps(event).encode() + b"\n"
                        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                told = len(self.server.events)
                if time.time() >= until or self.server.gone:
                    break
                self.server.news.wait(min(until - time.time(), 1.0))
        self.wfile.write(b"0\r\n\r\n")


def _carry(stream: socket.socket, lock: threading.Lock, kind: int, fd: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(fd, 1 << 15):
            with lock:
                stream.sendall(bytes((kind, 0, 0, 0)) + len(data).to_bytes(4, "big") + data)


def _feed(stream: socket.socket, fd: int) -> None:
    with contextlib.suppress(OSError):
        while data := stream.recv(1 << 15):
            os.write(fd, data)
    commands.close(fd)


def _seconds(given: str) -> float:
    with contextlib.suppress(ValueError):
        return float(given)
    return datetime.fromisoformat(given).timestamp()


def moment() -> str:
    return datetime.now(UTC).isoformat()


@contextmanager
def fake_engine(folder: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(folder / "engine.sock")
    thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.gone = True
        for container in list(engine.containers.values()):
            container.stop()
        engine.shutdown()
        engine.server_close()
