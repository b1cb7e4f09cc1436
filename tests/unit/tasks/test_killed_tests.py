"""A run of the tests that is killed leaves no server behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from checks.tree import ROOT
from tests.support.waiting import eventually

PROGRAM = """
import sys, time
from pathlib import Path
from tests.support.redis_server import RedisServer

server = RedisServer(Path(sys.argv[1]), socket=True, durable=True)
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux ties a program to its parent")
def test_the_redis_of_a_test_ends_with_it(tmp_path: Path) -> None:
    """Also when nothing of the test can run any more: SIGKILL."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        redis = psutil.Process(int(tests.stdout.readline()))
        try:
            assert "redis-server" in redis.name()
            tests.kill()
            tests.wait()
            eventually(
                lambda: not redis.is_running() or redis.status() == psutil.STATUS_ZOMBIE, what="the end of the server"
            )
        finally:
            tests.kill()
            if redis.is_running():
                redis.kill()
