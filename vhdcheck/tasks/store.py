"""Where tasks are kept: a table of tasks, one of images, one of reports as pages, in SQLite or PostgreSQL.

A worker owns a task by its lease and its attempt. Each move of a task is one UPDATE whose condition holds the state it
moves from and the attempt that moves it, so of two workers that believe to own a task one finishes it. An image exists
when its row does, and that row is written in the transaction in which its task succeeds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from vhdcheck.tasks.states import Status, before
from vhdcheck.tasks.task import GAVE_UP, NONE, Kind, Outcome, Stored, Task

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from vhdcheck.tasks.task import Query

CONNECTIONS: Final = 20
BUSY: Final = 30
"""Seconds to wait for another process that writes to the same SQLite file."""
SORT_KEYS: Final = ("created_at", "expires_at", "id", "status", "type", "updated_at")

_META = sa.MetaData()
_TASKS = sa.Table(
    "tasks",
    _META,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("type", sa.String(10), nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("updated_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("result", sa.Text),
    sa.Column("findings", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("tasks_by_time", "owner", "created_at", "id"),
    sa.Index("tasks_by_status", "owner", "status", "created_at", "id"),
    sa.Index("tasks_to_do", "status", "created_at"),
    sa.Index("tasks_to_forget", "expires_at"),
)
_IMAGES = sa.Table(
    "images",
    _META,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # as JSON: PostgreSQL takes no NUL, UTF-8 no half of a pair
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("virtual_size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Index("images_by_time", "owner", "created_at", "id"),
)
_PAGES = sa.Table(
    "pages",  # apart from the tasks, which are read often and whole
    _META,
    sa.Column("task", sa.String(36), primary_key=True),
    sa.Column("page", sa.LargeBinary, nullable=False),
)
_PURE = [column for column in _TASKS.c if column.name != "lease_until"]


class UnknownMarker(Exception):  # the caller's word, not a failure
    """A page was asked for after a task that this tenant does not have."""


class TaskStore:
    """The tasks and images of all tenants."""

    def __init__(self, url: str) -> None:
        """Connect, and make the tables where there are none.

        Args:
            url: of SQLAlchemy: `sqlite:///PATH`, or `postgresql+psycopg://...`.
        """
        place = sa.make_url(url)
        self.is_sqlite = place.get_backend_name() == "sqlite"
        if place.drivername == "postgresql":
            place = place.set(drivername="postgresql+psycopg")
        options: dict[str, Any] = {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_pre_ping": not self.is_sqlite}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": BUSY, "check_same_thread": False}
            options["poolclass"] = sa.QueuePool
        self._engine = sa.create_engine(place, **options)
        if self.is_sqlite:
            sa.event.listen(self._engine, "connect", _prepare)
            sa.event.listen(self._engine, "begin", _begin)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._engine.begin() as connection:
            if not self.is_sqlite:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7864)"))  # two servers may start at once
            _META.create_all(connection)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def create(self, task: Task, max_waiting: int) -> bool:
        """Store a new task, unless too many are waiting."""
        waiting = sa.select(sa.func.count()).where(_TASKS.c.status == Status.PENDING).scalar_subquery()
        values = {
            "id": task.id,
            "type": task.type.value,
            "owner": task.owner,
            "status": task.status.value,
            "created_at": task.created_at,
            "updated_at": task.updated_at,
            "input": json.dumps(task.input),
            "message": task.message,
        }
        chosen = sa.select(*(sa.literal(value) for value in values.values())).where(waiting < max_waiting)
        with self._engine.begin() as connection:
            stored = _TASKS.insert().from_select(list(values), chosen).returning(_TASKS.c.id)
            return connection.execute(stored).first() is not None

    def get(self, owner: str, task_id: str, now: int) -> Task | None:
        """Find a tenant's task that has not expired."""
        with self._reading.connect() as connection:
            row = connection.execute(_GET, {"id": task_id, "owner": owner, "now": now}).first()
        return None if row is None else _task(row)

    def report(self, owner: str, task_id: str, now: int) -> bytes | None:
        """Find the report on a tenant's task that has not expired: a page for browsers, compressed by zlib."""
        own = sa.and_(_TASKS.c.id == task_id, _TASKS.c.owner == owner, _alive(now))
        query = sa.select(_PAGES.c.page).join(_TASKS, _TASKS.c.id == _PAGES.c.task).where(own)
        with self._reading.connect() as connection:
            page: bytes | None = connection.execute(query).scalar()
        return page

    def page(self, owner: str, query: Query, now: int) -> list[Task]:
        """List a tenant's tasks that have not expired, after the marker.

        Raises:
            UnknownMarker: the tenant has no such task.
        """
        own = sa.and_(_TASKS.c.owner == owner, _alive(now))
        names = list(dict.fromkeys((query.sort_key, "created_at", "id")))
        keys = [sa.func.coalesce(_TASKS.c[name], 0) if name == "expires_at" else _TASKS.c[name] for name in names]
        wanted = sa.select(*_PURE).where(own, *(_TASKS.c[key] == value for key, value in query.filters.items()))
        wanted = wanted.order_by(*(key.desc() if query.sort_dir == "desc" else key.asc() for key in keys))
        with self._reading.connect() as connection:
            if query.marker is not None:
                last = connection.execute(sa.select(*keys).where(own, _TASKS.c.id == query.marker)).first()
                if last is None:
                    raise UnknownMarker
                here, there = sa.tuple_(*keys), sa.tuple_(*(sa.literal(value) for value in last))
                wanted = wanted.where(here < there if query.sort_dir == "desc" else here > there)
            return [_task(row) for row in connection.execute(wanted.limit(query.limit))]

    def claim(self, now: int, lease_until: int, count: int, max_attempts: int) -> list[Task]:
        """Take up tasks: those that wait, oldest first, and those whose worker gave no sign of life in time."""
        free = sa.or_(
            _TASKS.c.status == Status.PENDING.value,
            sa.and_(_TASKS.c.status == Status.PROCESSING.value, _TASKS.c.lease_until < now),
        )
        oldest = sa.select(_TASKS.c.id).where(free, _TASKS.c.attempt < max_attempts).order_by(_TASKS.c.created_at)
        locked = oldest.limit(count).with_for_update(skip_locked=True).cte("oldest")  # or PostgreSQL runs it twice
        change = (
            _TASKS.update()
            .where(_TASKS.c.id.in_(sa.select(locked.c.id)))
            .values(
                status=Status.PROCESSING.value,
                attempt=_TASKS.c.attempt + 1,
                lease_until=lease_until,
                updated_at=sa.case((_TASKS.c.status == Status.PENDING.value, now), else_=_TASKS.c.updated_at),
            )
            .returning(*_PURE)
        )
        with self._engine.begin() as connection:
            return [_task(row) for row in connection.execute(change)]

    def give_up(self, now: int, expires_at: int, max_attempts: int) -> list[str]:
        """Fail the tasks that were taken up too often; return their ids."""
        change = (
            _TASKS.update()
            .where(
                _TASKS.c.status.in_(_names(before(Status.FAILURE))),
                _TASKS.c.attempt >= max_attempts,
                _TASKS.c.lease_until < now,
            )
            .values(status=Status.FAILURE.value, message=GAVE_UP, updated_at=now, expires_at=expires_at)
            .returning(_TASKS.c.id)
        )
        with self._engine.begin() as connection:
            return list(connection.execute(change).scalars())

    def renew(self, tasks: Iterable[Task], lease_until: int) -> None:
        """Give a sign of life for the tasks that are worked on; one that is 0 gives them back."""
        with self._engine.begin() as connection:
            for task in tasks:
                connection.execute(_TASKS.update().where(_owned(task)).values(lease_until=lease_until))

    def finish(self, task: Task, outcome: Outcome, now: int, expires_at: int) -> bool:
        """Move a task to its final state, and enter the image that it made.

        Returns:
            False if the task is another worker's by now, or final: then nothing was changed.
        """
        change = (
            _TASKS.update()
            .where(_owned(task), _TASKS.c.status.in_(_names(before(outcome.status))))
            .values(
                status=outcome.status.value,
                message=outcome.message,
                updated_at=now,
                expires_at=expires_at,
                result=None if outcome.result is None else json.dumps(outcome.result),
                findings=None if outcome.findings is None else json.dumps(outcome.findings),
            )
        )
        with self._engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            if (image := outcome.image) is not None:
                values = {column.name: getattr(image, column.name) for column in _IMAGES.c}
                connection.execute(_IMAGES.insert().values({**values, "name": json.dumps(image.name)}))
            if outcome.page is not None:
                connection.execute(_PAGES.insert().values(task=task.id, page=outcome.page))
        return True

    def image(self, owner: str, image_id: str) -> Stored | None:
        """Find a tenant's image."""
        query = sa.select(_IMAGES).where(_IMAGES.c.id == image_id, _IMAGES.c.owner == owner)
        with self._reading.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _image(row)

    def images(self, owner: str, limit: int, marker: str | None) -> list[Stored]:
        """List a tenant's images after the marker, the newest first.

        Raises:
            UnknownMarker: the tenant has no such image.
        """
        key = sa.tuple_(_IMAGES.c.created_at, _IMAGES.c.id)
        query = sa.select(_IMAGES).where(_IMAGES.c.owner == owner)
        if marker is not None:
            last = self.image(owner, marker)
            if last is None:
                raise UnknownMarker
            query = query.where(key < sa.tuple_(sa.literal(last.created_at), sa.literal(last.id)))
        query = query.order_by(_IMAGES.c.created_at.desc(), _IMAGES.c.id.desc()).limit(limit)
        with self._reading.connect() as connection:
            return [_image(row) for row in connection.execute(query)]

    def wanted_images(self) -> set[str]:
        """List the images that are, and those that are being made."""
        making = sa.select(*_PURE).where(_TASKS.c.status == Status.PROCESSING.value)
        with self._engine.begin() as connection:
            tasks = [_task(row) for row in connection.execute(making)]
            return {*connection.execute(sa.select(_IMAGES.c.id)).scalars(), *(task.image_id for task in tasks)}

    def counts(self) -> dict[str, int]:
        """Count the tasks that are not final, by status."""
        working = [Status.PENDING.value, Status.PROCESSING.value]
        query = sa.select(_TASKS.c.status, sa.func.count()).where(_TASKS.c.status.in_(working)).group_by("status")
        with self._reading.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {status: found.get(status, 0) for status in working}

    def forget(self, now: int) -> int:
        """Delete the tasks that have expired. Their images stay."""
        with self._engine.begin() as connection:
            expired = _TASKS.c.expires_at <= now
            connection.execute(_PAGES.delete().where(_PAGES.c.task.in_(sa.select(_TASKS.c.id).where(expired))))
            return connection.execute(_TASKS.delete().where(expired)).rowcount


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set a new connection to SQLite up."""
    connection.isolation_level = None  # transactions are begun below, as writing ones
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    """Begin as a writer: a reader that becomes one fails at once where another writes."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _alive(now: int | sa.BindParameter[int]) -> sa.ColumnElement[bool]:
    return sa.or_(_TASKS.c.expires_at.is_(None), _TASKS.c.expires_at > now)


def _owned(task: Task) -> sa.ColumnElement[bool]:
    return sa.and_(_TASKS.c.id == task.id, _TASKS.c.status == Status.PROCESSING.value, _TASKS.c.attempt == task.attempt)


def _names(statuses: list[Status]) -> list[str]:
    return [status.value for status in statuses]


def _task(row: sa.Row[Any]) -> Task:
    return Task(
        id=row.id,
        type=Kind(row.type),
        owner=row.owner,
        input=json.loads(row.input),
        created_at=row.created_at,
        updated_at=row.updated_at,
        status=Status(row.status),
        expires_at=row.expires_at,
        message=row.message or NONE,
        result=None if row.result is None else json.loads(row.result),
        findings=None if row.findings is None else json.loads(row.findings),
        attempt=row.attempt,
    )


def _image(row: sa.Row[Any]) -> Stored:
    return Stored(**{**row._asdict(), "name": json.loads(row.name)})


# Clients that wait for a task ask for this again and again, and to build it takes as long as to run it.
_GET: Final = sa.select(*_PURE).where(
    _TASKS.c.id == sa.bindparam("id"),
    _TASKS.c.owner == sa.bindparam("owner"),
    _alive(sa.bindparam("now", type_=sa.BigInteger)),
)
