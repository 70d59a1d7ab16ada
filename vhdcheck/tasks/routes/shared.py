"""What handlers share: the parts of the service, and who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from vhdcheck.tasks.wire import Refusal

if TYPE_CHECKING:
    from vhdcheck.tasks.auth import Auth, Caller
    from vhdcheck.tasks.observe import Metrics
    from vhdcheck.tasks.settings import Settings
    from vhdcheck.tasks.store import TaskStore
    from vhdcheck.tasks.worker import Dispatcher

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Table: TypeAlias = dict[str, dict[str, Handler]]
"""Handlers by path and method. What is not in it is 404 or 405, with `Allow`."""
RETRY_AFTER = "5"
"""Seconds after which to try again, for a service that is overloaded or that has lost its database."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the service."""

    settings: Settings
    store: TaskStore
    auth: Auth
    dispatcher: Dispatcher
    metrics: Metrics

    async def caller(self, request: Request) -> Caller:
        """Say who asks, by the token in `X-Auth-Token`.

        Raises:
            Refusal: 401.
            Unavailable: nobody can say at the moment.
        """
        token = request.headers.get("x-auth-token", "")
        caller = await self.auth.caller(token) if token else None
        if caller is None:
            challenge = {"WWW-Authenticate": self.auth.challenge}
            raise Refusal(HTTPStatus.UNAUTHORIZED, "This needs a valid token in X-Auth-Token", challenge)
        request.state.tenant = caller.tenant
        return caller


def plain_id(text: str) -> str:
    """Make an id fit to be looked up: what a database could not even be asked for is no id."""
    return text.lower() if text.isascii() and text.isprintable() else ""
