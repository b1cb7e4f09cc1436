"""Schedules and what came of their times."""

from sqlalchemy import Column, Double, ForeignKey, Index, LargeBinary, String, Table, Text, text

from agent_runner.status.store.tables.columns import (
    Big,
    count_column,
    due_column,
    metadata,
    seconds_column,
    text_column,
    when_column,
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", String, primary_key=True),
    *[text_column(n) for n in ("org", "name", "edge", "session_id", "made_by", "ended", "cron", "timezone")],
    Column("rules", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=True),
    due_column("next_at"),
    Column("leased_until", Double, nullable=False, server_default="0"),
    *[count_column(n) for n in ("paused", "revision", "fired", "recorded")],
    when_column("last_fired_at"),
    seconds_column("created_at"),
    seconds_column("updated_at"),
)
"""`next_at`: the time that fires next, `FOREVER` when the schedule is over. `leased_until`: until then one server works
on it; this spares the others the work, and decides nothing. `request` has no secrets: these are in `sealed`."""
Index(
    "ix_schedules_due",
    schedules.c.next_at,
    sqlite_where=text("paused = 0"),
    postgresql_where=text("paused = 0"),
)
Index("ix_schedules_org", schedules.c.org, schedules.c.created_at)

schedule_firings = Table(
    "schedule_firings",
    metadata,
    Column(
        "schedule_id",
        String,
        ForeignKey("schedules.id", name="fk_schedule_firings_schedule_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", Big, primary_key=True, autoincrement=False),
    text_column("kind"),
    *[seconds_column(n) for n in ("due_at", "at")],
    text_column("outcome"),
    count_column("passed_over"),
    *[text_column(n) for n in ("execution_id", "code")],
    Column("reason", Text, nullable=False, server_default=""),
)
"""The last entries of each schedule, numbered from 1. A time of the clock makes one execution."""
Index(
    "uq_schedule_firings_clock",
    schedule_firings.c.schedule_id,
    schedule_firings.c.due_at,
    unique=True,
    sqlite_where=text("kind = 'clock' and outcome = 'fired'"),
    postgresql_where=text("kind = 'clock' and outcome = 'fired'"),
)
