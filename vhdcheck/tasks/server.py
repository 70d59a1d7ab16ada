"""The server: puts the parts together, listens, says where, reloads tokens on SIGHUP, and stops in good order.

Whatever can be wrong with settings, tokens, database, executor or address is found before the first request is
answered, and raised as an error of one line.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final

import uvicorn

from vhdcheck.engine.check import resolve
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.redaction import hidden
from vhdcheck.sources.failures import secrets_in
from vhdcheck.tasks import auth
from vhdcheck.tasks.api import Service
from vhdcheck.tasks.database import Database
from vhdcheck.tasks.limits import Bounded, Limits
from vhdcheck.tasks.observe import Metrics, log_to_stderr
from vhdcheck.tasks.private import make_private
from vhdcheck.tasks.store import TaskStore
from vhdcheck.tasks.worker import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.tasks.auth import Auth
    from vhdcheck.tasks.settings import Serving, Settings

LOG: Final = logging.getLogger("vhdcheck.tasks")


def serve(serving: Serving, settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        UsageError: a setting is wrong, or what it names cannot be used.
        SourceError: a file or the cluster cannot be reached.
        OSError: the same.
    """
    resolve(settings.target, settings.max_virtual_size, settings.max_physical_size)
    log_to_stderr(serving.log_level, _secrets(serving, settings))
    make_private(settings.data)
    known = _auth(serving, settings)
    listening = _bound(serving.host, serving.port)
    database = Database(settings.database_url)
    store = TaskStore(database)
    metrics = Metrics(store.counts)
    dispatcher = Dispatcher(store, settings, metrics)
    service = Service(settings, store, known, dispatcher, metrics, open_checks=serving.open_checks)
    config = uvicorn.Config(
        service.application(),
        http=partial(Bounded, Limits(serving.max_connections, serving.request_seconds)),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        backlog=serving.max_connections,
        timeout_graceful_shutdown=max(int(settings.grace_seconds), 1),
    )
    _Server(config, dispatcher, partial(_reload, serving, known)).run([listening])


def _secrets(serving: Serving, settings: Settings) -> list[str]:
    """List what no line of the log may have."""
    places = (settings.database, settings.objects, settings.images, serving.keystone)
    return [*chain.from_iterable(map(hidden, places)), *secrets_in("", {})]


class _Server(uvicorn.Server):
    """Begins to take tasks up, prints where it listens once it does, and reloads on SIGHUP."""

    def __init__(self, config: uvicorn.Config, dispatcher: Dispatcher, reload: Callable[[], None]) -> None:
        super().__init__(config)
        self._dispatcher, self._reload = dispatcher, reload

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._dispatcher.start)  # not in the lifespan, where an error would be a traceback
        await super().startup(sockets)
        if self.started and sockets:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
            print(f"listening: {_url(sockets[0])}", flush=True)  # noqa: T201 (the command's answer)


def _bound(host: str, port: int) -> socket.socket:
    """Take the address, before anything is changed in the database.

    Raises:
        SourceError: it is taken, or none of this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise SourceError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return made


def _url(bound: socket.socket) -> str:
    """Write the URL that a client on this machine reaches it by."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (it is compared)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reload(serving: Serving, known: Auth) -> None:
    """Read the tokens again. What is wrong with them is logged, and those from before stay."""
    if serving.tokens is None or not isinstance(known, auth.StaticTokens):
        LOG.warning("no file of tokens to be reloaded")
        return
    try:
        known.replace(auth.StaticTokens.read(serving.tokens))
    except UsageError as error:
        LOG.error("the tokens stay as they were", extra={"reason": str(error)})  # noqa: TRY400 (no trace)
    else:
        LOG.info("tokens reloaded")


def _auth(serving: Serving, settings: Settings) -> Auth:
    if serving.keystone:
        from vhdcheck.tasks.keystone import Keystone

        return Keystone(serving.keystone, os.environ)
    if serving.tokens is not None:
        tokens = auth.StaticTokens.read(serving.tokens)
    else:
        tokens, first = auth.StaticTokens.first(settings.data)
        if first:
            told = f"token: {first}\nIt is tenant {auth.FIRST_TENANT}'s, and is not shown again."
            print(told, flush=True)  # noqa: T201 (the command's answer)
    if not settings.objects:
        for tenant in tokens.tenants:
            (settings.data / "objects" / tenant).mkdir(parents=True, exist_ok=True)
    return tokens
