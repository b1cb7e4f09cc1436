"""S7: bytes that a worker sends and that the store is given, against the size of the final status.

They are counted, so one round is enough. Row headers and indexes of the database are not in them.
"""

import json
import sqlite3
from pathlib import Path

from bench.arithmetic import Pair, Row, row
from bench.scene import opened
from tests.integration.grpc_proxy import GrpcProxy
from tests.integration.stack import Stack
from tests.support.ports import free_port

CASES = {
    "tools": ("tools", json.dumps({"calls": 300, "at_once": 10, "result_bytes": 2048, "tokens": 20})),
    "slow": ("tokens", json.dumps({"tokens": 400, "every_s": 0.05})),
}
KB = 1000
COUNT = """
create table written (bytes integer not null);
create trigger count_log after insert on execution_log
  begin insert into written values (length(cast(new.payload as blob))); end;
create trigger count_snapshots after insert on execution_snapshots
  begin insert into written values (length(cast(new.state as blob))); end;
create trigger count_newer_snapshots after update on execution_snapshots
  begin insert into written values (length(cast(new.state as blob))); end;
"""


def measure(rounds: int) -> list[Row]:
    rows = []
    with opened(worker=False, bare=False) as scene:
        stack = scene.stack
        database = stack.folder / "agent-runner.db"
        with sqlite3.connect(database) as connection:
            connection.executescript(COUNT)
        port = free_port()
        with GrpcProxy(port, stack.grpc_port) as proxy:
            worker = stack.start_worker(STIGMER_BACKEND_ENDPOINT=f"127.0.0.1:{port}")
            for part, (graph, message) in CASES.items():
                before = _sent(proxy), _written(database)
                size = _final_size(stack, graph, message)
                sent, written = _sent(proxy) - before[0], _written(database) - before[1]
                rows.append(row("S7", f"{part}_wire", [Pair(value=sent / KB, baseline=size / KB)]))
                rows.append(row("S7", f"{part}_store", [Pair(value=written / KB, baseline=size / KB)]))
            worker.stop()
    return rows


def _final_size(stack: Stack, graph: str, message: str) -> int:
    id = stack.create(message, graph=graph)["metadata"]["id"]
    status = stack.wait_for(id, within_s=120)["status"]
    if status["phase"] != "EXECUTION_COMPLETED":
        raise RuntimeError(f"the run of {graph} ended {status['phase']}: {status.get('error')}")
    return len(json.dumps(status, ensure_ascii=False).encode())


def _sent(proxy: GrpcProxy) -> int:
    return proxy.bytes_sent["append"] + proxy.bytes_sent["settle"]


def _written(database: Path) -> int:
    with sqlite3.connect(database) as connection:
        return int(connection.execute("select coalesce(sum(bytes), 0) from written").fetchone()[0])
