"""What needs no token and never changes: versions, schemas, the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from vhdcheck.tasks.openapi import document
from vhdcheck.tasks.schemas import SCHEMAS
from vhdcheck.tasks.task import plain
from vhdcheck.tasks.wire import Refusal, answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from vhdcheck.tasks.routes.shared import Table

VERSIONS: Final = {
    "versions": [{"id": "v2.2", "status": "CURRENT", "links": [{"rel": "self", "href": "/v2/"}]}],
}


async def versions(_request: Request) -> Response:
    """List the versions of the API."""
    return answer(VERSIONS)


async def _schema(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in SCHEMAS:
        raise Refusal(HTTPStatus.NOT_FOUND, f"No schema named {plain(name, 64)}")
    return answer(SCHEMAS[name])


async def _openapi(_request: Request) -> Response:
    return answer(document())


TABLE: Final[Table] = {
    "/versions": {"GET": versions},
    "/v2": {"GET": versions},
    "/v2/": {"GET": versions},
    "/v2/schemas/{name}": {"GET": _schema},
    "/openapi.json": {"GET": _openapi},
}
