"""Alembic's environment: the connection is handed in by `agent_runner.status.store.schema.migrate`."""

from alembic import context

from agent_runner.status.store.tables.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
