"""The images that were imported, as rows. Their bytes are in the image store (`images`)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from vhdcheck.tasks.paging import keys, page
from vhdcheck.tasks.tables import IMAGES
from vhdcheck.tasks.task import Stored

if TYPE_CHECKING:
    from vhdcheck.tasks.database import Database
    from vhdcheck.tasks.task import Query

SORT_KEYS: Final = ("created_at", "id", "name", "size", "updated_at", "virtual_size")


class Catalog:
    """The images of all tenants."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    def image(self, owner: str, wanted: str) -> Stored | None:
        """Find a tenant's image."""
        query = sa.select(IMAGES).where(IMAGES.c.id == wanted, IMAGES.c.owner == owner)
        with self._database.reading.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _image(row)

    def images(self, owner: str, query: Query) -> list[Stored]:
        """List a tenant's images after the marker.

        Raises:
            UnknownMarker: the tenant has no such image.
        """
        own = IMAGES.c.owner == owner
        filters = {**query.filters, **({"name": json.dumps(query.filters["name"])} if "name" in query.filters else {})}
        wanted = sa.select(IMAGES).where(own, *(IMAGES.c[key] == value for key, value in filters.items()))
        order = [IMAGES.c[key] for key in keys("created_at" if query.sort_key == "updated_at" else query.sort_key)]
        with self._database.reading.connect() as connection:
            return [_image(row) for row in page(connection, wanted, order, own, query)]

    def known(self, ids: set[str]) -> set[str]:
        """Tell which of these are images of any tenant's."""
        with self._database.reading.connect() as connection:
            return ids.intersection(connection.execute(sa.select(IMAGES.c.id)).scalars())

    def is_empty(self) -> bool:
        """Say whether no tenant has any image."""
        with self._database.reading.connect() as connection:
            return connection.execute(sa.select(IMAGES.c.id).limit(1)).first() is None


def enter(connection: sa.Connection, image: Stored, moment: sa.ColumnElement[int]) -> None:
    """Enter an image, in the transaction in which its task succeeds."""
    values = {column.name: getattr(image, column.name) for column in IMAGES.c}
    connection.execute(IMAGES.insert().values({**values, "name": json.dumps(image.name), "created_at": moment}))


def _image(row: sa.Row[Any]) -> Stored:
    return Stored(**{**row._asdict(), "name": _printable(json.loads(row.name))})


def _printable(name: str | None) -> str | None:
    """Replace halves of surrogate pairs, which older versions let in: no client can print them."""
    return None if name is None else name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
