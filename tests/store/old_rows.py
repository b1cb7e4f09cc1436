"""One of everything that a database holds, as rows: put into whatever tables and columns a revision has.

`OF` in a row names the execution whose handle it carries. A table that is not named here gets a made-up row, so that a
later revision is filled without a change of this file.
"""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, MetaData, Table, select
from sqlalchemy.types import Double, Integer

from agent_runner.status.phases import Phase, Step
from agent_runner.status.store.clock import FOREVER
from agent_runner.status.timeouts import Timeouts

Row = dict[str, Any]
OF = "of"
T0 = 999_000.0
TEXT = "Grüße, 世界 🙂\n'quoted' \"twice\" \\ % :name"
BLOB = bytes(range(256)) * 40
LIMITS = {f"limit_{name.removesuffix('_s')}": seconds for name, seconds in Timeouts(heartbeat_s=7.5).as_dict().items()}


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


ATTACHED = dumps(
    {
        "type": "image",
        "mime_type": "image/png",
        "size": len(BLOB),
        "name": TEXT,
        "url": "",
        "prefix": "",
        "block": {"type": "image", "base64": ""},
        "place": ["base64"],
        "coding": "base64",
    }
)


def _execution(id: str, phase: Phase, step: Step, session: str, log: list[tuple[str, Row]], **columns: Any) -> Row:
    document = {"metadata": {"labels": {"a": TEXT}, "tags": ["blue", id]}, "spec": {"execution_config": {}}}
    return {
        "id": id,
        "org": "acme",
        "session_id": session,
        "agent_id": "agt-1",
        "name": f"run {TEXT}",
        "slug": id,
        "graph": "",
        "model_name": "some-model",
        "redriven_from": "",
        "idempotency_key": None,
        "spec": dumps(document),
        "sealed_env": None,
        "phase": int(phase),
        "step": step.value,
        "fence": 0,
        "settled_fence": 0,
        "attempt": 0,
        "max_attempts": 1,
        "resumable": 0,
        "begin_id": "",
        "claim_id": "",
        "owner": "",
        "owner_name": "",
        "thread_id": "",
        "runner_queue": "runner",
        "orchestrator_queue": "orchestrator",
        "runner_seq": 0,
        "last_seq": len(log),
        "created_at": T0,
        "next_dispatch_at": FOREVER,
        "cancelled_by": "",
        "progress": "{}",
        "error_code": "",
        **LIMITS,
        **columns,
    }


BEGUN: list[tuple[str, Row]] = [
    ("message", {"id": "user", "type": "MESSAGE_HUMAN", "content": TEXT}),
    ("phase", {"phase": "EXECUTION_PENDING"}),
]
CLAIMED: list[tuple[str, Row]] = [*BEGUN, ("phase", {"phase": "EXECUTION_IN_PROGRESS", "attempt": 1})]
SAID: list[tuple[str, Row]] = [*CLAIMED, ("message", {"id": "a1", "content": "x" * 5_000 + TEXT})]
COMPLETED: list[tuple[str, Row]] = [*SAID, ("phase", {"phase": "EXECUTION_COMPLETED"})]
FAILED: list[tuple[str, Row]] = [
    *SAID,
    ("message", {"id": "failure", "type": "MESSAGE_SYSTEM", "content": "it went silent"}),
    ("phase", {"phase": "EXECUTION_FAILED", "error": "it went silent [E102 HEARTBEAT]", "error_code": "E102"}),
]
CANCELLED: list[tuple[str, Row]] = [
    *BEGUN,
    ("phase", {"phase": "EXECUTION_CANCELLED", "error": "[E401 CANCELLED]", "error_code": "E401"}),
]

LOGS = {
    "aex-waiting": BEGUN,
    "aex-unstarted": BEGUN,
    "aex-preparing": BEGUN,
    "aex-ready": BEGUN,
    "aex-running": SAID,
    "aex-handed-back": SAID,
    "aex-completed": COMPLETED,
    "aex-failed": FAILED,
    "aex-cancelled": CANCELLED,
}
_RAN: Row = {"begin_id": "b", "claim_id": "c", "thread_id": "thread-1", "attempt": 1, "claimed_at": T0 + 3}
_OVER: Row = {**_RAN, "fence": 2, "runner_seq": 1, "completed_at": T0 + 60}


