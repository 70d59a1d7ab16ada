"""The bytes of images over HTTP: GET of a file, whole or a range of it, and DELETE."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse

from vhdcheck.tasks import images
from vhdcheck.tasks.blobs import NotThere
from vhdcheck.tasks.remains import Remnant
from vhdcheck.tasks.routes.shared import RETRY_AFTER, plain_id
from vhdcheck.tasks.sweep import sweep
from vhdcheck.tasks.task import plain
from vhdcheck.tasks.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

    from vhdcheck.tasks.auth import Caller
    from vhdcheck.tasks.routes.shared import Parts
    from vhdcheck.tasks.task import Stored

LOG: Final = logging.getLogger("vhdcheck.tasks")
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class ImageBytes:
    """The handlers, and what they share."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts of the service."""
        self._parts = parts

    async def download(self, request: Request) -> Response:
        """Send an image, or the range of it that is asked for. An image never changes, so its digest is its ETag."""
        caller = await self._parts.caller(request)
        image = await self._image(request, caller)
        tag = f'"{image.sha256}"'
        headers = {"Accept-Ranges": "bytes", "ETag": tag}
        wanted = request.headers.get("range", "") if request.headers.get("if-range", tag) == tag else ""
        span = _span(wanted, image.size)
        if span is None:
            raise Refusal(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                f"The image has {image.size} bytes",
                {"Content-Range": f"bytes */{image.size}"},
            )
        start, end, is_part = span
        if is_part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{image.size}"
        headers["Content-Length"] = str(end - start)
        pieces = images.of(self._parts.settings).read(image.id, start, end)
        first = await run_in_threadpool(_first, pieces)
        if first is None:
            LOG.error("an image is not in the image store", extra={"image": image.id, "tenant": image.owner})
            raise Refusal(HTTPStatus.NOT_FOUND, "Its bytes are not in the image store; tell the operator its id")
        status = HTTPStatus.PARTIAL_CONTENT if is_part else HTTPStatus.OK
        body = iterate_in_threadpool(_after(first, pieces))
        return StreamingResponse(body, status, headers, media_type="application/octet-stream")

    async def delete(self, request: Request) -> Response:
        """Delete an image. Once its row is gone it is gone; what then remains of it is deleted, if need be later."""
        caller = await self._parts.caller(request)
        if not caller.may_create:
            raise Refusal(HTTPStatus.FORBIDDEN, "Your role may not delete images")
        image = await self._image(request, caller)
        if not await run_in_threadpool(self._parts.store.remains.drop, caller.tenant, image.id):
            raise _missing(image.id)
        LOG.info("deleted", extra={"image": image.id, "tenant": image.owner, "request": request.state.id})
        remnant = Remnant(image.id, image.owner, None, 0, None)
        await run_in_threadpool(sweep, [remnant], self._parts.store.remains, self._parts.settings)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _image(self, request: Request, caller: Caller) -> Stored:
        wanted = request.path_params["image_id"]
        image = await run_in_threadpool(self._parts.store.catalog.image, caller.tenant, plain_id(wanted))
        if image is None:
            raise _missing(wanted)
        return image


def _missing(wanted: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, f"No image found with ID {plain(wanted, 64)}")


def _span(wanted: str, size: int) -> tuple[int, int, bool] | None:
    """Read a Range header: first byte, the one after the last, and whether it is one range; None: it has no bytes.

    What is not understood asks for all. So does more than one range, which no client of images needs.

    Examples:
        >>> _span("bytes=0-9", 100), _span("bytes=90-", 100), _span("bytes=-10", 100), _span("bytes=0-999", 100)
        ((0, 10, True), (90, 100, True), (90, 100, True), (0, 100, True))
        >>> _span("", 100), _span("bytes=0-1,5-6", 100), _span("bytes=9-1", 100), _span("bytes=100-", 100)
        ((0, 100, False), (0, 100, False), (0, 100, False), None)
    """
    match = _RANGE.fullmatch(wanted)
    first, last = match.groups() if match else ("", "")
    if first == "" == last or (first and last and int(last) < int(first)):
        return 0, size, False
    if first == "":
        return (size - min(int(last), size), size, True) if int(last) else None
    return (int(first), min(int(last) + 1, size) if last else size, True) if int(first) < size else None


def _first(pieces: Iterator[bytes]) -> bytes | None:
    """Take the first piece; None where there is no such image.

    Raises:
        Refusal: 503.
    """
    try:
        return next(pieces, b"")
    except NotThere:
        return None
    except OSError as error:
        LOG.error("the image store cannot be read", extra={"reason": str(error)})  # noqa: TRY400 (no trace)
        patience = {"Retry-After": RETRY_AFTER}
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The image store cannot be read", patience) from error


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces
