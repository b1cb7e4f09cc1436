"""`agent-runner` as somebody calls it who has the key and the address of the server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from agent_runner.app.server.composition import RunningServer
from checks.tree import ROOT
from tests.unit.server.conftest import KEY


async def command(server: RunningServer, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "STIGMER_API_KEY": KEY,
        "AGENT_RUNNER_HTTP_URL": f"http://127.0.0.1:{server.http_port}",
    }
    argv = [sys.executable, "-m", "agent_runner.app.cli.main", *arguments]
    return await asyncio.to_thread(
        subprocess.run, argv, env=env, cwd=folder, capture_output=True, text=True, timeout=60
    )
