"""A page of the service: a template with its style and its script in it, and a policy that allows these and no more."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import jinja2
from markupsafe import Markup
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from http import HTTPStatus

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of all that browsers are sent; a page has a policy of its own."""


class Template:
    """A page."""

    def __init__(self, name: str, script: str = "", policy: str = "", framed: str = "") -> None:
        """Read it.

        Args:
            name: the file of the template.
            script: the file of its script, if it has one.
            policy: what it may do besides, in the words of a Content-Security-Policy.
            framed: the style of what it shows in frames, which inherit its policy.
        """
        style = _text("page.css")
        self._parts = {"style": Markup(style), "script": Markup(_text(script) if script else "")}  # noqa: S704 (ours)
        self._template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_text(name))
        styles = " ".join(_hash(each) for each in (style, framed) if each)
        scripts = f" script-src {_hash(self._parts['script'])};" if script else ""
        allowed = (
            f"default-src 'none'; style-src {styles};{scripts} img-src data:; form-action 'self'; base-uri 'none';"
        )
        self._headers = {
            **HEADERS,
            "Content-Security-Policy": f"{allowed} frame-ancestors 'none'{policy and '; '}{policy}",
            "Vary": "Accept, Cookie",
        }

    def shown(self, status: HTTPStatus, **values: Any) -> HTMLResponse:  # what the template shows
        """Answer with the page."""
        return HTMLResponse(self._template.render(**self._parts, **values), status, self._headers)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