def _executions() -> Iterator[Row]:
    def one(id: str, phase: Phase, step: Step, session: str, **columns: Any) -> Row:
        return _execution(f"aex-{id}", phase, step, session, LOGS[f"aex-{id}"], **columns)

    pending, running = Phase.PENDING, Phase.IN_PROGRESS
    dispatched = {"dispatchable_at": T0, "dispatched_at": T0 + 1, "due_schedule_to_close": T0 + 9e6}
    begun = {**dispatched, "begin_id": "b"}
    yield one("waiting", pending, Step.WAITING, "ses-1", due_thread_wait=T0 + 9e6)
    yield one("unstarted", pending, Step.ENSURE_THREAD, "ses-1", **dispatched, due_schedule_to_start=T0 + 9e6)
    yield one("preparing", pending, Step.THREAD_STARTED, "ses-2", **begun, owner="w1", due_ensure_thread=T0 + 9e6)
    ready = {"thread_id": "thread-1", "next_dispatch_at": T0 + 8e6, "due_schedule_to_start": T0 + 9e6}
    yield one("ready", pending, Step.EXECUTE, "ses-3", **begun, **ready)
    live = {"owner": "w1", "owner_name": "worker-1", "last_beat_at": T0 + 9, "due_heartbeat": T0 + 9e6}
    yield one(
        "running", running, Step.RUNNING, "ses-4", **dispatched, **_RAN, **live, fence=1, runner_seq=1,
        sealed_env=BLOB, progress=dumps({"events_processed": 5, "phase": "tools"}), due_start_to_close=T0 + 9e6,
    )  # fmt: skip
    yield one(
        "handed-back", running, Step.EXECUTE, "ses-5", **dispatched, **_RAN, fence=2, settled_fence=1, resumable=1,
        runner_seq=1, due_schedule_to_start=T0 + 9e6,
    )  # fmt: skip
    yield one(
        "completed", Phase.COMPLETED, Step.SETTLED, "ses-6", **_OVER, settled_fence=1, idempotency_key=f"key {TEXT}",
        redriven_from="aex-failed", graph="mine", snapshot_seq=4, snapshot_bytes=5_000, tail_bytes=40,
    )  # fmt: skip
    yield one("failed", Phase.FAILED, Step.SETTLED, "ses-6", **_OVER, error_code="E102", org="other")
    yield one(
        "cancelled", Phase.CANCELLED, Step.SETTLED, "", error_code="E401", cancelled_by="the user",
        cancel_requested_at=T0 + 5, completed_at=T0 + 5, fence=1, org="",
    )  # fmt: skip


_KINDS = {"Agent": "", "AgentInstance": "agt-1", "Session": "ins-1", "Skill": "", "Environment": ""}
_SNAPSHOT = {
    "seq": 4, "phase": "EXECUTION_IN_PROGRESS", "error": "", "error_code": "", "started_at": T0 + 3,
    "completed_at": 0.0, "output": None, "tool_calls": [], "listed": [], "sub_agents": [], "todos": [],
    "messages": [
        {"id": "user", "at": T0 + 1, "metadata": {}, "tool_calls": [], "type": "MESSAGE_HUMAN", "content": TEXT},
        {"id": "a1", "at": T0 + 4, "metadata": {}, "tool_calls": [], "type": "MESSAGE_AI",
         "content": "x" * 5_000 + TEXT},
    ],
}  # fmt: skip

