"""Runs, and the models that take part in them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("output", sa.Text()),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("started", sa.Text()),
        sa.Column("finished", sa.Text()),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("problem", sa.JSON()),
        sa.Column("result", sa.JSON()),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("owner_pid", sa.Integer(), nullable=False),
        sa.Column("owner_started", sa.Float(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("runs_kind", "runs", ["kind"])
    op.create_index("runs_phase", "runs", ["phase"])
    op.create_table(
        "run_models",
        sa.Column("run", sa.Integer(), sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
    )
    op.create_index("run_models_path", "run_models", ["path"])


def downgrade() -> None:
    op.drop_table("run_models")
    op.drop_table("runs")
