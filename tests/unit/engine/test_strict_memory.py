"""A worker revives nothing from a checkpoint but LangGraph's and langchain's types, and those of the graph's state."""

import os
import subprocess
import sys

from checks.tree import ROOT

WORKER = """
from agent_runner.clients.settings.settings import Settings
from agent_runner.tasks.app import build_app

build_app(Settings(), "worker")
import agent_runner.clients.engine.memory.checkpoints
from langgraph.checkpoint.serde import _msgpack

print(_msgpack.STRICT_MSGPACK_ENABLED)
"""


def test_a_worker_is_strict_whatever_it_imports_first() -> None:
    """The switch is read once, when the first of many modules imports the serializer."""
    environment = {name: value for name, value in os.environ.items() if name != "LANGGRAPH_STRICT_MSGPACK"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "True"
