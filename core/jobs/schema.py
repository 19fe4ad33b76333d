"""The run store's tables, as the newest migration leaves them; importing this imports SQLAlchemy."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, false
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A point in time, kept as ISO 8601 text in UTC, which sorts and reads well."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(str(value))


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("output", Text),
    Column("settings", JSON, nullable=False),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("finished", Moment),
    Column("phase", Text, nullable=False),
    Column("reason", Text),
    Column("problem", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("versions", JSON, nullable=False),
    # The process that will finish the run: a pid alone may have been given to another process since.
    Column("owner_pid", Integer, nullable=False),
    Column("owner_started", Float, nullable=False),
    Column("order", JSON(none_as_null=True)),
    Column("attended", Boolean, nullable=False, server_default=false()),
    # Among the queued: the lowest is next.
    Column("position", Integer, nullable=False, server_default="0"),
    Column("held", Boolean, nullable=False, server_default=false()),
    Column("follows", Integer),
    Column("not_before", Moment),
    # Asked of the process that runs it by another one.
    Column("cancel_asked", Boolean, nullable=False, server_default=false()),
    Index("runs_kind", "kind"),
    Index("runs_phase", "phase"),
    sqlite_autoincrement=True,  # a run's folder is named by its id: no id is given twice
)

run_models = Table(
    "run_models",
    metadata,
    Column("run", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("role", Text, nullable=False),
    Column("path", Text, nullable=False),
    Index("run_models_path", "path"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("run", Integer, nullable=False),
    # One queue of one process; a process may have several.
    Column("holder", Text, nullable=False),
    Column("owner_pid", Integer, nullable=False),
    Column("owner_started", Float, nullable=False),
    Column("owner_place", Text, nullable=False),
    Column("beat", Moment, nullable=False),
)
