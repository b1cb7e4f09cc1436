"""What is written and sent grows with what changed (L11)."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.integration.grpc_proxy import GrpcProxy
from tests.integration.stack import Stack
from tests.support.ports import free_port

GRAPHS = Path(__file__).parent / "graphs"
COUNT = """
create table written (bytes integer not null);
create trigger count_log after insert on execution_log
  begin insert into written values (length(cast(new.payload as blob))); end;
create trigger count_snapshots after insert on execution_snapshots
  begin insert into written values (length(cast(new.state as blob))); end;
"""


@pytest.mark.promise("2.08")
def test_a_run_of_300_tools_writes_and_sends_less_than_three_times_its_status(tmp_path: Path) -> None:
    """Log and snapshots, and what the worker sends, each stay below three times the final status."""
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"many": f"{GRAPHS}/many_tools.py:graph"}}))
    with Stack.open(tmp_path, AGENT_RUNNER_GRAPHS=str(tmp_path / "langgraph.json")) as stack:
        with sqlite3.connect(tmp_path / "agent-runner.db") as database:
            database.executescript(COUNT)
        port = free_port()
        with GrpcProxy(port, stack.grpc_port) as proxy:
            stack.start_worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
            id = stack.create("Read on.", graph="many")["metadata"]["id"]
            status = stack.wait_for(id, within_s=90)["status"]
            assert status["phase"] == "EXECUTION_COMPLETED", status.get("error")
            assert len(status["tool_calls"]) == 300
            size = len(json.dumps(status, ensure_ascii=False).encode())
            with sqlite3.connect(tmp_path / "agent-runner.db") as database:
                (written,) = database.execute("select sum(bytes) from written").fetchone()
            sent = proxy.bytes_sent["append"] + proxy.bytes_sent["settle"]
            assert sent > size / 4, "the proxy was not in the way"
            assert written < 3 * size, (written, size)
            assert sent < 3 * size, (sent, size)
            for process in [p for p in stack.processes if p.name == "worker"]:
                process.stop()
