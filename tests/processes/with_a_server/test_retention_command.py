"""`agent-runner retention` against a real server."""

import json
from pathlib import Path

import httpx

from agent_runner.app.server.composition import RunningServer
from tests.processes.with_a_server.commands import command
from tests.unit.server.conftest import Worker
from tests.unit.server.test_retention import ended


async def test_the_command(server: RunningServer, http: httpx.AsyncClient, worker: Worker, tmp_path: Path) -> None:
    """`agent-runner retention`: a dry run removes nothing, a run says what went, also as JSON."""
    execution = (await ended(http, worker))["metadata"]["id"]
    dry = await command(server, tmp_path, "retention", "--days", "0", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["dry_run"] is True
    assert json.loads(dry.stdout)["executions"] == 1
    assert (await http.get(f"/v1/executions/{execution}")).status_code == 200
    today = await command(server, tmp_path, "retention")
    assert "removed: 0 executions (0 rows of logs, 0 bytes)" in today.stdout
    done = await command(server, tmp_path, "retention", "--days", "0")
    assert "removed: 1 executions (" in done.stdout
    assert "1 sessions" in done.stdout
    assert "2 removals are with the workers" in done.stdout
    assert (await http.get(f"/v1/executions/{execution}")).status_code == 404
    for days in ("-1", "nan", "x"):
        wrong = await command(server, tmp_path, "retention", "--days", days)
        assert wrong.returncode == 2
        assert wrong.stdout == ""
