"""The service over HTTP: an ASGI application.

Starlette rather than FastAPI: the answers are dictionaries made for clients that are particular about them, so models
would only copy them; and FastAPI's own 422 has no place in this API.
"""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from vhdcheck.tasks import page, wire
from vhdcheck.tasks.auth import Unavailable
from vhdcheck.tasks.database import CONNECTIONS
from vhdcheck.tasks.openapi import document
from vhdcheck.tasks.paging import UnknownMarker
from vhdcheck.tasks.schemas import SCHEMAS
from vhdcheck.tasks.task import Query, Stored, brief, full, new, stamp
from vhdcheck.tasks.wire import Fault, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    from starlette.requests import Request

    from vhdcheck.tasks.auth import Auth, Caller
    from vhdcheck.tasks.observe import Metrics
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.store import TaskStore
    from vhdcheck.tasks.worker import Dispatcher

    Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

LOG: Final = logging.getLogger("vhdcheck.tasks")
RETRY_AFTER: Final = "5"
"""Seconds after which to try again, for a service that is overloaded or that has lost its database."""
VERSIONS: Final = {
    "versions": [{"id": "v2.2", "status": "CURRENT", "links": [{"rel": "self", "href": "/v2/"}]}],
}


class Service:
    """The handlers, and what they share."""

    def __init__(
        self, settings: Settings, store: TaskStore, auth: Auth, dispatcher: Dispatcher, metrics: Metrics
    ) -> None:
        self._settings, self._store, self._auth = settings, store, auth
        self._dispatcher, self._metrics = dispatcher, metrics
        self._page = page.Page(store, auth)

    def application(self) -> Starlette:
        """Make the application; its lifespan starts and stops the dispatcher."""
        table: dict[str, dict[str, Handler]] = {
            "/": {"GET": self._root},
            "/tasks/{task_id}/report": {"GET": self._page.report},
            "/session": {"POST": self._page.sign_in},
            "/session/end": {"POST": self._page.sign_out},
            "/versions": {"GET": _versions},
            "/v2": {"GET": _versions},
            "/v2/": {"GET": _versions},
            "/v2/tasks": {"GET": self._tasks, "POST": self._create},
            "/v2/tasks/{task_id}": {"GET": self._task},
            "/v2/images": {"GET": self._images},
            "/v2/images/{image_id}": {"GET": self._image},
            "/v2/schemas/{name}": {"GET": _schema},
            "/healthz": {"GET": self._health},
            "/metrics": {"GET": self._figures},
            "/openapi.json": {"GET": _openapi},
        }
        routes = [_AnyMethod(path, self._answering(path, methods)) for path, methods in table.items()]
        application = Starlette(routes=routes, lifespan=self._lifespan, exception_handlers={HTTPException: _unknown})
        application.router.redirect_slashes = False
        return application

    @asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = CONNECTIONS - 4  # the dispatcher needs some
        await run_in_threadpool(self._dispatcher.start)
        yield
        await run_in_threadpool(self._dispatcher.stop)
        self._store.database.close()

    def _answering(self, path: str, methods: dict[str, Handler]) -> Handler:
        """Answer a route's requests, whatever happens; count and log them."""

        async def refuse(_request: Request) -> Response:
            allow = {"Allow": ", ".join(sorted(methods))}
            raise Fault(HTTPStatus.METHOD_NOT_ALLOWED, "This is not allowed here", allow)

        async def endpoint(request: Request) -> Response:
            started = time.perf_counter()
            request.state.id = f"req-{uuid.uuid4()}"
            try:
                response = await methods.get(request.method, refuse)(request)
            except Exception as error:  # noqa: BLE001 (each becomes an answer)
                response = wire.refusal(_as_fault(error, request))
            response.headers["x-openstack-request-id"] = request.state.id
            seconds = time.perf_counter() - started
            method = request.method if request.method in methods else "other"
            self._metrics.requests.labels(method, path, response.status_code).observe(seconds)
            LOG.debug(
                "answered",
                extra={
                    "request": request.state.id,
                    "method": method,
                    "path": path,
                    "status": response.status_code,
                    "seconds": round(seconds, 6),
                    **({"task": request.path_params["task_id"]} if "task_id" in request.path_params else {}),
                },
            )
            return response

        return endpoint

    async def _caller(self, request: Request) -> Caller:
        token = request.headers.get("x-auth-token", "")
        caller = await self._auth.caller(token) if token else None
        if caller is None:
            raise Fault(HTTPStatus.UNAUTHORIZED, "This needs a valid token in X-Auth-Token")
        return caller

    async def _root(self, request: Request) -> Response:
        if page.wants_page(request):
            return await self._page.show(request)
        return await _versions(request)

    async def _create(self, request: Request) -> Response:
        caller = await self._caller(request)
        if not caller.may_create:
            raise Fault(HTTPStatus.FORBIDDEN, "Your role may not create tasks")
        kind, given = wire.asked(await wire.body(request))
        task = await run_in_threadpool(self._store.create, new(kind, caller.tenant, given), self._settings.max_waiting)
        if task is None:
            raise Fault(HTTPStatus.SERVICE_UNAVAILABLE, "Too many tasks are waiting", {"Retry-After": RETRY_AFTER})
        LOG.info("created", extra={"task": task.id, "tenant": task.owner, "request": request.state.id})
        self._dispatcher.wake()
        return answer(full(task), HTTPStatus.CREATED, {"Location": f"/v2/tasks/{task.id}"})

    async def _task(self, request: Request) -> Response:
        caller = await self._caller(request)
        wanted = _plain_id(request.path_params["task_id"])
        task = await run_in_threadpool(self._store.get, caller.tenant, wanted)
        if task is None:
            raise Fault(HTTPStatus.NOT_FOUND, "No task with that id")
        return answer(full(task))

    async def _tasks(self, request: Request) -> Response:
        caller = await self._caller(request)
        query = wire.query(request)
        try:
            tasks = await run_in_threadpool(self._store.page, caller.tenant, query)
        except UnknownMarker:
            raise Fault(HTTPStatus.BAD_REQUEST, "No task with the marker's id") from None
        links = wire.pages(request, [task.id for task in tasks], query.limit)
        return answer({"tasks": [brief(task) for task in tasks], **links, "schema": "/v2/schemas/tasks"})

    async def _image(self, request: Request) -> Response:
        caller = await self._caller(request)
        wanted = _plain_id(request.path_params["image_id"])
        image = await run_in_threadpool(self._store.catalog.image, caller.tenant, wanted)
        if image is None:
            raise Fault(HTTPStatus.NOT_FOUND, "No image with that id")
        return answer(_shown(image))

    async def _images(self, request: Request) -> Response:
        caller = await self._caller(request)
        size, marker = wire.limit(request), wire.marker(request)
        try:
            images = await run_in_threadpool(self._store.catalog.images, caller.tenant, Query(size, marker))
        except UnknownMarker:
            raise Fault(HTTPStatus.BAD_REQUEST, "No image with the marker's id") from None
        links = wire.pages(request, [image.id for image in images], size)
        return answer({"images": [_shown(image) for image in images], **links, "schema": "/v2/schemas/images"})

    async def _health(self, _request: Request) -> Response:
        counts = await run_in_threadpool(self._store.counts)
        if not self._dispatcher.is_alive():
            raise Fault(HTTPStatus.SERVICE_UNAVAILABLE, "No tasks are being taken up")
        return answer({"status": "ok", **counts})

    async def _figures(self, _request: Request) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        figures = await run_in_threadpool(generate_latest, self._metrics.registry)
        return Response(figures, media_type=CONTENT_TYPE_LATEST)


