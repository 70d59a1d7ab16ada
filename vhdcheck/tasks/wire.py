"""How requests are read and answered: bodies, parameters of lists, errors in the shape that clients survive."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.responses import Response

from vhdcheck.tasks.states import Status
from vhdcheck.tasks.store import SORT_KEYS
from vhdcheck.tasks.task import Kind, Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

MOST: Final = 1000
"""Items that a list holds at the most; a request for more is answered with 413."""
USUAL: Final = 100
LONGEST_BODY: Final = 64 << 10
UUID: Final = r"([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}"
JSON: Final = "application/json"


class Fault(Exception):  # an answer
    """An answer that is not the one hoped for."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON, in ASCII."""
    return Response(json.dumps(content), status, headers, media_type=JSON)


def refusal(fault: Fault) -> Response:
    """Answer with a fault. The status's words are in the message too: some clients show nothing else."""
    title = TITLES.get(fault.status, fault.status.phrase)
    message = f"{fault.status.value} {title}: {fault.message}"
    content = {"error": {"code": fault.status.value, "title": title, "message": message}}
    return answer(content, fault.status, fault.headers)


TITLES: Final = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Over Limit"}


async def body(request: Request) -> dict[str, Any]:
    """Read a request's JSON object.

    Raises:
        Fault: 400, 413 or 415.
    """
    sort = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if sort != JSON:
        raise Fault(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {JSON}")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > LONGEST_BODY:
            raise Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {LONGEST_BODY} bytes")
    try:
        content = json.loads(data)
        json.dumps(content, allow_nan=False)  # it is sent back one day
    except (ValueError, RecursionError):
        raise Fault(HTTPStatus.BAD_REQUEST, "The body is not JSON") from None
    if not isinstance(content, dict):
        raise Fault(HTTPStatus.BAD_REQUEST, "The body is not a JSON object")
    return content


def asked(content: dict[str, Any]) -> tuple[Kind, dict[str, Any]]:
    """Read what a new task is to do. Whether it can be done is for the task itself to say.

    Raises:
        Fault: 400.
    """
    for name in ("type", "input"):
        if name not in content:
            raise Fault(HTTPStatus.BAD_REQUEST, f"Task '{name}' is required")
    if content["type"] not in list(Kind):
        raise Fault(HTTPStatus.BAD_REQUEST, "Task 'type' must be import or export")
    if not isinstance(content["input"], dict):
        raise Fault(HTTPStatus.BAD_REQUEST, "Task 'input' must be an object")
    return Kind(content["type"]), content["input"]


def query(request: Request) -> Query:
    """Read the parameters of a list of tasks.

    Raises:
        Fault: 400, or 413 for more items than a list may hold.
    """
    given = request.query_params
    key = _one_of(given, "sort_key", SORT_KEYS, "created_at")
    direction = _one_of(given, "sort_dir", ("asc", "desc"), "desc")
    filters = {
        name: _one_of(given, name, tuple(map(str, values)), "")
        for name, values in (("type", Kind), ("status", Status))
        if name in given
    }
    return Query(limit(request), marker(request), key, direction, filters)


def limit(request: Request) -> int:
    """Read how many items are wanted.

    Raises:
        Fault: 400 or 413.
    """
    text = request.query_params.get("limit", str(USUAL))
    if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) is None:
        raise Fault(HTTPStatus.BAD_REQUEST, "limit must be an integer, 0 or more")
    if int(text) > MOST:
        raise Fault(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"limit must be at most {MOST} items")
    return int(text)


def marker(request: Request) -> str | None:
    """Read after which item to go on.

    Raises:
        Fault: 400.
    """
    text = request.query_params.get("marker")
    if text is not None and re.fullmatch(UUID, text) is None:
        raise Fault(HTTPStatus.BAD_REQUEST, "Invalid marker format")
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
        raise Fault(HTTPStatus.BAD_REQUEST, f"{name} must be one of {', '.join(allowed)}")
    return value
