"""Alembic's door: migrates over the connection that core.jobs.store hands in, inside its transaction."""

from alembic import context

from core.jobs.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by making the table anew
)
context.run_migrations()
