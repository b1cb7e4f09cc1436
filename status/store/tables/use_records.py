"""What orgs with a budget have used, by window and measure."""

from sqlalchemy import Column, Double, String, Table

from agent_runner.status.store.tables.columns import metadata

org_use = Table(
    "org_use",
    metadata,
    Column("org", String, primary_key=True),
    Column("window_name", String, primary_key=True),
    Column("began", Double, primary_key=True, autoincrement=False),
    Column("measure", String, primary_key=True),
    Column("used", Double, nullable=False),
)
"""`began`: the beginning of the window, epoch seconds."""
