"""With which secret key the servers of this database seal."""

from sqlalchemy import Column, Integer, LargeBinary, Table

from agent_runner.status.store.tables.columns import metadata

sealing = Table(
    "sealing",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sample", LargeBinary, nullable=False),
)
"""One row. `sample`: a text that everybody knows, sealed by the server that started last. It holds no secret."""
