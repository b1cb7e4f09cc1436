"""The threads for what a process itself has to do."""

import subprocess
import sys

FORKED = """
import asyncio, os, sys
from agent_runner.clients.process.threads import own

assert asyncio.run(own(lambda: 1)) == 1  # the pool has an idle thread now
child = os.fork()
if not child:
    os._exit(asyncio.run(asyncio.wait_for(own(lambda: 7), 20)))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_of_a_fork_has_threads_of_its_own() -> None:
    """A parent that used its threads before it forked leaves its children able to work (the prefork pool)."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 7, done.stderr
