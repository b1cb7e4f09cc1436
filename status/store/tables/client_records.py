"""What the Agent Server API keeps beside sessions and graphs."""

from sqlalchemy import Column, Index, String, Table, Text

from agent_runner.status.store.tables.columns import (
    Big,
    count_column,
    metadata,
    seconds_column,
    text_column,
    when_column,
)

threads = Table(
    "threads",
    metadata,
    Column("session_id", String, primary_key=True),
    text_column("org"),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("config", Text, nullable=False, server_default="{}"),
    Column("ttl", Text, nullable=True),
    when_column("expires_at"),
    seconds_column("created_at"),
    seconds_column("updated_at"),
    when_column("state_updated_at"),
    text_column("state_checkpoint_id"),
    Column("state", Text, nullable=True),
    count_column("stopped"),
    count_column("by_hand"),
)
"""What the Agent Server API knows of a session besides its executions. `state`: what a worker last told of the memory
at `state_checkpoint_id`, so that not every read needs a worker; `stopped`: that state has nodes to run next;
`by_hand`: a client made it, and not a run."""
Index("ix_threads_org", threads.c.org, threads.c.updated_at)
Index("ix_threads_expires_at", threads.c.expires_at)

assistants = Table(
    "assistants",
    metadata,
    Column("org", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("version", Big, primary_key=True, autoincrement=False),
    count_column("is_latest"),
    *[text_column(n) for n in ("graph", "name")],
    Column("body", Text, nullable=False),
    seconds_column("first_made_at"),
    seconds_column("created_at"),
)
"""Every version of an assistant; one of each is the latest. A graph's default assistant has no row until it changes."""
Index("ix_assistants_latest", assistants.c.is_latest, assistants.c.org, assistants.c.first_made_at)
Index("ix_assistants_id", assistants.c.id)

graph_queries = Table(
    "graph_queries",
    metadata,
    Column("id", String, primary_key=True),
    *[text_column(n) for n in ("org", "kind", "queue", "graph", "agent_id", "thread_id", "head_checkpoint_id")],
    Column("body", Text, nullable=False),
    text_column("token"),
    seconds_column("due_at"),
    when_column("taken_at"),
    when_column("answered_at"),
    Column("answer", Text, nullable=True),
    *[text_column(n) for n in ("refusal", "refused_as")],
)
"""Questions to workers. Who asked deletes the row with its answer; what is overdue is deleted by the next question."""
Index("ix_graph_queries_due_at", graph_queries.c.due_at)
