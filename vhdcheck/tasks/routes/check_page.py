"""`/check`: the page on which files are checked before their upload. Its script speaks the protocol of `/v2/checks`.

The script sends what it read to the page's own path, since the cookie of the session is of no use to the API. A report
comes as HTML, with the map of the image.
"""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from vhdcheck.engine.stray import MOST
from vhdcheck.format.limits import END
from vhdcheck.report import written
from vhdcheck.report.context import Context
from vhdcheck.report.formats import html
from vhdcheck.tasks.page import from_here
from vhdcheck.tasks.routes.checks import LONGEST, NAME, asked, wanted
from vhdcheck.tasks.template import HEADERS, Template
from vhdcheck.tasks.wire import Refusal, answer
from vhdcheck.units import exact
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from vhdcheck.tasks.page import Page
    from vhdcheck.tasks.routes.checks import Checks
    from vhdcheck.tasks.routes.shared import Table


class CheckPage:
    """The handlers."""

    def __init__(self, checks: Checks, page: Page) -> None:
        """Take what checks, and what knows who has signed in."""
        self._checks, self._page = checks, page
        style = resources.files("vhdcheck.report").joinpath("style.css").read_text(encoding="ascii")
        self._template = Template("check.html", "check.js", "connect-src 'self'; frame-src blob:", style)

    @property
    def table(self) -> Table:
        """Their path."""
        return {"/check": {"GET": self._show, "POST": self._check}}

    async def _show(self, request: Request) -> Response:
        if not await self._may(request):
            return RedirectResponse("/", HTTPStatus.SEE_OTHER, HEADERS)
        return self._template.shown(
            HTTPStatus.OK, end=END, most=LONGEST, most_words=exact(LONGEST), sectors=MOST, name=NAME
        )

    async def _check(self, request: Request) -> Response:
        from_here(request)
        if not await self._may(request):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "The session has ended: sign in again")
        size, _ = asked(request)
        outcome = await self._checks.outcome(request, size, with_map=True)
        if not isinstance(outcome, Report):
            return answer(wanted(outcome), headers=HEADERS)
        return answer(await run_in_threadpool(_told, outcome), headers=HEADERS)

    async def _may(self, request: Request) -> bool:
        return self._checks.is_open or await self._page.caller(request) is not None


def _told(report: Report) -> dict[str, object]:
    """Say what the script shows of a report."""
    context = Context(report.target)
    context.results.add(report)
    return {
        "accepted": report.ok,
        "message": report.message,
        "findings": len(report.findings),
        "html": written(html, [report], context),
    }
