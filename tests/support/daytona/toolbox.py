"""What runs inside a sandbox of the Daytona for tests, as Daytona's daemon does: commands, their logs, files.

    python3 -m tests.support.daytona.toolbox SOCKET SHA256-OF-THE-KEY WORK-DIR

Only the standard library: it starts in a tenth of a second, with any Python. It behaves as the daemon's source says it
does, also where that surprises: output in whole lines with a mark of three bytes before each, NUL bytes lost, an exit
code only when nobody holds the output open, an end by process groups.
"""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socketserver
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.support.daytona.disk import Refusal, downloaded, info, listed, matches, removed, uploaded

SOCKET, KEY, WORK_DIR = sys.argv[1:]
STDOUT, STDERR = b"\x01\x01\x01", b"\x02\x02\x02"
GRACE_S = 1.0
EXEC_S = 360
LOGS = Path("/run/toolbox/logs")
WEB_SOCKETS = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Command:
    """One that was given to a shell. The log grows until nobody holds its output open; then comes the exit code."""

    def __init__(self, folder: Path, text: str) -> None:
        self.id, self.text = str(uuid.uuid4()), text
        self.log = bytearray()
        self.exit_code: int | None = None
        self.folder = folder / self.id
        self.folder.mkdir(parents=True)
        (self.folder / "cmd.sh").write_text(text)
        for name in ("out", "err", "in"):
            os.mkfifo(self.folder / name)
        self._lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def line(self) -> str:
        at = self.folder
        return f"{{ . {at}/cmd.sh; }} < {at}/in > {at}/out 2> {at}/err; echo $? > {at}/code\n"

    def _run(self) -> None:
        held = os.open(self.folder / "in", os.O_RDWR)  # a command that reads its input waits, as there
        labelers = [threading.Thread(target=self._label, args=one) for one in (("out", STDOUT), ("err", STDERR))]
        for labeler in labelers:
            labeler.start()
        for labeler in labelers:
            labeler.join()
        until = time.monotonic() + 5
        while not (self.folder / "code").exists() and time.monotonic() < until:
            time.sleep(0.005)
        with contextlib.suppress(OSError, ValueError):
            self.exit_code = int((self.folder / "code").read_text())
        os.close(held)

    def _label(self, name: str, mark: bytes) -> None:
        with open(self.folder / name, "rb") as pipe:
            for line in pipe:
                text = line.replace(b"\0", b"")
                with self._lock:
                    self.log += mark + text + (b"" if text.endswith(b"\n") else b"\n")


class Shell:
    """A "session": a shell that reads its commands, in a process group of its own."""

    def __init__(self, id_: str) -> None:
        self.id, self.commands = id_, dict[str, Command]()
        self.folder = LOGS / id_
        self.process = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, process_group=0, cwd=WORK_DIR)
        self.over = threading.Event()

    def run(self, text: str) -> Command:
        command = Command(self.folder, text.strip())
        self.commands[command.id] = command
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(command.line().encode())
            self.process.stdin.flush()
        except OSError as error:
            raise Refusal(400, f"failed to write command: {error}") from error
        return command

    def end(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_S)
                break
        self.over.set()
        shutil.rmtree(self.folder, ignore_errors=True)


SHELLS: dict[str, Shell] = {}


def shell(id_: str) -> Shell:
    if id_ not in SHELLS:
        raise Refusal(404, "session not found", "SESSION_NOT_FOUND")
    return SHELLS[id_]


def command_of(id_: str, command: str) -> Command:
    found = shell(id_).commands.get(command)
    if found is None:
        raise Refusal(404, "command not found", "COMMAND_NOT_FOUND")
    return found


def shown(command: Command) -> dict[str, Any]:
    return {"id": command.id, "command": command.text, "exitCode": command.exit_code}


