"""Aegra as a peer: its server in a virtual environment of its own, on a new database, with the bench's graph.

0.6.0 is the last release for Python 3.11; it runs graphs in the process of its API. Its pools are raised to 20: with
its defaults 32 clients wait for a connection.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from tests.support.databases import POSTGRES, on_postgres
from tests.support.ports import free_port, listens
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv" / "peers"
PINNED = ("aegra-api==0.6.0", "greenlet==3.5.6", "langgraph==1.2.24", "uvicorn==0.54.0")
GRAPH = ROOT / "bench" / "graphs" / "tokens.py"
START_S = 90.0


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
