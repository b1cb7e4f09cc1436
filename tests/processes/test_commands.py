"""The commands: exit codes, what goes to stdout and stderr, what `--help` loads."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent_runner.app.cli.data_dir import written_in
from tests.unit.cli.scripted_server import ID, IN_PROGRESS, PENDING, USER, Said, ScriptedServer, failed

HEAVY = ("fastapi", "sqlalchemy", "langgraph", "langchain_core", "celery", "kombu", "grpc", "pydantic", "httpx", "rich")


def agent_runner(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "agent_runner.app.cli.main", *arguments],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def importable(clean_environment: Path) -> None:
    """The commands run in an empty directory and find this source tree."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2] / "src")])


def test_help_is_light() -> None:
    """`--help` names the commands and imports nothing heavy."""
    code = (
        "import sys\nfrom agent_runner.app.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "LOADED []" in done.stdout
    listed = [line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line.startswith("  ")]
    assert listed == [
        "run", "dev", "server", "worker", "orchestrator", "flower", "apply", "executions", "schedules", "keys",
        "retention", "doctor", "migrate",
    ]  # fmt: skip


def test_run_completed(server: ScriptedServer) -> None:
    """A completed run exits 0 and shows the phases as they happened, the answer and the end."""
    done = agent_runner("run", "hello", "--server", server.url, "--env", "TOKEN=s3cret", "--agent", "helper")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = [line for line in lines if line in ("PENDING", "IN_PROGRESS", "the answer", "COMPLETED")]
    assert shown == ["PENDING", "IN_PROGRESS", "the answer", "COMPLETED"]
    assert lines[-1].startswith("session ses-1")
    assert server.bodies == [{"message": "hello", "agent": "helper", "env": {"TOKEN": "s3cret"}}]
    assert "s3cret" not in done.stdout + done.stderr


def test_run_failed(server: ScriptedServer) -> None:
    """A failed run exits 1 with code and next step on stderr."""
    server.script = [USER, PENDING, *failed("EXECUTION_FAILED", "E101", "No worker available", "Start a worker")]
    done = agent_runner("run", "hello", "--server", server.url)
    assert done.returncode == 1
    assert "Error: No worker available [E101 X]" in done.stderr
    assert "Next step: Start a worker" in done.stderr


def test_run_json(server: ScriptedServer) -> None:
    """`--json` prints the final execution on stdout and nothing else there, also when it failed."""
    server.script = [USER, PENDING, *failed("EXECUTION_FAILED", "E301", "no", "try")]
    done = agent_runner("run", "hello", "--json", AGENT_RUNNER_HTTP_URL=server.url)
    assert done.returncode == 1
    assert json.loads(done.stdout) == server.execution()


def test_interrupt_cancels(server: ScriptedServer) -> None:
    """Ctrl-C of `run` cancels the execution, waits for its end and exits 130."""
    server.script = [USER, PENDING, IN_PROGRESS]
    server.on_cancel = failed("EXECUTION_CANCELLED", "E401", "Cancelled by the user", "Send it again")
    process = _started("run", "hello", "--server", server.url)
    _wait_for(process, "IN_PROGRESS")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert ("POST /v1/executions/aex-1/cancel", "", "") in server.seen
    assert "CANCELLED" in out
    assert "E401" in errors


def test_interrupt_of_watch_leaves_it_alone(server: ScriptedServer) -> None:
    """Ctrl-C of `watch` stops watching and cancels nothing."""
    server.script = [USER, PENDING, IN_PROGRESS]
    process = _started("executions", "--server", server.url, "watch", ID)
    _wait_for(process, "IN_PROGRESS")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not any("cancel" in path for path, _, _ in server.seen)


@pytest.mark.parametrize(
    ("ended", "after", "said"),
    [
        ([], [], "cancel of aex-1 was requested"),
        ([], failed("EXECUTION_CANCELLED", "E401", "Cancelled by the user", "-"), "aex-1 is cancelled"),
        (failed("EXECUTION_FAILED", "E301", "no", "-"), [], "aex-1 has ended already: FAILED. Nothing was changed."),
    ],
)
def test_cancel_says_what_it_did(server: ScriptedServer, ended: list[Said], after: list[Said], said: str) -> None:
    """Requested, done at once, or too late."""
    server.script = [USER, PENDING, IN_PROGRESS, *ended]
    server.on_cancel = after
    done = agent_runner("executions", "--server", server.url, "cancel", ID)
    assert done.stdout.strip() == said


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["run"], {}, "give MESSAGE, --input JSON or both"),
        (["run", "x", "--server", "http://127.0.0.1:9", "--env", "NOT_SET_ANYWHERE"], {}, "NOT_SET_ANYWHERE"),
        (["run", "x"], {"AGENT_RUNNER_POOL": "x", "AGENT_RUNNER_HTTP_PORT": "x"}, "AGENT_RUNNER_HTTP_PORT"),
        (["nonsense"], {}, "No such command"),
        (["run", "x", "--server", "localhost:8080"], {}, "write it as http://host:port"),
        (["executions", "--server", "http://[::1", "list"], {}, "write it as http://host:port"),
        (
            ["executions", "--server", "http://127.0.0.1:9", "get", "\udcff"],
            {},
            r"the argument '\xff' is not UTF-8 text",
        ),
    ],
)
def test_wrong_usage_or_settings(arguments: list[str], environment: dict[str, str], said: str) -> None:
    """Wrong usage and wrong settings exit 2 and say what is wrong; stdout stays empty."""
    done = agent_runner(*arguments, **environment)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_who_reads_may_leave(server: ScriptedServer) -> None:
    """As `| head` does: the command ends without a word of the data directory, and without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "agent_runner.app.cli.main", "run", "hello", "--server", server.url]
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    with pytest.raises(BrokenPipeError), written_in(Path.cwd()):
        raise BrokenPipeError(32, "Broken pipe")


def test_refused_create(server: ScriptedServer) -> None:
    """What the server refuses exits 1 with its code and next step."""
    server.problem = {
        "status": 404,
        "code": "NOT_FOUND",
        "title": "Not found",
        "detail": "Agent 'x'",
        "next_step": "List",
    }
    done = agent_runner("run", "hello", "--server", server.url)
    assert done.returncode == 1
    assert "Agent 'x' [NOT_FOUND]" in done.stderr
    assert "Next step: List" in done.stderr


def test_executions_commands(server: ScriptedServer) -> None:
    """list, get, cancel and redrive talk to the server and print what it says."""
    on = ("executions", "--server", server.url)
    listed = agent_runner(*on, "list", "--phase", "completed")
    assert ID in listed.stdout
    assert "COMPLETED" in listed.stdout
    assert json.loads(agent_runner(*on, "get", ID).stdout) == server.execution()
    assert agent_runner(*on, "cancel", ID).returncode == 0
    assert agent_runner(*on, "redrive", ID).stdout.strip() == ID
    assert any("phase=EXECUTION_COMPLETED" in path for path, _, _ in server.seen)
    assert not any("view=" in path for path, _, _ in server.seen), "a table needs no content"
    assert agent_runner(*on, "list", "--json", "--full").returncode == 0
    assert "view=full" in server.seen[-1][0]


@pytest.mark.promise("2.11")
def test_doctor_without_anything() -> None:
    """With nothing running doctor names each thing, what is down and the fix, and exits 1."""
    nowhere = "redis://127.0.0.1:9/0"
    done = agent_runner(
        "doctor", "--json", AGENT_RUNNER_BROKER_URL=nowhere, AGENT_RUNNER_HTTP_PORT="9", AGENT_RUNNER_GRPC_PORT="9",
        OLLAMA_BASE_URL="http://127.0.0.1:9",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    checks: dict[str, Any] = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert set(checks) == {
        "settings", "broker", "redis", "database", "checkpoint store", "graphs' store", "backend", "model",
        "sandbox", "server", "workers", "orchestrators",
    }  # fmt: skip
    down = {name for name, check in checks.items() if not check["up"]}
    assert down == {"broker", "redis", "database", "backend", "server", "workers", "orchestrators"}
    assert all(checks[name]["why"] and checks[name]["fix"] for name in down)


def test_doctor_settings_lists_all() -> None:
    """`doctor --settings` lists every setting, hides secrets and exits 2 if one is wrong."""
    done = agent_runner("doctor", "--settings", STIGMER_API_KEY="canary", AGENT_RUNNER_POOL="x")
    assert done.returncode == 2
    assert "WRONG: AGENT_RUNNER_POOL" in done.stderr
    assert "AGENT_RUNNER_WORKER_LOST_GRACE_S=3" in done.stdout
    assert "canary" not in done.stdout + done.stderr


def _started(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "agent_runner.app.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(process: "subprocess.Popen[str]", line: str) -> None:
    deadline = time.monotonic() + 20
    assert process.stdout is not None
    while time.monotonic() < deadline:
        if process.stdout.readline().strip() == line:
            return
    raise AssertionError(f"{line} was not shown")
