"""The service over HTTP: an ASGI application.

Starlette rather than FastAPI: the answers are dictionaries made for clients that are particular about them, so models
would only copy them; and FastAPI's own 422 has no place in this API. What is answered where is in `routes`.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from vhdcheck.tasks import page, wire
from vhdcheck.tasks.auth import Unavailable
from vhdcheck.tasks.database import CONNECTIONS
from vhdcheck.tasks.observe import Access
from vhdcheck.tasks.routes import documents
from vhdcheck.tasks.routes.check_page import CheckPage
from vhdcheck.tasks.routes.checks import Checks
from vhdcheck.tasks.routes.images import Images
from vhdcheck.tasks.routes.operation import Operation
from vhdcheck.tasks.routes.shared import RETRY_AFTER, Parts
from vhdcheck.tasks.routes.tasks import Tasks
from vhdcheck.tasks.wire import Refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from vhdcheck.tasks.auth import Auth
    from vhdcheck.tasks.observe import Metrics
    from vhdcheck.tasks.routes.shared import Handler, Table
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.store import TaskStore
    from vhdcheck.tasks.worker import Dispatcher

LOG: Final = logging.getLogger("vhdcheck.tasks")


class Service:
    """All routes, and what answers when one of them fails."""

    def __init__(
        self,
        settings: Settings,
        store: TaskStore,
        auth: Auth,
        dispatcher: Dispatcher,
        metrics: Metrics,
        *,
        open_checks: bool,
    ) -> None:
        self._parts = Parts(settings, store, auth, dispatcher, metrics)
        self._page = page.Page(store, auth, open_checks=open_checks)
        self._checks = Checks(self._parts, is_open=open_checks)

    @property
    def table(self) -> Table:
        """Every path, its methods and their handlers."""
        parts = self._parts
        return {
            "/": {"GET": self._root},
            **self._page.table,
            **documents.TABLE,
            **Tasks(parts).table,
            **Images(parts).table,
            **self._checks.table,
            **CheckPage(self._checks, self._page).table,
            **Operation(parts).table,
        }

    def application(self) -> Starlette:
        """Make the application; its lifespan ends with the dispatcher."""
        application = Starlette(
            routes=[_AnyMethod(path, _answering(path, methods)) for path, methods in self.table.items()],
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _unknown},
            middleware=[Middleware(Access, metrics=self._parts.metrics)],
        )
        application.router.redirect_slashes = False
        return application

    @asynccontextmanager
    async def _lifespan(self, _application: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = CONNECTIONS - 4  # the dispatcher needs some
        yield
        await run_in_threadpool(self._parts.dispatcher.stop)
        self._parts.store.database.close()

    async def _root(self, request: Request) -> Response:
        if page.wants_page(request):
            return await self._page.show(request)
        return await documents.versions(request)


def _answering(path: str, methods: dict[str, Handler]) -> Handler:
    """Answer a route's requests, whatever happens."""

    async def refuse(_request: Request) -> Response:
        allow = {"Allow": ", ".join(sorted(methods))}
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "This is not allowed here", allow)

    async def endpoint(request: Request) -> Response:
        request.state.route = path, request.method if request.method in methods else "other"
        try:
            return await methods.get(request.method, refuse)(request)
        except Exception as error:  # noqa: BLE001 (each becomes an answer)
            return wire.refusal(_as_refusal(error, request))

    return endpoint


class _AnyMethod(Route):
    """A route that leaves the method to its endpoint: Starlette's would let HEAD in, and forget half of Allow."""

    def __init__(self, path: str, endpoint: Handler) -> None:
        super().__init__(path, endpoint)
        self.methods = None  # type: ignore[assignment, unused-ignore]


def _as_refusal(error: Exception, request: Request) -> Refusal:
    if isinstance(error, Refusal):
        return error
    patience = {"Retry-After": RETRY_AFTER}
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if isinstance(error, (OperationalError, NoConnection)) or lost:
        LOG.error("the database does not answer", extra={"request": request.state.id, "reason": str(error)})
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The database does not answer", patience)
    if isinstance(error, Unavailable):
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The identity service does not answer", patience)
    if isinstance(error, ClientDisconnect):
        return Refusal(HTTPStatus.BAD_REQUEST, "The request ended early")  # nobody reads it, but the log tells
    LOG.error("a request failed", exc_info=error, extra={"request": request.state.id})
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"The service failed; its log tells more of {request.state.id}")


async def _unknown(_request: Request, error: Exception) -> Response:
    status = HTTPStatus(getattr(error, "status_code", 500))
    return wire.refusal(Refusal(status, "There is nothing here" if status == HTTPStatus.NOT_FOUND else status.phrase))
