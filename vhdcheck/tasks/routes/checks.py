"""`/v2/checks`: judge an image that stays where it is, by the bytes that the plan asks for.

The client drives, and the service keeps nothing between two requests. The body holds all bytes that were asked for so
far, in that order, without anything between them: at first none. The plan is run anew on them. Where it asks for more
than there is, the answer says which bytes to send besides. Where it comes to its end, the answer is the report.

The plan decides by the bytes alone, so it asks for the same again in the next request. That is why no request says
which spans it holds, and why bytes that nobody asked for are refused.

Whoever may ask holds little: a body has at most `LONGEST` bytes, all bodies together have `ROOM`, one has to come
within `SECONDS`, and one is examined at a time. How often a plan asks is bounded by the plan.
"""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse

from vhdcheck.engine.check import UNLIMITED, examine, resolve
from vhdcheck.engine.stray import MOST
from vhdcheck.format.layout import BATMAP_HEADER_SIZE, FOOTER_SIZE, HEADER_SIZE
from vhdcheck.format.limits import END, MAX_BATMAP, MAX_LOCATOR, SEARCH, TABLE_PIECE
from vhdcheck.report import written
from vhdcheck.report.context import Context
from vhdcheck.report.formats import text
from vhdcheck.report.formats.json import one
from vhdcheck.tasks.routes.shared import RETRY_AFTER, Parts, Table
from vhdcheck.tasks.task import plain
from vhdcheck.tasks.wire import Refusal, answer
from vhdcheck.units import SECTOR
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from vhdcheck.format.span import Span
    from vhdcheck.targets import Target

LOG: Final = logging.getLogger("vhdcheck.tasks")
NAME: Final = "image.vhd"
"""What a report calls the image, and its commands, too: its name is not asked for."""
FORMATS: Final = ("json", "text")
LONGEST: Final = (
    (2 * END + HEADER_SIZE)  # both ends, and a header behind them
    + (2 * SEARCH + MOST * FOOTER_SIZE + SECTOR)  # a footer that is not at the end, dead space, a volume's mark
    + (TABLE_PIECE + SECTOR)  # the table: more would cost memory, and no tool writes more
    + 2 * (BATMAP_HEADER_SIZE + MAX_BATMAP)  # the batmap, where it should be and where it says that it is
    + 8 * MAX_LOCATOR
)
"""Bytes that a check takes. A plan asks for more only where a table is longer than 8 MiB."""
TOO_MUCH: Final = f"A check here takes at most {LONGEST} bytes of an image: use python -m vhdcheck where the image is"
ROOM: Final = 2 * LONGEST
"""Bytes of all bodies that are held at one time."""
SECONDS: Final = 120
"""In which a body has to come."""


class Checks:
    """The handlers."""

    def __init__(self, parts: Parts, *, is_open: bool) -> None:
        """Take the parts of the service, and whether checks need no token."""
        self._parts, self.is_open = parts, is_open
        settings = parts.settings
        self._target = resolve(settings.target, settings.max_virtual_size, settings.max_physical_size)
        self._one = asyncio.Lock()
        self._held = 0

    @property
    def table(self) -> Table:
        """Their paths."""
        return {"/v2/checks": {"POST": self._check}}

    async def _check(self, request: Request) -> Response:
        if not self.is_open:
            await self._parts.caller(request)
        size, form = asked(request)
        outcome = await self.outcome(request, size)
        if isinstance(outcome, Report):
            return PlainTextResponse(_as_text(outcome)) if form == "text" else answer({"report": one(outcome)})
        if form == "text":
            return PlainTextResponse("".join(f"wanted {span.offset} {span.length}\n" for span in outcome))
        return answer(wanted(outcome))

    async def outcome(self, request: Request, size: int, *, with_map: bool = False) -> Report | Sequence[Span]:
        """Judge an image by a request's body: the report, or what to send besides.

        Raises:
            Refusal: 400, 408, 413 or 503.
        """
        async with self._body(request) as body, self._one:
            found = await run_in_threadpool(judged, body, size, self._target, with_map=with_map)
        if isinstance(found, Report):
            verdict = found.message or "accepted"
            LOG.info("checked", extra={"request": request.state.id, "bytes": found.bytes_read, "reason": verdict})
        return found

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytearray]:
        """Read a body, and hold it."""
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(SECONDS):
                    async for piece in request.stream():
                        body += piece
                        self._held += len(piece)
                        self._refuse_more(len(body))
            except TimeoutError:
                raise Refusal(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come in {SECONDS} seconds") from None
            yield body
        finally:
            self._held -= len(body)

    def _refuse_more(self, length: int) -> None:
        if length > LONGEST:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_MUCH)
        if self._held > ROOM:
            patience = {"Retry-After": RETRY_AFTER}
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Too many checks are under way", patience)


def asked(request: Request) -> tuple[int, str]:
    """Read the image's length and the form of the report.

    Raises:
        Refusal: 400.
    """
    given = request.query_params
    for name, _ in given.multi_items():
        if name not in ("size", "format") or len(given.getlist(name)) > 1:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"A check has one size and one format, not {plain(name, 64)!r}")
    size, form = given.get("size", ""), given.get("format", "json")
    if re.fullmatch("[0-9]{1,19}", size, re.ASCII) is None or int(size) >= UNLIMITED:
        raise Refusal(HTTPStatus.BAD_REQUEST, "size must be the image's length in bytes")
    if form not in FORMATS:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"format must be one of {', '.join(FORMATS)}")
    return int(size), form


def wanted(spans: Sequence[Span]) -> dict[str, list[dict[str, int]]]:
    """Say which bytes to send besides."""
    return {"wanted": [{"offset": span.offset, "length": span.length} for span in spans]}


def judged(body: bytearray, size: int, target: Target, *, with_map: bool) -> Report | Sequence[Span]:
    """Run the plan on what was sent: the report, or what it wants besides.

    Raises:
        Refusal: 400, or 413 for an image of which a check would take too much.
    """
    try:
        return examine(_Sent(body, size), target, allocation=with_map)
    except _Wanted as more:
        if len(body) + sum(span.length for span in more.spans) > LONGEST:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_MUCH) from None
        return more.spans


class _Wanted(Exception):  # an answer
    """The plan asks for bytes that were not sent yet."""

    def __init__(self, spans: Sequence[Span]) -> None:
        super().__init__()
        self.spans = spans


class _Sent:
    """A driver that has what was sent, in the order in which it was asked for."""

    name = NAME

    def __init__(self, body: bytearray, size: int) -> None:
        self.size = size
        self._left = memoryview(body)

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Take the next bytes of the body.

        Raises:
            _Wanted: there are none.
            Refusal: 400, where there are too few.
        """
        if not self._left:
            raise _Wanted(spans)
        missing = sum(span.length for span in spans) - len(self._left)
        if missing > 0:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The body ends {missing} bytes before the end of what was asked for")
        return [self._next(span.length) for span in spans]

    def _next(self, length: int) -> bytes:
        taken, self._left = bytes(self._left[:length]), self._left[length:]
        return taken

    def verify(self) -> None:
        """See that no more was sent than was asked for.

        Raises:
            Refusal: 400.
        """
        if self._left:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The body has {len(self._left)} bytes that nobody asked for")


def _as_text(report: Report) -> str:
    context = Context(report.target)
    context.results.add(report)
    return written(text, [report], context)
