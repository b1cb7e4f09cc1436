"""The tables. `migrations/` creates them step by step; a test checks that both give the same tables.

Content lives in `execution_log`. `executions` holds the small facts, its deadlines (`due_*`, epoch seconds,
`FOREVER` when the clock does not run) and the seconds they are computed from (`limit_*`). Lists search in `*_tags` and
`*_labels`: the same texts are in `spec` and `body`, and are deleted with the row that they belong to. So are
attachments, the only content outside the log: no reader of a status needs their bytes.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    Column,
    Computed,
    Connection,
    Double,
    Engine,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
    text,
)

from agent_runner.status.store.clock import earliest
from agent_runner.status.store.postgres import engine_url, is_postgres, suit
from agent_runner.status.store.tables import (
    answer_records,
    client_records,
    columns,
    label_rows,
    schedule_records,
    sealing_records,
    turn_records,
    use_records,
    webhook_records,
    worker_records,
)
from agent_runner.status.store.tables.columns import Big as _Big
from agent_runner.status.store.tables.columns import count_column as _count
from agent_runner.status.store.tables.columns import due_column as _due
from agent_runner.status.store.tables.columns import seconds_column as _seconds
from agent_runner.status.store.tables.columns import text_column as _name
from agent_runner.status.store.tables.columns import when_column as _when
from agent_runner.status.store.tables.revisions import MIGRATIONS, newest_revision, revision_in
from agent_runner.status.timeouts import TimeoutType

if TYPE_CHECKING:
    from alembic.config import Config

metadata, OPEN = columns.metadata, columns.OPEN

_DUE = [_due(t.column) for t in TimeoutType]

executions = Table(
    "executions",
    metadata,
    Column("handle", _Big, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    *[_name(n) for n in ("org", "session_id", "agent_id", "name", "slug", "graph", "model_name", "redriven_from")],
    Column("idempotency_key", String, nullable=True),
    Column("spec", Text, nullable=False),
    Column("sealed_env", LargeBinary, nullable=True),
    Column("phase", Integer, nullable=False),
    _name("step"),
    *[_count(n) for n in ("fence", "settled_fence", "attempt", "max_attempts", "resumable")],
    *[
        _name(n)
        for n in ("begin_id", "claim_id", "owner", "owner_name", "thread_id", "runner_queue", "orchestrator_queue")
    ],
    *[_count(n) for n in ("runner_seq", "last_seq", "snapshot_seq", "snapshot_bytes", "tail_bytes")],
    *[_name(n) for n in ("base_checkpoint_id", "resume_checkpoint_id", "run_token")],
    _count("run_token_fence"),
    _count("base_given"),
    *[
        _seconds(f"limit_{n}")
        for n in (
            "schedule_to_start",
            "heartbeat",
            "start_to_close",
            "schedule_to_close",
            "thread_wait",
            "cancel",
            "settle_grace",
            "worker_lost_grace",
            "ensure_thread",
        )
    ],
    Column("limit_busy_to_start", Double, nullable=False, server_default="0"),
    Column("created_at", Double, nullable=False),
    *[
        _when(n)
        for n in (
            "dispatchable_at",
            "dispatched_at",
            "claimed_at",
            "last_beat_at",
            "completed_at",
            "cancel_requested_at",
        )
    ],
    _due("next_dispatch_at"),
    *_DUE,
    Column("next_deadline", Double, Computed(earliest(*[Column(c.name, Double) for c in _DUE]), persisted=True)),
    _name("cancelled_by"),
    Column("progress", Text, nullable=False, server_default="{}"),
    _name("error_code"),
    Column("spec_version", _Big, nullable=False, server_default="1"),
    _when("spec_updated_at"),
    _name("spec_updated_by"),
    _count("waiting"),
    _name("multitask", "enqueue"),
    _count("rolled_back"),
    Column("not_before", Double, nullable=False, server_default="0"),
    Column("webhook", LargeBinary, nullable=True),
    _name("webhook_events", "end"),
    _due("webhook_due_at"),
    _count("webhook_tries"),
    _name("retry"),
    _count("priority"),
    Column("ready_at", Double, nullable=False, server_default="0"),
    UniqueConstraint("org", "idempotency_key"),
    sqlite_autoincrement=True,
)
Index("ix_executions_next_deadline", executions.c.next_deadline, sqlite_where=OPEN, postgresql_where=OPEN)
Index("ix_executions_next_dispatch_at", executions.c.next_dispatch_at, sqlite_where=OPEN, postgresql_where=OPEN)
Index(
    "ix_executions_open_session", executions.c.session_id, executions.c.handle, sqlite_where=OPEN, postgresql_where=OPEN
)
Index("ix_executions_open_owner", executions.c.owner, sqlite_where=OPEN, postgresql_where=OPEN)
Index("ix_executions_session", executions.c.session_id, executions.c.handle.desc())
Index("ix_executions_agent", executions.c.agent_id, executions.c.handle.desc())
Index("ix_executions_phase", executions.c.phase, executions.c.handle.desc())
Index("ix_executions_org", executions.c.org, executions.c.handle.desc())
_CODE, _GRAPH = text("error_code <> ''"), text("graph <> ''")
_NEWEST = executions.c.handle.desc()
Index("ix_executions_error_code", executions.c.error_code, _NEWEST, sqlite_where=_CODE, postgresql_where=_CODE)
Index("ix_executions_graph", executions.c.graph, _NEWEST, sqlite_where=_GRAPH, postgresql_where=_GRAPH)
_WAITING = text("waiting = 1")
Index(
    "ix_executions_waiting",
    executions.c.session_id,
    executions.c.handle.desc(),
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
_ROLLED_BACK, _LATER = text("rolled_back = 1"), text("not_before > 0")
Index("ix_executions_rolled_back", executions.c.completed_at, sqlite_where=_ROLLED_BACK, postgresql_where=_ROLLED_BACK)
Index("ix_executions_not_before", executions.c.not_before, sqlite_where=_LATER, postgresql_where=_LATER)
_WEBHOOK = text("webhook is not null")
Index("ix_executions_webhook_due_at", executions.c.webhook_due_at, sqlite_where=_WEBHOOK, postgresql_where=_WEBHOOK)
_ENDED = text("completed_at is not null")
Index("ix_executions_completed_at", executions.c.completed_at, sqlite_where=_ENDED, postgresql_where=_ENDED)
turn_records.index_turns(executions)

execution_tags = Table(
    "execution_tags",
    metadata,
    Column(
        "handle",
        _Big,
        ForeignKey("executions.handle", name="fk_execution_tags_handle", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("tag", String, primary_key=True),
    sqlite_with_rowid=False,
)
Index("ix_execution_tags_tag", execution_tags.c.tag, execution_tags.c.handle.desc())

execution_labels = label_rows.execution_labels

execution_log = Table(
    "execution_log",
    metadata,
    Column("handle", _Big, primary_key=True, autoincrement=False),
    Column("seq", _Big, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("fence", _Big, nullable=False),
    Column("kind", String, nullable=False),
    Column("payload", Text, nullable=False),
    sqlite_with_rowid=False,
)

execution_snapshots = Table(
    "execution_snapshots",
    metadata,
    Column("handle", _Big, primary_key=True, autoincrement=False),
    Column("seq", _Big, nullable=False),
    Column("state", Text, nullable=False),
)

execution_attachments = Table(
    "execution_attachments",
    metadata,
    Column(
        "handle",
        _Big,
        ForeignKey("executions.handle", name="fk_execution_attachments_handle", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("id", String, primary_key=True),
    _count("number"),
    _count("size"),
    Column("described", Text, nullable=False),
    Column("content", LargeBinary, nullable=True),
)
"""`described`: all but the bytes, as JSON. Rows are deleted with their execution. They contain no secrets."""

session_facts = Table(
    "session_facts",
    metadata,
    Column("session_id", String, primary_key=True),
    *[_name(n) for n in ("thread_id", "head_checkpoint_id", "sandbox_id")],
    _count("turns"),
    Column("used_at", Double, nullable=False, server_default="0"),
    _count("retired"),
    _count("one_shot"),
)
_IN_USE = text("retired = 0")
Index("ix_session_facts_used_at", session_facts.c.used_at, sqlite_where=_IN_USE, postgresql_where=_IN_USE)

removals = Table(
    "removals",
    metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    *[_name(n) for n in ("session_id", "sandbox_id", "thread_id", "head_checkpoint_id")],
    _seconds("created_at"),
    _seconds("due_at"),
)
Index("ix_removals_due_at", removals.c.due_at)
Index("ix_removals_what", removals.c.sandbox_id, removals.c.thread_id)

workers, startup_failures, sweeper = worker_records.workers, worker_records.startup_failures, worker_records.sweeper

resources = Table(
    "resources",
    metadata,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    *[_name(n) for n in ("org", "slug", "parent_id")],
    _seconds("created_at"),
    _count("version"),
    Column("body", Text, nullable=False),
    UniqueConstraint("kind", "org", "slug"),
)
Index("ix_resources_parent", resources.c.kind, resources.c.parent_id, resources.c.created_at.desc())

resource_tags = Table(
    "resource_tags",
    metadata,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("tag", String, primary_key=True),
    ForeignKeyConstraint(
        ["kind", "id"], ["resources.kind", "resources.id"], name="fk_resource_tags_kind_id", ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,
)
Index("ix_resource_tags_tag", resource_tags.c.kind, resource_tags.c.tag, resource_tags.c.id.desc())

skill_artifacts = Table(
    "skill_artifacts",
    metadata,
    Column("skill_id", String, primary_key=True),
    Column("version_hash", String, primary_key=True),
    Column("artifact_key", String, nullable=False, unique=True),
    Column("skill_md", Text, nullable=False),
    _seconds("created_at"),
    Column("content", LargeBinary, nullable=False),
    Column("front", Text, nullable=True),
)

skill_tags = Table(
    "skill_tags",
    metadata,
    Column("skill_id", String, primary_key=True),
    Column("tag", String, primary_key=True),
    Column("version_hash", String, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String, primary_key=True),
    *[_name(n) for n in ("name", "scopes", "org", "made_by")],
    Column("queues", Text, nullable=False, server_default="[]"),
    Column("digest", String, nullable=False),
    _seconds("created_at"),
    _when("last_used_at"),
    _when("revoked_at"),
    _when("expires_at"),
)

threads, assistants = client_records.threads, client_records.assistants
graph_queries = client_records.graph_queries
org_turns, org_use = turn_records.org_turns, use_records.org_use
answer_tokens = answer_records.answer_tokens
webhook_deliveries = webhook_records.webhook_deliveries
schedules, schedule_firings = schedule_records.schedules, schedule_records.schedule_firings
sealing = sealing_records.sealing

MIGRATION_WAIT_S = 60
"""How long a migration waits for another one, on SQLite; on Postgres it waits without a limit."""


def sync_url(url: str) -> URL:
    """The same database with a driver that blocks: migrations run before any event loop."""
    return engine_url(url) if is_postgres(url) else make_url(url).set(drivername="sqlite")


def _engine(url: str) -> Engine:
    engine = create_engine(sync_url(url), hide_parameters=True)
    return suit(engine, url) if is_postgres(url) else engine


def migrate(url: str) -> None:
    """Bring the database to the newest revision, or leave it as it is. Safe to call from several servers at once."""
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        with engine.connect() as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_xact_lock(hashtext('agent_runner.migrate'))"))
            if revision_in(connection) == newest_revision():
                return  # as at most starts of a server: what Alembic imports is a tenth of what the server does then
            from alembic import command

            command.upgrade(_alembic(connection), "head")
    finally:
        engine.dispose()


def _prepare_sqlite(engine: Engine) -> None:
    """One migration at a time, each in one transaction. The driver alone would begin a transaction at the first written
    row, after the tables are created: two at once would collide, and a failure would leave half of the tables."""

    def on_connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None
        dbapi_connection.execute(f"PRAGMA busy_timeout={MIGRATION_WAIT_S * 1000}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def revision(url: str) -> tuple[str, str]:
    """(the database's revision or '', the newest one)."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            return revision_in(connection), newest_revision()
    finally:
        engine.dispose()


def _alembic(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
