"""What this database has begun to write and what it has given up: the only bytes that the service ever deletes.

Before a worker may write, its attempt is entered here. Where the attempt ends as an image, the entry goes in the
transaction in which the image's row comes; where it writes nothing, in the one in which its task ends. An image that
is deleted becomes an entry in the transaction in which its row goes. So at any moment each file of this service is an
image, or has an entry, or both were gone before the file was. Whatever has neither is somebody else's, and is let be.

An entry is due when no task is being worked on under its attempt. The bytes are deleted then. The entry of an attempt
stays for another day, and they are deleted once more: a worker that had stopped and runs again may still write them.

An entry of an import stands for `ID.vhd` in the image store, one of an export for the file beside in its container.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from vhdcheck.tasks.names import is_receiving_container
from vhdcheck.tasks.states import Status
from vhdcheck.tasks.tables import IMAGES, REMAINS, TASKS
from vhdcheck.tasks.task import INTERNAL, QUOTA, STORE, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdcheck.tasks.database import Database
    from vhdcheck.tasks.task import Outcome, Quota, Stored, Task

MAY_LEAVE: Final = (STORE, INTERNAL, QUOTA)
"""Messages of tasks whose worker may have left something."""
MOST: Final = 100
"""Entries that are looked at in one go."""
LINGER: Final = 24 * 3600 * 1_000_000
"""Microseconds for which the entry of an attempt stays."""


@dataclass(frozen=True, slots=True)
class Remnant:
    """Bytes to delete."""

    id: str
    owner: str
    task: str | None
    attempt: int
    container: str | None


class OverQuota(Exception):
    """One more image, or one of that size, is more than the tenant may keep."""


class Remains:
    """The entries, in the database of the tasks."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._engine, self._now = database.writing, database.now

    def begin(self, tasks: Iterable[Task]) -> None:
        """Enter the attempts that are about to write."""
        rows = [
            {
                "id": task.image_id,
                "owner": task.owner,
                "task": task.id,
                "attempt": task.attempt,
                "container": _container(task),
            }
            for task in tasks
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(REMAINS.insert().values(since=self._now), rows)

    def drop(self, owner: str, image_id: str) -> bool:
        """Delete a tenant's image: from now on it is what remains of it; False if there is no such image."""
        own = sa.and_(IMAGES.c.id == image_id, IMAGES.c.owner == owner)
        with self._engine.begin() as connection:
            if connection.execute(IMAGES.delete().where(own)).rowcount != 1:
                return False
            connection.execute(REMAINS.insert().values(id=image_id, owner=owner, since=self._now))
        return True

    def due(self) -> list[Remnant]:
        """List what can be deleted."""
        at_work = sa.exists().where(
            TASKS.c.id == REMAINS.c.task,
            TASKS.c.attempt == REMAINS.c.attempt,
            TASKS.c.status == Status.PROCESSING.value,
        )
        fresh = sa.or_(REMAINS.c.swept.is_(sa.false()), REMAINS.c.since < self._now - LINGER)
        columns = (REMAINS.c.id, REMAINS.c.owner, REMAINS.c.task, REMAINS.c.attempt, REMAINS.c.container)
        with self._engine.begin() as connection:
            # In any order: what cannot be deleted must not stand before all else for ever.
            found = connection.execute(
                sa.select(*columns).where(fresh, ~at_work).order_by(sa.func.random()).limit(MOST)
            )
            return [Remnant(*row) for row in found]

    def gone(self, remnant: Remnant) -> None:
        """Note that the bytes are deleted."""
        own = REMAINS.c.id == remnant.id
        late = sa.and_(own, REMAINS.c.since >= self._now - LINGER, REMAINS.c.task.is_not(None))
        with self._engine.begin() as connection:
            if connection.execute(REMAINS.update().where(late).values(swept=True)).rowcount == 0:
                connection.execute(REMAINS.delete().where(own))

    def again(self, image_id: str) -> None:
        """Have the bytes of an attempt deleted once more: its worker ended after that was done."""
        with self._engine.begin() as connection:
            connection.execute(REMAINS.update().where(REMAINS.c.id == image_id).values(swept=False))

    def room(self, owner: str, quota: Quota) -> int | None:
        """Tell how many bytes a tenant may still keep: 0 without another image to spare, None without a limit."""
        if not quota:
            return None
        with self._engine.begin() as connection:
            images, size = _used(connection, owner)
        if quota.images is not None and images >= quota.images:
            return 0
        return None if quota.bytes is None else max(quota.bytes - size, 0)


def admit(connection: sa.Connection, image: Stored, quota: Quota) -> None:
    """See that an image may be kept, in the transaction that enters it.

    Raises:
        OverQuota: the transaction must not be committed.
    """
    if quota:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(7865, sa.func.hashtext(image.owner))))
        images, size = _used(connection, image.owner)
        if quota.images is not None and images >= quota.images:
            raise OverQuota
        if quota.bytes is not None and size + image.size > quota.bytes:
            raise OverQuota


def settle(connection: sa.Connection, task: Task, outcome: Outcome) -> None:
    """Take the entry of an attempt out, in the transaction that ends its task; unless it may have left something."""
    if outcome.message not in MAY_LEAVE:
        connection.execute(REMAINS.delete().where(REMAINS.c.id == task.image_id))


def _used(connection: sa.Connection, owner: str) -> tuple[int, int]:
    total = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(IMAGES.c.size), 0)).where(IMAGES.c.owner == owner)
    images, size = connection.execute(total).one()
    return int(images), int(size)


def _container(task: Task) -> str | None:
    wanted = task.input.get("receiving_swift_container")
    return wanted if task.type == Kind.EXPORT and is_receiving_container(wanted) else None
