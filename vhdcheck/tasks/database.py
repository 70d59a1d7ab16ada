"""The database: connections, its clock, and its tables, brought up to date when it is opened.

Every time that is stored or compared comes from the database's own clock, so that servers whose clocks differ agree on
leases and on what has expired. (SQLite is a file and has no other clock than that of its server.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from vhdcheck.errors import UsageError
from vhdcheck.redaction import hidden, masked, redacted
from vhdcheck.tasks.tables import ABOUT

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.engine import URL

CONNECTIONS: Final = 20
BUSY: Final = 30
"""Seconds to wait for another process that writes to the same SQLite file."""
PATIENCE: Final = 10
"""Seconds to wait for PostgreSQL to accept a connection."""
_CLOCKS: Final = {
    # Stable in a statement, so that an index can be searched for it; the time of a transaction would be its start's.
    "postgresql": "CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS bigint)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000 AS integer)",
}


class Database:
    """A database whose tables are those of this program."""

    def __init__(self, url: str, clock: sa.ColumnElement[int] | None = None) -> None:
        """Connect, and bring the tables up to date.

        Args:
            url: of SQLAlchemy: `sqlite:///PATH`, or `postgresql://...`.
            clock: instead of the database's own, for tests.

        Raises:
            UsageError: no such database, it does not answer, or a newer program has changed its tables.
        """
        place = _place(url)
        self.is_sqlite = place.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_pre_ping": not self.is_sqlite}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY, "check_same_thread": False}
            options["poolclass"] = sa.QueuePool
        else:
            options["connect_args"] = {"connect_timeout": PATIENCE}
        try:
            self.writing = sa.create_engine(place, **options)
        except ModuleNotFoundError as error:
            raise UsageError(f"{error.name} is missing: install vhdcheck with its extra postgresql") from error
        if self.is_sqlite:
            sa.event.listen(self.writing, "connect", _prepare)
            sa.event.listen(self.writing, "begin", _begin)
        self.reading = self.writing.execution_options(isolation_level="AUTOCOMMIT")
        self.now: sa.ColumnElement[int]
        self.now = sa.literal_column(_CLOCKS[place.get_backend_name()], sa.BigInteger) if clock is None else clock
        try:
            self._open(url)
        except BaseException:
            self.close()
            raise

    def _open(self, url: str) -> None:
        """Bring the tables up to date, and read which database this is."""
        try:
            with self.writing.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.text("SELECT pg_advisory_xact_lock(7864)"))  # two servers may start at once
                _upgrade(connection, redacted(url))
                about = sa.select(ABOUT.c.value).where(ABOUT.c.name == "id")
                self.id = str(connection.execute(about).scalar_one())
                """What tells it from other databases; made with its tables."""
        except SQLAlchemyError as error:
            raise UsageError(f"{redacted(url)}: {masked(_reason(error), hidden(url))}") from None

    def close(self) -> None:
        """Close the connections."""
        self.writing.dispose()

    def write(self) -> None:
        """Prove that it can be written, and that what is written reaches the disk."""
        moment = sa.cast(self.now, sa.Text)
        with self.writing.begin() as connection:
            connection.execute(ABOUT.update().where(ABOUT.c.name == "written").values(value=moment))


def _place(url: str) -> URL:
    try:
        place = sa.make_url(url)
    except (ArgumentError, ValueError):
        raise UsageError(
            "database: not a URL such as sqlite:////var/lib/tasks.sqlite or postgresql://HOST/NAME"
        ) from None
    try:
        backend = place.get_backend_name()
        if backend not in _CLOCKS:
            raise UsageError(f"database: {backend} is not supported: postgresql or sqlite")
        return place.set(drivername="postgresql+psycopg") if place.drivername == "postgresql" else place
    except NoSuchModuleError:
        raise UsageError(f"database: {place.drivername} is not supported: postgresql or sqlite") from None


def _reason(error: SQLAlchemyError) -> str:
    """Take the driver's own words, without the statement and the link that SQLAlchemy adds."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _upgrade(connection: sa.Connection, name: str) -> None:
    """Run the migrations that are due.

    Raises:
        UsageError: the tables are of a version that this program does not know.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "vhdcheck.tasks:migrations")
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    version = MigrationContext.configure(connection).get_current_revision()
    if version == scripts.get_current_head():
        return
    if version is not None and version not in {script.revision for script in scripts.walk_revisions()}:
        raise UsageError(
            f"{name}: its tables have version {version}, and this program knows up to {scripts.get_current_head()}."
            " Upgrade vhdcheck on this machine"
        )
    if version is None and sa.inspect(connection).has_table("tasks"):
        command.stamp(config, "1")
    command.upgrade(config, "head")


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set a new connection to SQLite up."""
    connection.isolation_level = None  # transactions are begun below, as writing ones
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    """Begin as a writer: a reader that becomes one fails at once where another writes."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
