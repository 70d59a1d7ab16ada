"""Whose an image store is, and what is deleted in it.

A mark in the store holds the ID of the database whose images these are. A server that finds another's mark does not
start. Where there is no mark, the store must be new: an empty one, for a database without images; or one that holds
images of this database, which a version without marks has made. What else lacks a mark is a folder that somebody
mistyped, or the mount point of a disk that is not there.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from vhdcheck.errors import UsageError
from vhdcheck.redaction import redacted
from vhdcheck.tasks import images, objects
from vhdcheck.tasks.images import MARK, SUFFIX
from vhdcheck.tasks.objects import Try

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdcheck.tasks.images import Images
    from vhdcheck.tasks.remains import Remains, Remnant
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.store import TaskStore

PATIENCE: Final = 3
"""Failures after which the store is taken to be away."""
LOG: Final = logging.getLogger("vhdcheck.tasks")


def mark(store: Images, place: str, tasks: TaskStore) -> None:
    """See that an image store is this database's, and mark it.

    Raises:
        UsageError: it is another's, or nobody can say whose.
    """
    own, found = tasks.database.id, store.marked()
    if found is None:
        names = store.names()
        known = tasks.catalog.known({name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)})
        if known or (not names and tasks.catalog.is_empty()):
            store.mark(own, known)
            found = store.marked()
    if found == own:
        return
    shown = redacted(place)
    if found is None:
        names = store.names()
        why = (
            f"holds {len(names)} files, none of which is an image of this database"
            if names
            else "is empty, and this database has images: a disk may not be mounted"
        )
    else:
        why = f"belongs to another database, {found[:64]!r}"
    raise UsageError(
        f"the image store {shown} {why}. Give --images an empty place or the right one, or --database the database that"
        f" these images belong to. If both are right all the same, write this database's ID, {own}, into {shown}/{MARK}"
    )


def sweep(due: Iterable[Remnant], remains: Remains, settings: Settings) -> bool:
    """Delete remnants, and say whether all are gone.

    What cannot be deleted now is tried again later; after a few failures, the rest too.
    """
    store, failures = images.of(settings), 0
    for each in due:
        whose = {"image": each.id, **({"task": each.task} if each.task else {})}
        try:
            if each.container is None:
                store.delete(each.id)
            elif each.task is not None:
                own = Try(each.task, each.attempt, lambda: True)
                objects.of(settings.objects_place, each.owner).discard(each.container, own)
            remains.gone(each)
            LOG.info("deleted what remained", extra=whose)
        except Exception:
            LOG.exception("what remains could not be deleted", extra=whose)
            failures += 1
            if failures == PATIENCE:
                break
    return failures == 0