def execute(asked: dict[str, Any]) -> dict[str, Any]:
    if not asked.get("command"):
        raise Refusal(400, "command is required")
    env = {**os.environ, **(asked.get("envs") or {})}
    with subprocess.Popen(
        ["/bin/sh", "-c", asked["command"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        process_group=0,
        cwd=asked.get("cwd") or WORK_DIR,
    ) as process:
        try:
            output, _ = process.communicate(timeout=asked.get("timeout") or EXEC_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Refusal(408, "command execution timeout") from None
    code = process.returncode
    return {"exitCode": code if code >= 0 else -1, "result": output.decode(errors="replace")}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def address_string(self) -> str:
        return "unix"

    def handle_any(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if hashlib.sha256(given.encode()).hexdigest() != KEY:
                raise Refusal(401, "Unauthorized")
            self.route(body)
        except Refusal as refusal:
            said = {"message": str(refusal), "statusCode": refusal.status, "code": refusal.code or None}
            self.answer(refusal.status, said)

    do_GET = do_POST = do_DELETE = do_PUT = handle_any

    def route(self, body: bytes) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        _, _, *path = map(urllib.parse.unquote, url.path.split("/"))  # the first is the sandbox's id
        kind = self.headers.get("Content-Type", "")
        asked: Any = json.loads(body) if body and "json" in kind else {}
        if path[:2] == ["process", "session"]:
            self.sessions(path[2:], asked)
        elif path[:1] == ["files"]:
            self.files(path[1:], query, asked, body)
        elif (self.command, path) == ("POST", ["process", "execute"]):
            self.answer(200, execute(asked))
        elif (self.command, path) == ("GET", ["work-dir"]):
            self.answer(200, {"dir": WORK_DIR})
        else:
            raise Refusal(404, f"no such route here: {self.command} {url.path}")

    def sessions(self, path: list[str], asked: dict[str, Any]) -> None:
        match (self.command, *path):
            case ("POST",):
                if asked["sessionId"] in SHELLS:
                    raise Refusal(409, "session already exists")
                SHELLS[asked["sessionId"]] = Shell(asked["sessionId"])
                self.answer(201)
            case ("GET",):
                self.answer(200, [self.session(one) for one in SHELLS.values()])
            case ("GET", id_):
                self.answer(200, self.session(shell(id_)))
            case ("DELETE", id_):
                shell(id_).end()
                del SHELLS[id_]
                self.answer(204)
            case ("POST", id_, "exec"):
                self.answer(202, {"cmdId": shell(id_).run(asked["command"]).id})
            case ("GET", id_, "command", command):
                self.answer(200, shown(command_of(id_, command)))
            case ("GET", id_, "command", command, "logs"):
                self.follow(shell(id_), command_of(id_, command))
            case _:
                raise Refusal(404, f"no such route here: {self.command} {path}")

    def files(self, path: list[str], query: dict[str, str], asked: Any, body: bytes) -> None:
        kind = self.headers.get("Content-Type", "")
        match (self.command, *path):
            case ("GET",):
                self.answer(200, listed(Path(WORK_DIR, query["path"]), int(query.get("depth", 1))))
            case ("DELETE",):
                removed(Path(WORK_DIR, query["path"]), query.get("recursive") == "true")
                self.answer(204)
            case ("GET", "info"):
                self.answer(200, info(Path(WORK_DIR, query["path"])))
            case ("GET", "find"):
                self.answer(200, matches(Path(WORK_DIR, query["path"]), query["pattern"]))
            case ("POST", "bulk-upload"):
                uploaded(WORK_DIR, body, kind)
                self.answer(200)
            case ("POST", "bulk-download"):
                data, kind = downloaded(WORK_DIR, asked["paths"])
                self.send(200, data, kind)
            case _:
                raise Refusal(404, f"no such route here: {self.command} {path}")

    def session(self, one: Shell) -> dict[str, Any]:
        return {"sessionId": one.id, "commands": [shown(command) for command in one.commands.values()]}

    def answer(self, status: int, said: Any = None) -> None:
        self.send(status, b"" if said is None else json.dumps(said).encode(), "application/json")

    def send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def follow(self, of: Shell, command: Command) -> None:
        """The log as web socket messages, until the exit code is there or the shell is gone."""
        if self.headers.get("Upgrade", "").lower() != "websocket":
            raise Refusal(400, "this log is followed only")
        accept = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + WEB_SOCKETS).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.end_headers()
        left = threading.Event()
        threading.Thread(target=self.listen, args=(left,), daemon=True).start()
        sent = 0
        with contextlib.suppress(OSError):
            while not left.is_set():
                over = command.exit_code is not None or of.over.is_set()
                if piece := bytes(command.log[sent : sent + 4096]):
                    sent += len(piece)
                    self.frame(2, piece)
                elif over:
                    break
                else:
                    time.sleep(0.01)
            self.frame(8, struct.pack("!H", 1000))
            left.wait(2)

    def listen(self, left: threading.Event) -> None:
        """What the other side sends: answers its pings, notices that it goes."""
        with contextlib.suppress(OSError, struct.error):
            while head := self.rfile.read(2):
                size = head[1] & 127
                if size > 125:
                    (size,) = struct.unpack("!H" if size == 126 else "!Q", self.rfile.read(2 if size == 126 else 8))
                mask, data = self.rfile.read(4), self.rfile.read(size)
                if head[0] & 15 == 8:
                    break
                if head[0] & 15 == 9:
                    self.frame(10, bytes(byte ^ mask[n % 4] for n, byte in enumerate(data)))
        left.set()

    def frame(self, kind: int, data: bytes) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
        self.wfile.write(bytes([128 | kind]) + size + data)
        self.wfile.flush()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def end_with_the_test() -> None:
    """Whoever started this holds the other end: the whole sandbox ends with it, also when it is killed."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_the_test, daemon=True).start()
    with Server(SOCKET, Handler) as server:
        server.serve_forever()
