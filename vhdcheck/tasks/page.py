"""The page for browsers: a tenant's tasks, to read only.

A browser shows its token once, in a form; what it gets is a cookie that scripts cannot read and that other sites cannot
make it send (see `sessions`). The API takes no cookie, so the page gives a forger nothing to do.
"""

from __future__ import annotations

import re
import zlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vhdcheck.tasks.paging import UnknownMarker
from vhdcheck.tasks.sessions import LASTS, Sessions
from vhdcheck.tasks.states import Status
from vhdcheck.tasks.task import Kind, Query, Task, now, plain, stamp
from vhdcheck.tasks.template import HEADERS, Template
from vhdcheck.tasks.wire import UUID, Refusal, read

if TYPE_CHECKING:
    from starlette.requests import Request

    from vhdcheck.tasks.auth import Auth, Caller
    from vhdcheck.tasks.routes.shared import Table
    from vhdcheck.tasks.store import TaskStore

COOKIE: Final = "vhdcheck-session"
ROWS: Final = 50
MARKS: Final = {Status.PENDING: "…", Status.PROCESSING: "►", Status.SUCCESS: "✓", Status.FAILURE: "✗"}
"""What tells them apart where colours do not."""
_LONGEST_FORM: Final = 16 << 10


class Page:
    """The page."""

    def __init__(self, store: TaskStore, auth: Auth, *, open_checks: bool) -> None:
        self._store, self._auth = store, auth
        self._sessions = Sessions(store.database)
        self._open_checks = open_checks
        self._template = Template("page.html")

    @property
    def table(self) -> Table:
        """Its paths, but for `/`, which it shares with the list of versions."""
        return {
            "/tasks/{task_id}/report": {"GET": self.report},
            "/session": {"POST": self.sign_in},
            "/session/end": {"POST": self.sign_out},
        }

    async def show(self, request: Request) -> Response:
        """Show the tasks, or the form that asks for a token."""
        caller = await self.caller(request)
        if caller is None:
            wrong = "wrong" in request.query_params
            return self._page(HTTPStatus.UNAUTHORIZED if wrong else HTTPStatus.OK, caller=None, wrong=wrong)
        status, marker = request.query_params.get("status", ""), request.query_params.get("marker")
        filters = {"status": status} if status in list(Status) else {}
        if marker is not None and re.fullmatch(UUID, marker) is None:
            marker = None
        query = Query(ROWS, marker, filters=filters)
        moment = now()
        try:
            tasks = await run_in_threadpool(self._store.page, caller.tenant, query)
        except UnknownMarker:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER, HEADERS)
        following = urlencode({**filters, "marker": tasks[-1].id}) if len(tasks) == ROWS else ""
        return self._page(
            HTTPStatus.OK,
            caller=caller,
            rows=[_row(task, moment) for task in tasks],
            following=following,
            chosen=filters.get("status", ""),
            statuses=[each.value for each in Status],
            marks=MARKS,
            moment=stamp(moment),
        )

    async def report(self, request: Request) -> Response:
        """Show the report on an image that was to be imported, as `--format html` writes it."""
        caller = await self.caller(request)
        if caller is None:
            return RedirectResponse("/", HTTPStatus.SEE_OTHER, HEADERS)
        wanted = request.path_params["task_id"].lower()
        known = re.fullmatch(UUID, wanted) is not None
        page = await run_in_threadpool(self._store.report, caller.tenant, wanted) if known else None
        if page is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "No report on a task with that id")
        policy = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # its own says the rest
        return HTMLResponse(zlib.decompress(page), headers={**HEADERS, "Content-Security-Policy": policy})

    async def sign_in(self, request: Request) -> Response:
        """Take a token from the form."""
        from_here(request)
        data = await read(request, _LONGEST_FORM)
        token = parse_qs(data.decode("ascii", "replace"), max_num_fields=8).get("token", [""])[0].strip()
        if not token or await self._auth.caller(token) is None:
            return RedirectResponse("/?wrong", HTTPStatus.SEE_OTHER, HEADERS)
        session = await run_in_threadpool(self._sessions.begin, token)
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER, HEADERS)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, session, LASTS, httponly=True, samesite="strict", secure=secure)
        return response

    async def sign_out(self, request: Request) -> Response:
        """Forget a session."""
        from_here(request)
        await run_in_threadpool(self._sessions.end, request.cookies.get(COOKIE, ""))
        response = RedirectResponse("/", HTTPStatus.SEE_OTHER, HEADERS)
        response.delete_cookie(COOKIE)
        return response

    async def caller(self, request: Request) -> Caller | None:
        """Say who has signed in, by the cookie; None where nobody has, or the token is not valid any more."""
        cookie = request.cookies.get(COOKIE, "")
        token = await run_in_threadpool(self._sessions.token, cookie) if cookie else None
        caller = await self._auth.caller(token) if token else None
        if caller is not None:
            request.state.tenant = caller.tenant
        return caller

    def _page(self, status: HTTPStatus, **values: Any) -> Response:  # what the template shows
        return self._template.shown(status, open_checks=self._open_checks, **values)


def wants_page(request: Request) -> bool:
    """Say whether a request is a browser's: clients of the API ask for JSON or anything."""
    return "text/html" in request.headers.get("accept", "").lower()


def from_here(request: Request) -> None:
    """Refuse a form that another site has sent."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refusal(HTTPStatus.FORBIDDEN, "This form belongs to another site")


def _row(task: Task, moment: int) -> dict[str, Any]:
    """Take what is shown of a task; the template escapes it for HTML, `plain` what HTML cannot hold or would obey."""
    given = task.input
    properties = given.get("image_properties")
    container = given.get("receiving_swift_container")
    return {
        "id": task.id,
        "type": task.type.value,
        "status": task.status.value,
        "name": _text(properties.get("name")) if isinstance(properties, dict) else "",
        "source": _text(given.get("import_from")) or _text(given.get("image_uuid")),
        "to": _text(container) if task.type == Kind.EXPORT else "",
        "message": plain(task.message, 2000) if task.status == Status.FAILURE else "",
        "result": task.result or {},
        "findings": [_finding(finding) for finding in task.findings or ()],
        "judged": task.findings is not None,
        "created": stamp(task.created_at),
        "left": "" if task.expires_at is None else _left(task.expires_at - moment),
    }


def _finding(finding: dict[str, Any]) -> dict[str, str]:
    shown = {
        key: _text(finding.get(key)) for key in ("rule", "slug", "severity", "message", "expected", "found", "fix")
    }
    return {**shown, "field": _text((finding.get("location") or {}).get("field"))}


def _text(value: object) -> str:
    return "" if value is None else plain(str(value), 1000)


def _left(microseconds: int) -> str:
    minutes = max(microseconds, 0) // 60_000_000
    return f"{minutes // 60} h {minutes % 60:02} min"