class _AnyMethod(Route):
    """A route that leaves the method to its endpoint: Starlette's would let HEAD in, and forget half of Allow."""

    def __init__(self, path: str, endpoint: Handler) -> None:
        super().__init__(path, endpoint)
        self.methods = None  # type: ignore[assignment, unused-ignore]


def _as_fault(error: Exception, request: Request) -> Fault:
    if isinstance(error, Fault):
        return error
    patience = {"Retry-After": RETRY_AFTER}
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if isinstance(error, (OperationalError, NoConnection)) or lost:
        LOG.error("the database does not answer", extra={"request": request.state.id, "reason": str(error)})
        return Fault(HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer", patience)
    if isinstance(error, Unavailable):
        return Fault(HTTPStatus.SERVICE_UNAVAILABLE, "The identity service does not answer", patience)
    LOG.error("a request failed", exc_info=error, extra={"request": request.state.id})
    return Fault(HTTPStatus.INTERNAL_SERVER_ERROR, f"The service failed; its log tells more of {request.state.id}")


async def _unknown(_request: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", 500))
    return wire.refusal(Fault(status, "There is nothing here" if status == HTTPStatus.NOT_FOUND else status.phrase))


async def _versions(_request: Request) -> Response:
    return answer(VERSIONS)


async def _schema(request: Request) -> Response:
    schema = SCHEMAS.get(request.path_params["name"])
    if schema is None:
        raise Fault(HTTPStatus.NOT_FOUND, "No schema of that name")
    return answer(schema)


async def _openapi(_request: Request) -> Response:
    return answer(document())


def _plain_id(text: str) -> str:
    """Make an id fit to be looked up: what a database could not even be asked for is no id."""
    return text.lower() if text.isascii() and text.isprintable() else ""


def _shown(image: Stored) -> dict[str, Any]:
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
