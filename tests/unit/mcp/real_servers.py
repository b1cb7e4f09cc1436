"""Servers that others have written, from npm and PyPI, in a folder that is kept between runs of the tests."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("AGENT_RUNNER_TEST_MCP_FOLDER") or Path.home() / ".cache" / "agent-runner-tests" / "mcp")
INSTALL_S = 240


def npm_server(name: str) -> str:
    """The script of `@modelcontextprotocol/NAME`. Skips the test where it cannot be had."""
    script = FOLDER / "npm" / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js"
    with _alone(f"npm-{name}"):
        if not script.exists():
            line = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER / "npm")]
            _install([*line, f"@modelcontextprotocol/{name}"])
    return str(script)


def pypi_server(name: str) -> str:
    """The program of this package, in an environment of its own. Skips the test where it cannot be had."""
    place = FOLDER / name
    program = place / "bin" / name
    with _alone(name):
        if not program.exists():
            _install([sys.executable, "-m", "venv", "--clear", str(place)])
            _install([str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--retries", "0", name])
    return str(program)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process at a time installs it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(line: list[str]) -> None:
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"not installed: {error}")
    if done.returncode:
        pytest.skip(f"not installed: {' '.join(line[:4])}: {done.stderr.strip()[-300:]}")
