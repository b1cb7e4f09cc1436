"""What a process does not use it does not import: each package costs megabytes for as long as the process lives."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent_runner.app.dev.processes import command_line
from agent_runner.app.server.maintenance.first_migration import migrate_apart
from tests.support.waiting import eventually

MIB = 1 << 20
LOOK = """
import importlib, json, sys
for name in sys.argv[1:]:
    module, _, call = name.partition(":")
    found = importlib.import_module(module)
    if call:
        getattr(found, call)()
print(json.dumps(sorted({*sys.modules, *(name.partition(".")[0] for name in sys.modules)})))
"""
LEAN = "agent_runner.clients.process.lean_imports:import_"
METRICS = "opentelemetry.sdk.metrics"
SETTINGS = ["agent_runner.clients.settings.settings", "agent_runner.clients.process.logs"]
MODELS = {"langchain_anthropic", "langchain_openai", "langchain_ollama", "anthropic", "openai", "ollama"}
ENGINE = {"langsmith", "langgraph", "langchain", "langchain_core", "deepagents"}
POSTGRES = {"psycopg", "psycopg_pool"}
COLOURS = {"rich", "pygments", "structlog"}
"""Text for terminals: only what a command shows is made with it, never a line of a log."""
PROCESSES: dict[str, tuple[list[str], set[str]]] = {
    "supervisor": (
        [
            "agent_runner.app.supervisor",
            "agent_runner.app.supervisor_program",
            "agent_runner.clients.sandbox.programs.kernel",
        ],
        {"typing", "dataclasses", "inspect", "uuid"}
        | {"pydantic", "asyncio", "http", "ssl", "email", "click", "celery", "grpc", "redis", "sqlalchemy"}
        | ENGINE
        | POSTGRES,
    ),
    "dev": (
        [*SETTINGS, "agent_runner.app.cli.main", "agent_runner.app.cli.commands.dev"],
        {"celery", "grpc", "redis", "sqlalchemy", "fastapi", "httpx"} | ENGINE | POSTGRES | MODELS,
    ),
    "flower": (
        [
            "agent_runner.clients.process.logs",
            f"{LEAN}redis",
            f"{LEAN}celery_commands",
            "agent_runner.app.cli.flower_program",
            "agent_runner.app.flower.buttons",
            "agent_runner.app.flower.true_events",
            "agent_runner.clients.process.own_user",
            "flower.command",
        ],
        {"pydantic", "sqlalchemy", "grpc", "fastapi", "httpx", "prompt_toolkit", "celery.bin.celery", METRICS}
        | ENGINE
        | POSTGRES
        | MODELS,
    ),
    "orchestrator": (
        [
            *SETTINGS,
            "agent_runner.clients.process.hidden_environment",
            f"{LEAN}redis",
            "agent_runner.tasks.worker.serve",
            "agent_runner.tasks.report_failure",
        ],
        {"sqlalchemy", "fastapi", "httpx", METRICS} | ENGINE | POSTGRES | MODELS,
    ),
    "server": (
        [*SETTINGS, f"{LEAN}redis", f"{LEAN}httpx", "agent_runner.app.server.composition"],
        ENGINE | MODELS | {"deepagents", "flower", "psycopg_pool", "alembic", METRICS},
    ),
    "worker": (
        [
            *SETTINGS,
            f"{LEAN}httpx",
            "agent_runner.clients.engine.user_graphs.run_environment",
            "agent_runner.tasks.worker.serve",
            "agent_runner.tasks.ensure_thread",
            "agent_runner.tasks.execute_graphton",
            "agent_runner.clients.engine.engines.deep_agents",
        ],
        {"fastapi", "uvicorn", "flower"} | POSTGRES | MODELS,
    ),
}
"""Process: the modules that it imports before it has work, and the packages that these must not bring."""


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_imports_only_what_it_uses(process: str) -> None:
    """No engine but in workers, no provider's package before a model asks for it, next to nothing in a supervisor."""
    modules, unwanted = PROCESSES[process]
    argv = [sys.executable, "-P", "-c", LOOK, *modules]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert sorted((unwanted | COLOURS) & set(json.loads(said))) == []


def test_a_new_database_brings_no_alembic_into_the_server(tmp_path: Path) -> None:
    """It is migrated by a process that ends; the server finds nothing left to do."""
    program = (
        "import sys; from agent_runner.app.server.maintenance.first_migration import migrate_apart;"
        " from agent_runner.status.store.schema import migrate, revision;"
        " migrate_apart(sys.argv[1]); found, newest = revision(sys.argv[1]); assert found == newest, found;"
        " migrate(sys.argv[1]); print('alembic' in sys.modules)"
    )
    argv = [sys.executable, "-P", "-c", program, f"sqlite:///{tmp_path}/new.db"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_database_that_cannot_be_migrated_is_left_to_the_start(tmp_path: Path) -> None:
    """The process before it raises nothing: the start itself says what is wrong."""
    migrate_apart(f"sqlite:///{tmp_path}/there is no such folder/new.db")


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read as Linux counts it")
def test_a_supervisor_holds_at_most_12_mib(tmp_path: Path) -> None:
    """The command that read the settings becomes a small program, which shows its role and no key."""
    given = {
        "PATH": os.environ["PATH"],
        "AGENT_RUNNER_DATA_DIR": str(tmp_path),
        "AGENT_RUNNER_BROKER_URL": "redis://127.0.0.1:1/0",
        "STIGMER_API_KEY": "the key of this test",
    }
    started = subprocess.Popen(
        command_line("worker"), env=given, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        own = psutil.Process(started.pid)
        eventually(lambda: own.children(), within_s=60, what="a child of the supervisor")
        memory, command = own.memory_info(), " ".join(own.cmdline())
    finally:
        started.send_signal(signal.SIGTERM)
        _, printed = started.communicate(timeout=60)
    assert (memory.rss - memory.shared) / MIB <= 12, printed.decode()[-2000:]
    assert "agent-runner worker" in command
    assert "the key of this test" not in command