ROWS: dict[str, list[Row]] = {
    "executions": list(_executions()),
    "execution_log": [
        {OF: id, "seq": seq, "at": T0 + seq, "fence": 1 if seq > 2 else 0, "kind": kind, "payload": dumps(payload)}
        for id, log in LOGS.items()
        for seq, (kind, payload) in enumerate(log, 1)
    ],
    "execution_snapshots": [{OF: "aex-completed", "seq": 4, "state": dumps(_SNAPSHOT)}],
    "webhook_deliveries": [
        {OF: id, "id": f"delivery-{id}", "event": "end", "at": T0, "due_at": T0 + 9e6, "tries": 1, "outcome": ""}
        for id in LOGS
    ],
    "answer_tokens": [
        {OF: id, "digest": f"digest-{id}", "question_id": "q1", "made_by": "", "created_at": T0, "expires_at": T0 + 9e6}
        for id in LOGS
    ],
    "execution_labels": [{OF: id, "label": f"a:{TEXT}"} for id in LOGS],
    "execution_tags": [{OF: id, "tag": tag} for id in LOGS for tag in ("blue", id)],
    "session_facts": [
        {"session_id": f"ses-{n}", "thread_id": f"thread-{n}", "head_checkpoint_id": f"head-{n}",
         "sandbox_id": f"sandbox-{n}", "turns": n, "used_at": T0, "retired": 0}
        for n in range(1, 7)
    ],
    "resources": [
        {"kind": kind, "id": f"{kind.lower()}-1", "org": "acme", "slug": f"the-{kind.lower()}", "parent_id": parent,
         "created_at": T0, "version": 3,
         "body": dumps({"metadata": {"name": TEXT, "tags": ["green"]}, "spec": {"about": kind}})}
        for kind, parent in _KINDS.items()
    ],
    "resource_tags": [{"kind": kind, "id": f"{kind.lower()}-1", "tag": "green"} for kind in _KINDS],
    "workers": [
        {"incarnation": "w1", "queue": "runner", "role": "worker", "hostname": "host", "name": "worker-1",
         "version": "0.1.0", "exit_text": "", "pid": 77, "slots": 50, "busy": 2, "connected_at": T0,
         "last_seen_at": T0 + 9, "disconnected_at": None, "gone_at": None, "loop_lag_s": 0.25}
    ],
    "startup_failures": [{"queue": "runner", "role": "worker", "at": T0, "text": f"STARTUP FAILURE: {TEXT}"}],
    "sweeper": [{"id": 1, "alive_at": T0 + 999, "resumed_at": None}],
    "api_keys": [
        {"id": "0a", "name": TEXT, "scopes": "execute read", "org": "acme", "digest": "d" * 64, "created_at": T0,
         "last_used_at": T0 + 1, "revoked_at": None},
        {"id": "0b", "name": "revoked", "scopes": "runner", "org": "", "digest": "e" * 64, "created_at": T0 + 1,
         "last_used_at": None, "revoked_at": T0 + 2},
    ],
    "skill_artifacts": [
        {"skill_id": "skill-1", "version_hash": hash, "artifact_key": f"key-{hash}", "skill_md": TEXT,
         "created_at": T0, "content": BLOB + hash.encode()}
        for hash in ("aa", "bb")
    ],
    "execution_attachments": [
        {OF: id, "id": "att-1", "number": 1, "size": len(BLOB), "described": ATTACHED, "content": BLOB} for id in LOGS
    ],
    "skill_tags": [{"skill_id": "skill-1", "tag": "latest", "version_hash": "bb"}],
    "removals": [
        {"session_id": "ses-9", "sandbox_id": "sandbox-9", "thread_id": "", "head_checkpoint_id": "",
         "created_at": T0, "due_at": T0 + 9e6}
    ],
}  # fmt: skip


def fill(connection: Connection) -> MetaData:
    """Gives the tables as they are there."""
    tables = MetaData()
    tables.reflect(connection)
    executions = tables.tables["executions"]
    _put(connection, executions, ROWS["executions"], {})
    handles = {row.id: row.handle for row in connection.execute(select(executions.c.id, executions.c.handle))}
    for table in tables.sorted_tables:
        if table.name not in ("executions", "alembic_version"):
            _put(connection, table, ROWS.get(table.name) or [_made_up(table)], handles)
    return tables


def _put(connection: Connection, table: Table, rows: list[Row], handles: dict[str, int]) -> None:
    for row in rows:
        given = {**row, "handle": handles[row[OF]]} if OF in row else row
        connection.execute(table.insert().values({name: given[name] for name in given if name in table.c}))


def _made_up(table: Table) -> Row:
    return {c.name: _value(c) for c in table.c if c.computed is None and c.autoincrement is not True}


def _value(column: "Column[Any]") -> Any:
    for key in column.foreign_keys:
        named = ROWS.get(key.column.table.name)
        return named[0][key.column.name] if named else _value(key.column)
    match column.type:
        case Integer():
            return 1
        case Double():
            return T0
        case LargeBinary():
            return BLOB
    return TEXT
