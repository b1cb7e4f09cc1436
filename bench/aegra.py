"""Aegra as a peer: its server in a virtual environment of its own, on a new database, with the bench's graph.

0.6.0 is the last release for Python 3.11; it runs graphs in the process of its API. Its pools are raised to 20: with
its defaults 32 clients wait for a connection.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.stream_client import frames_of
from tests.support.databases import POSTGRES, on_postgres
from tests.support.ports import free_port, listens
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv" / "peers"
PINNED = ("aegra-api==0.6.0", "greenlet==3.5.6", "langgraph==1.2.24", "uvicorn==0.54.0")
GRAPH = ROOT / "bench" / "graphs" / "tokens.py"
START_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Seconds from the POST of the run."""

    first_text_s: float
    end_s: float
    tokens: int


def absent() -> str:
    """Why Aegra cannot be measured here; empty if it can."""
    url = os.environ.get(POSTGRES, "")
    if not url:
        return f"it needs Postgres: set {POSTGRES}"
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as error:
        return f"the Postgres of {POSTGRES} does not answer: {str(error).splitlines()[0]}"
    if shutil.which("redis-server") is None:
        return "the stack beside it needs redis-server on the PATH"
    return ""


def set_up() -> None:
    """Makes `.venv/peers` if it is not there. Raises CalledProcessError, after pip has said why."""
    ready = VENV / ".ready"
    if ready.exists() and ready.read_text().split() == list(PINNED):
        return
    print("setting up .venv/peers ...", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([f"{sys.base_prefix}/bin/python3", "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *PINNED], check=True)
    ready.write_text("\n".join(PINNED))


@contextmanager
def opened() -> Iterator[tuple[int, psutil.Process]]:
    """Its port and its process. Its database and its folder are gone afterwards."""
    port = free_port()
    with on_postgres(os.environ[POSTGRES]) as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        config = Path(folder) / "aegra.json"
        config.write_text(json.dumps({"graphs": {"tokens": f"{GRAPH}:graph"}}))
        given = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "DATABASE_URL": url,
            "AEGRA_CONFIG": str(config),
            "LOG_LEVEL": "WARNING",
            "SQLALCHEMY_POOL_SIZE": "20",
            "LANGGRAPH_MAX_POOL_SIZE": "20",
        }
        program = [str(VENV / "bin" / "python"), "-m", "uvicorn", "aegra_api.main:app", "--log-level", "warning"]
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(
                [*program, "--port", str(port)], cwd=folder, env=given, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                eventually(lambda: listens(port), within_s=START_S, what="Aegra")
                yield port, psutil.Process(process.pid)
            finally:
                process.terminate()
                process.wait(30)


class AegraClient:
    """One connection. Each run has a thread of its own, which is made before the clock of the run starts."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, port: int) -> AsyncIterator["AegraClient"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def run(self, message: str) -> Ran:
        thread = json.loads(await self._post("/threads", {}))["thread_id"]
        said = {"messages": [{"role": "user", "content": message}]}
        body = {"assistant_id": "tokens", "input": said, "stream_mode": ["messages-tuple"]}
        began, first, tokens = time.monotonic(), 0.0, 0
        await self._ask(f"/threads/{thread}/runs/stream", body)
        async for frame in frames_of(self._reader):
            if b"event: messages" in frame:
                first = first or time.monotonic()
                tokens += b'"content":"w' in frame
        return Ran(first_text_s=first - began, end_s=time.monotonic() - began, tokens=tokens)

    async def _post(self, path: str, body: object) -> bytes:
        head = await self._ask(path, body)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return await self._reader.readexactly(int(length.partition(b":")[2]))

    async def _ask(self, path: str, body: object) -> bytes:
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        if b" 20" not in answer[:14]:
            raise RuntimeError(f"Aegra answered {answer!r} {await self._reader.read(2000)!r}")
        return answer
