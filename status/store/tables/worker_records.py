"""What is known of worker processes, of starts that failed, and of the sweeping."""

from sqlalchemy import Column, Double, Index, Integer, String, Table, Text

from agent_runner.status.store.tables.columns import count_column, metadata, seconds_column, text_column, when_column

workers = Table(
    "workers",
    metadata,
    Column("incarnation", String, primary_key=True),
    *[
        text_column(n)
        for n in ("queue", "role", "hostname", "name", "version", "exit_text", "not_taking", "key_id", "sandbox")
    ],
    *[count_column(n) for n in ("pid", "slots", "busy", "hung_threads")],
    seconds_column("connected_at"),
    seconds_column("last_seen_at"),
    when_column("disconnected_at"),
    when_column("gone_at"),
    Column("loop_lag_s", Double, nullable=False, server_default="0"),
)
Index("ix_workers_queue", workers.c.queue, workers.c.connected_at)

startup_failures = Table(
    "startup_failures",
    metadata,
    Column("queue", String, primary_key=True),
    text_column("role"),
    seconds_column("at"),
    Column("text", Text, nullable=False),
)

sweeper = Table(
    "sweeper",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    seconds_column("alive_at"),
    when_column("resumed_at"),
)
