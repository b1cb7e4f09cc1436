"""Children of the prefork pool: what their parent tried before the fork must not keep them from working."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from agent_runner.clients.sandbox.isolation import isolation_of
from agent_runner.clients.sandbox.local import LocalSandbox
from agent_runner.clients.settings.settings import Settings

walls = isolation_of(Settings(sandbox="local")).walls
parent = LocalSandbox(Path(sys.argv[1], "parent"), walls=walls).open()
assert asyncio.run(parent.execute("echo one")).output == "one\\n"
child = os.fork()
if not child:
    signal.alarm(30)
    box = LocalSandbox(Path(sys.argv[1], "child"), walls=walls).open()
    os._exit(asyncio.run(box.execute("exit 7")).exit_code)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_runs_commands_after_its_parent_did(tmp_path: Path) -> None:
    """The threads for our own work are the child's own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, timeout=60)
    assert done.returncode == 7
