"""`agent-runner run` against a server that is not there says so at once, and visibly goes on trying."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent_runner.app.cli.exits import EXIT_CANCELLED
from tests.support.ports import free_port


def test_it_says_so_and_goes_on(tmp_path: Path) -> None:
    """The first word comes long before the last try; it names the address, and the program is still at work then."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AGENT_RUNNER_HTTP_URL": url}
    script = Path(sys.executable).parent / "agent-runner"
    argv = [sys.executable, str(script), "run", "hello"]
    began = time.monotonic()
    with subprocess.Popen(argv, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        took_s = time.monotonic() - began
        assert running.poll() is None, "it goes on trying"
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == EXIT_CANCELLED, "one Ctrl-C leaves"
    assert f"no answer from {url} for 2 s; trying until 60 s" in first
    assert took_s < 30, "before half of the time is over"
