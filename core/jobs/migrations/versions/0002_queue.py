"""The queue: orders that outlive their process, order, holds, start times, and the lease of the machine."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("order", sa.JSON()))
    op.add_column("runs", sa.Column("attended", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("position", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("follows", sa.Integer()))
    op.add_column("runs", sa.Column("not_before", sa.Text()))
    op.add_column("runs", sa.Column("cancel_asked", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE runs SET position = id")
    # Until now an interruption was a failure with a code of its own.
    op.execute(
        "UPDATE runs SET reason = 'interrupted' "
        "WHERE reason = 'failed' AND json_extract(problem, '$.code') = 'interrupted'"
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("owner_pid", sa.Integer(), nullable=False),
        sa.Column("owner_started", sa.Float(), nullable=False),
        sa.Column("owner_place", sa.Text(), nullable=False),
        sa.Column("beat", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("leases")
    for name in ("cancel_asked", "not_before", "follows", "held", "position", "attended", "order"):
        op.drop_column("runs", name)
