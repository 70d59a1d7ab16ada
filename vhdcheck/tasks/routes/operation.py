"""`/healthz` and `/metrics`, for whoever operates the service."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from vhdcheck.sources.urls import is_url
from vhdcheck.tasks.routes.shared import RETRY_AFTER, Parts, Table
from vhdcheck.tasks.wire import Refusal, answer

if TYPE_CHECKING:
    from starlette.requests import Request

LOG: Final = logging.getLogger("vhdcheck.tasks")
FRESH: Final = 2.0
"""Seconds that a proof counts: whoever may ask without a token must not make the disks write all the time."""


class Operation:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        """Take the parts of the service."""
        self._parts = parts
        self._lock = threading.Lock()
        self._proved = -FRESH
        places = {parts.settings.data, *(Path(place) for place in (parts.settings.images_place,) if not is_url(place))}
        self._folders = sorted(places)

    @property
    def table(self) -> Table:
        """Their paths."""
        return {"/healthz": {"GET": self._health}, "/metrics": {"GET": self._figures}}

    async def _health(self, _request: Request) -> Response:
        if not self._parts.dispatcher.is_alive():
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "No tasks are being taken up")
        counts = await run_in_threadpool(self._examine)
        return answer({"status": "ok", **counts})

    def _examine(self) -> dict[str, int]:
        """Count the tasks, and see that database and folders can be written."""
        with self._lock:
            if time.monotonic() - self._proved >= FRESH:
                self._parts.store.database.write()
                for folder in self._folders:
                    _write(folder)
                self._proved = time.monotonic()
        return self._parts.store.counts()

    async def _figures(self, _request: Request) -> Response:
        figures = await run_in_threadpool(generate_latest, self._parts.metrics.registry)
        return Response(figures, media_type=CONTENT_TYPE_LATEST)


def _write(folder: Path) -> None:
    """Write a file without a name, and see that it reaches the disk.

    Raises:
        Refusal: it does not.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(4096))
    except OSError as error:
        LOG.error("a folder cannot be written", extra={"reason": str(error)})  # noqa: TRY400 (no trace)
        patience = {"Retry-After": RETRY_AFTER}
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "A folder of the service cannot be written", patience) from error
