"""`/v2/images`: list, show."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool

from vhdcheck.tasks import wire
from vhdcheck.tasks.catalog import SORT_KEYS
from vhdcheck.tasks.paging import UnknownMarker
from vhdcheck.tasks.routes.image_bytes import ImageBytes
from vhdcheck.tasks.routes.shared import Parts, Table, plain_id
from vhdcheck.tasks.task import Stored, plain, stamp
from vhdcheck.tasks.wire import Refusal, answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

FILTERS: Final = ("id", "name", "owner")
ALIKE: Final = {
    "status": ("active",),
    "visibility": ("private", "all"),
    "disk_format": ("vhd",),
    "container_format": ("bare",),
    "os_hash_algo": ("sha256",),
    "os_hidden": ("false",),
    "protected": ("false",),
    "tag": (),
}
"""What is the same of every image: such a filter finds all of them with one of these values, else none."""


class Images:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts of the service."""
        self._parts = parts

    @property
    def table(self) -> Table:
        """Their paths."""
        stored = ImageBytes(self._parts)
        return {
            "/v2/images": {"GET": self._list},
            "/v2/images/{image_id}": {"GET": self._show, "DELETE": stored.delete},
            "/v2/images/{image_id}/file": {"GET": stored.download},
        }

    async def _show(self, request: Request) -> Response:
        caller = await self._parts.caller(request)
        wanted = request.path_params["image_id"]
        image = await run_in_threadpool(self._parts.store.catalog.image, caller.tenant, plain_id(wanted))
        if image is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"No image found with ID {plain(wanted, 64)}")
        return answer(shown(image))

    async def _list(self, request: Request) -> Response:
        caller = await self._parts.caller(request)
        query = wire.query(request, SORT_KEYS, FILTERS, {}, alike=ALIKE)
        try:
            images = await run_in_threadpool(self._parts.store.catalog.images, caller.tenant, query)
        except UnknownMarker:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"No image with the marker's id {query.marker}") from None
        links = wire.pages(request, [image.id for image in images], query.limit)
        return answer({"images": [shown(image) for image in images], **links, "schema": "/v2/schemas/images"})


def shown(image: Stored) -> dict[str, Any]:
    """Show an image as Glance does."""
    return {
        "id": image.id,
        "name": image.name,
        "status": "active",
        "visibility": "private",
        "owner": image.owner,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "disk_format": "vhd",
        "container_format": "bare",
        "os_hash_algo": "sha256",
        "os_hash_value": image.sha256,
        "created_at": stamp(image.created_at),
        "updated_at": stamp(image.created_at),
        "min_disk": -(-image.virtual_size // (1 << 30)),
        "min_ram": 0,
        "protected": False,
        "tags": [],
        "self": f"/v2/images/{image.id}",
        "schema": "/v2/schemas/image",
    }
