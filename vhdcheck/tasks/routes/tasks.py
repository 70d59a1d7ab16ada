"""`/v2/tasks`: create, list, show."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool

from vhdcheck.tasks import asked, wire
from vhdcheck.tasks.paging import UnknownMarker
from vhdcheck.tasks.routes.shared import RETRY_AFTER, Parts, Table, plain_id
from vhdcheck.tasks.states import Status
from vhdcheck.tasks.store import FILTERS, SORT_KEYS
from vhdcheck.tasks.task import Kind, brief, full, new, plain
from vhdcheck.tasks.wire import Refusal, answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOG: Final = logging.getLogger("vhdcheck.tasks")
CHOICES: Final = {"type": tuple(map(str, Kind)), "status": tuple(map(str, Status))}


class Tasks:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts of the service."""
        self._parts = parts

    @property
    def table(self) -> Table:
        """Their paths."""
        return {
            "/v2/tasks": {"GET": self._list, "POST": self._create},
            "/v2/tasks/{task_id}": {"GET": self._show},
        }

    async def _create(self, request: Request) -> Response:
        caller = await self._parts.caller(request)
        if not caller.may_create:
            raise Refusal(HTTPStatus.FORBIDDEN, "Your role may not create tasks")
        kind, given = asked.task(await wire.body(request))
        wanted = new(kind, caller.tenant, given, user_id=caller.user, request_id=request.state.id)
        task = await run_in_threadpool(self._parts.store.create, wanted, self._parts.settings.max_waiting)
        if task is None:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "Too many tasks are waiting", {"Retry-After": RETRY_AFTER})
        LOG.info("created", extra={"task": task.id, "tenant": task.owner, "request": request.state.id})
        self._parts.dispatcher.wake()
        return answer(full(task), HTTPStatus.CREATED, {"Location": f"/v2/tasks/{task.id}"})

    async def _show(self, request: Request) -> Response:
        caller = await self._parts.caller(request)
        wanted = request.path_params["task_id"]
        task = await run_in_threadpool(self._parts.store.get, caller.tenant, plain_id(wanted))
        if task is None:
            raise Refusal(HTTPStatus.NOT_FOUND, f"No task found with ID {plain(wanted, 64)}")
        return answer(full(task))

    async def _list(self, request: Request) -> Response:
        caller = await self._parts.caller(request)
        query = wire.query(request, SORT_KEYS, FILTERS, CHOICES)
        try:
            tasks = await run_in_threadpool(self._parts.store.page, caller.tenant, query)
        except UnknownMarker:
            raise Refusal(HTTPStatus.BAD_REQUEST, f"No task with the marker's id {query.marker}") from None
        links = wire.pages(request, [task.id for task in tasks], query.limit)
        return answer({"tasks": [brief(task) for task in tasks], **links, "schema": "/v2/schemas/tasks"})
