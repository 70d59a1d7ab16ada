"""Where tasks are kept: a table of tasks and one of reports as pages; images are entered beside them (`catalog`).

A worker owns a task by its lease and its attempt. Each move of a task is one UPDATE whose condition holds the state it
moves from and the attempt that moves it, so if two workers both think that a task is theirs, one of them finishes it.
An image exists when its row does, and that row is written in the transaction in which its task succeeds.

Tenants take turns. A new task gets the turn after its tenant's last waiting task, yet never an earlier one than the
first that waits at all. Tasks are taken up in the order of turns: each tenant's next task comes before anyone's second
next. Both turns are found in an index, so a new task costs no more when many wait, and neither does taking one up.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from vhdcheck.tasks import remains
from vhdcheck.tasks.catalog import Catalog, enter
from vhdcheck.tasks.paging import keys, page
from vhdcheck.tasks.remains import Remains
from vhdcheck.tasks.states import Status, before
from vhdcheck.tasks.tables import PAGES, TASKS
from vhdcheck.tasks.task import GAVE_UP, NONE, UNLIMITED, Kind, Outcome, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdcheck.tasks.database import Database
    from vhdcheck.tasks.task import Query, Quota

SORT_KEYS: Final = ("created_at", "expires_at", "id", "status", "type", "updated_at")
FILTERS: Final = ("id", "owner", "request_id", "status", "type", "user_id")
_PURE: Final = [column for column in TASKS.c if column.name not in ("lease_until", "tries", "turn")]
_AT_ONCE: Final = 500
"""Values in one statement: SQLite bounds them."""
_SUBMITTED: Final = ("id", "type", "owner", "status", "input", "message", "user_id", "request_id")


class TaskStore:
    """The tasks of all tenants."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self.database = database
        self.catalog, self.remains = Catalog(database), Remains(database)
        self._now = database.now
        self._get = sa.select(*_PURE).where(
            TASKS.c.id == sa.bindparam("id"), TASKS.c.owner == sa.bindparam("owner"), self._alive()
        )

    def create(self, task: Task, max_waiting: int) -> Task | None:
        """Store a new task, at the database's time; None if too many of its tenant's are waiting."""
        waiting = sa.and_(TASKS.c.owner == task.owner, TASKS.c.status == Status.PENDING.value)
        some = sa.select(TASKS.c.id).where(waiting).limit(max_waiting).subquery()
        last = sa.select(TASKS.c.turn).where(waiting).order_by(TASKS.c.created_at.desc(), TASKS.c.id.desc()).limit(1)
        first = sa.select(sa.func.min(TASKS.c.turn)).where(TASKS.c.status == Status.PENDING.value)
        own, others = (sa.func.coalesce(each.scalar_subquery(), -1) for each in (last, first))
        values = {
            **{name: sa.literal(getattr(task, name), TASKS.c[name].type) for name in _SUBMITTED if name != "input"},
            "input": sa.literal(json.dumps(task.input)),
            "turn": sa.case((own >= others, own + 1), else_=others),  # -1 where none wait
            "created_at": self._now,
            "updated_at": self._now,
        }
        room = sa.select(sa.func.count()).select_from(some).scalar_subquery() < max_waiting
        insert = TASKS.insert().from_select(list(values), sa.select(*values.values()).where(room))
        with self.database.writing.begin() as connection:
            row = connection.execute(insert.returning(TASKS.c.created_at)).first()
        return None if row is None else replace(task, created_at=row.created_at, updated_at=row.created_at)

    def get(self, owner: str, task_id: str) -> Task | None:
        """Find a tenant's task that has not expired."""
        with self.database.reading.connect() as connection:
            row = connection.execute(self._get, {"id": task_id, "owner": owner}).first()
        return None if row is None else _task(row)

    def report(self, owner: str, task_id: str) -> bytes | None:
        """Find the report on a tenant's task that has not expired: a page for browsers, compressed by zlib."""
        own = sa.and_(TASKS.c.id == task_id, TASKS.c.owner == owner, self._alive())
        query = sa.select(PAGES.c.page).join(TASKS, TASKS.c.id == PAGES.c.task).where(own)
        with self.database.reading.connect() as connection:
            found: bytes | None = connection.execute(query).scalar()
        return found

    def page(self, owner: str, query: Query) -> list[Task]:
        """List a tenant's tasks that have not expired, after the marker.

        Raises:
            UnknownMarker: the tenant has no such task.
        """
        own = sa.and_(TASKS.c.owner == owner, self._alive())
        order = [
            sa.func.coalesce(TASKS.c[key], 0) if key == "expires_at" else TASKS.c[key] for key in keys(query.sort_key)
        ]
        wanted = sa.select(*_PURE).where(own, *(TASKS.c[key] == value for key, value in query.filters.items()))
        with self.database.reading.connect() as connection:
            return [_task(row) for row in page(connection, wanted, order, own, query)]

    def claim(self, lease: int, count: int, max_attempts: int) -> list[Task]:
        """Take up tasks: those whose worker gave no sign of life in time, then those that wait, as it is their turn.

        Args:
            lease: microseconds that a sign of life counts.
            count: of tasks, at the most.
            max_attempts: tries after which a task is taken up no more.
        """
        lapsed = sa.and_(TASKS.c.status == Status.PROCESSING.value, TASKS.c.lease_until < self._now)
        free = (lapsed, TASKS.c.status == Status.PENDING.value)  # apart: with an OR no index would give their order
        turns = [
            sa.select(TASKS.c.id)
            .where(each, TASKS.c.tries < max_attempts)
            .order_by(TASKS.c.turn, TASKS.c.created_at)
            .limit(count)
            .with_for_update(skip_locked=True)
            .cte(name)  # or PostgreSQL runs it twice
            for name, each in zip(("lapsed", "waiting"), free, strict=True)
        ]
        first = sa.union_all(
            *(sa.select(each.c.id, sa.literal(place).label("place")) for place, each in enumerate(turns))
        )
        chosen = first.subquery()
        change = (
            TASKS.update()
            .where(TASKS.c.id.in_(sa.select(chosen.c.id).order_by(chosen.c.place).limit(count)))
            .values(
                status=Status.PROCESSING.value,
                attempt=TASKS.c.attempt + 1,
                tries=TASKS.c.tries + 1,
                lease_until=self._now + lease,
                updated_at=sa.case((TASKS.c.status == Status.PENDING.value, self._now), else_=TASKS.c.updated_at),
            )
            .returning(*_PURE)
        )
        with self.database.writing.begin() as connection:
            return [_task(row) for row in connection.execute(change)]

    def give_up(self, keep: int, max_attempts: int) -> list[str]:
        """Fail the tasks that were taken up too often, to be seen for `keep` microseconds; return their ids."""
        lapsed = sa.and_(TASKS.c.status == Status.PROCESSING.value, TASKS.c.lease_until < self._now)
        tried = sa.and_(lapsed, TASKS.c.tries >= max_attempts)
        with self.database.reading.connect() as connection:  # mostly there are none, and no one should wait for that
            if connection.execute(sa.select(TASKS.c.id).where(tried).limit(1)).first() is None:
                return []
        final = {"status": Status.FAILURE.value, "message": GAVE_UP}
        change = TASKS.update().where(tried).values(**final, updated_at=self._now, expires_at=self._now + keep)
        with self.database.writing.begin() as connection:
            return list(connection.execute(change.returning(TASKS.c.id)).scalars())

    def renew(self, tasks: Iterable[Task], lease: int) -> None:
        """Give a sign of life for the tasks that are worked on; it counts for `lease` microseconds."""
        with self.database.writing.begin() as connection:
            for task in tasks:
                connection.execute(TASKS.update().where(_owned(task)).values(lease_until=self._now + lease))

    def release(self, tasks: Iterable[Task]) -> None:
        """Give tasks back that were taken up and did not fail: that was no try."""
        with self.database.writing.begin() as connection:
            for task in tasks:
                change = TASKS.update().where(_owned(task))
                connection.execute(change.values(lease_until=0, tries=TASKS.c.tries - 1))

    def finish(self, task: Task, outcome: Outcome, keep: int, quota: Quota = UNLIMITED) -> bool:
        """Move a task to its final state, to be seen for `keep` microseconds, and enter the image that it made.

        Returns:
            False if the task is another worker's by now, or final: then nothing was changed.

        Raises:
            OverQuota: its tenant may not keep the image; nothing was changed.
        """
        change = (
            TASKS.update()
            .where(_owned(task), TASKS.c.status.in_([status.value for status in before(outcome.status)]))
            .values(
                status=outcome.status.value,
                message=outcome.message,
                updated_at=self._now,
                expires_at=self._now + keep,
                result=None if outcome.result is None else json.dumps(outcome.result),
                findings=None if outcome.findings is None else json.dumps(outcome.findings),
            )
        )
        with self.database.writing.begin() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            remains.settle(connection, task, outcome)
            if outcome.image is not None:
                remains.admit(connection, outcome.image, quota)
                enter(connection, outcome.image, self._now)
            if outcome.page is not None:
                connection.execute(PAGES.insert().values(task=task.id, page=outcome.page))
        return True

    def counts(self) -> dict[str, int]:
        """Count the tasks that are not final, by status."""
        working = [Status.PENDING.value, Status.PROCESSING.value]
        query = sa.select(TASKS.c.status, sa.func.count()).where(TASKS.c.status.in_(working)).group_by("status")
        with self.database.reading.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {status: found.get(status, 0) for status in working}

    def forget(self) -> int:
        """Delete the tasks that have expired. Their images stay."""
        with self.database.writing.begin() as connection:
            expired = TASKS.c.expires_at <= self._now
            gone = connection.execute(TASKS.delete().where(expired).returning(TASKS.c.id)).scalars().all()
            for start in range(0, len(gone), _AT_ONCE):
                connection.execute(PAGES.delete().where(PAGES.c.task.in_(gone[start : start + _AT_ONCE])))
        return len(gone)

    def _alive(self) -> sa.ColumnElement[bool]:
        return sa.or_(TASKS.c.expires_at.is_(None), TASKS.c.expires_at > self._now)


def _owned(task: Task) -> sa.ColumnElement[bool]:
    return sa.and_(TASKS.c.id == task.id, TASKS.c.status == Status.PROCESSING.value, TASKS.c.attempt == task.attempt)


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
        user_id=row.user_id,
        request_id=row.request_id,
    )
