"""Pages of a long list: after a marker, by keys that no two rows share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.tasks.task import Query


class UnknownMarker(Exception):
    """A page was asked for after an item that this tenant does not have."""


def keys(sort_key: str) -> list[str]:
    """Name the columns that an order needs to be that of a list without ties: the last one is the `id`."""
    names = list(dict.fromkeys((sort_key, "created_at", "id")))
    return names[: names.index("id") + 1]


def page(
    connection: sa.Connection,
    wanted: sa.Select[Any],
    order: Sequence[sa.ColumnElement[Any]],
    own: sa.ColumnElement[bool],
    query: Query,
) -> Sequence[sa.Row[Any]]:
    """Read one page.

    Args:
        connection: to the database.
        wanted: the rows of all pages.
        order: what they are sorted by; the last one is the `id`.
        own: which rows the marker may be one of.
        query: limit, marker and direction.

    Raises:
        UnknownMarker: the marker is none of `own`.
    """
    downwards = query.sort_dir == "desc"
    wanted = wanted.order_by(*(key.desc() if downwards else key.asc() for key in order))
    if query.marker is not None:
        last = connection.execute(sa.select(*order).where(own, order[-1] == query.marker)).first()
        if last is None:
            raise UnknownMarker
        here, there = sa.tuple_(*order), sa.tuple_(*(sa.literal(value) for value in last))
        wanted = wanted.where(here < there if downwards else here > there)
    return connection.execute(wanted.limit(query.limit)).all()
