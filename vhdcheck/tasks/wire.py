"""How requests are read and answered: bodies, parameters of lists, errors in the shape that clients survive."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from vhdcheck.tasks.task import Query, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

MOST: Final = 1000
"""Items that a list holds at the most; a request for more is answered with 413."""
USUAL: Final = 100
LONGEST_BODY: Final = 64 << 10
UUID: Final = r"([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}"
JSON: Final = "application/json"


class Refusal(Exception):  # an answer
    """An answer that is not the one hoped for."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON, in ASCII."""
    return Response(json.dumps(content), status, headers, media_type=JSON)


def refusal(error: Refusal) -> Response:
    """Answer with a fault."""
    return answer(fault(error.status, error.message), error.status, error.headers)


def fault(status: HTTPStatus, message: str) -> dict[str, Any]:
    """Write a fault. The status's words are in the message too: some clients show nothing else."""
    title = TITLES.get(status, status.phrase)
    return {"error": {"code": status.value, "title": title, "message": f"{status.value} {title}: {message}"}}


TITLES: Final = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Over Limit"}


async def read(request: Request, longest: int) -> bytes:
    """Read a request's body.

    Raises:
        Refusal: 413.
    """
    pieces, length = [], 0
    async for piece in request.stream():
        length += len(piece)
        if length > longest:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {longest} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def body(request: Request) -> dict[str, Any]:
    """Read a request's JSON object.

    Raises:
        Refusal: 400, 413 or 415.
    """
    sort = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if sort != JSON:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {JSON}")
    data = await read(request, LONGEST_BODY)
    try:
        content = json.loads(data)
        json.dumps(content, allow_nan=False)  # it is sent back one day
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body is not JSON") from None
    if not isinstance(content, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "The body is not a JSON object")
    return content


def query(
    request: Request,
    sort_keys: tuple[str, ...],
    filters: tuple[str, ...],
    choices: Mapping[str, tuple[str, ...]],
    alike: Mapping[str, tuple[str, ...]] | None = None,
) -> Query:
    """Read the parameters of a list. None is passed over in silence: a filter that is not honoured finds too much.

    Args:
        request: the request.
        sort_keys: what the list can be sorted by.
        filters: by what it can be filtered.
        choices: the only values of some filters.
        alike: filters that find all items with one of these values, and none with another.

    Raises:
        Refusal: 400, or 413 for more items than a list may hold.
    """
    alike = alike or {}
    given = request.query_params
    known = {*_PARAMETERS, *filters, *alike}
    for name, value in given.multi_items():
        if name not in known:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"Unknown parameter {plain(name, 64)!r}: {', '.join(sorted(known))}")
        if len(given.getlist(name)) > 1:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"The parameter {name} is given twice")
        if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value):
            raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is no text")
    key, _, direction = given.get("sort", "").partition(":")
    key = _one_of(given if not key else {"sort": key}, "sort" if key else "sort_key", sort_keys, "created_at")
    direction = _one_of({"sort": direction} if direction else given, "sort" if direction else "sort_dir", _WAYS, "desc")
    chosen = {name: _one_of(given, name, choices[name], "") for name in choices if name in given}
    free = {name: given[name] for name in filters if name in given and name not in choices}
    if "id" in free:
        free["id"] = free["id"].lower()
    if any(name in given and given[name].lower() not in values for name, values in alike.items()):
        free["id"] = ""  # which no item has
    return Query(limit(request), marker(request), key, direction, {**free, **chosen})


_PARAMETERS: Final = ("limit", "marker", "sort", "sort_dir", "sort_key")
_WAYS: Final = ("asc", "desc")


def limit(request: Request) -> int:
    """Read how many items are wanted.

    Raises:
        Refusal: 400 or 413.
    """
    text = request.query_params.get("limit", str(USUAL))
    if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "limit must be an integer, 0 or more")
    if int(text) > MOST:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"limit must be at most {MOST} items")
    return int(text)


def marker(request: Request) -> str | None:
    """Read after which item to go on.

    Raises:
        Refusal: 400.
    """
    text = request.query_params.get("marker")
    if text is not None and re.fullmatch(UUID, text) is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Invalid marker format")
    return None if text is None else text.lower()


def pages(request: Request, ids: list[str], size: int) -> dict[str, str]:
    """Link to the first page, and to the next one if there may be one. Paths, not URLs: glanceclient wants them."""
    given = [(name, value) for name, value in request.query_params.multi_items() if name != "marker"]
    path = request.url.path
    links = {"first": f"{path}?{urlencode(given)}" if given else path}
    if ids and len(ids) == size:
        links["next"] = f"{path}?{urlencode([*given, ('marker', ids[-1])])}"
    return links


def _one_of(given: Mapping[str, str], name: str, allowed: tuple[str, ...], usual: str) -> str:
    value = given.get(name, usual)
    if value not in allowed:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} must be one of {', '.join(allowed)}")
    return value
