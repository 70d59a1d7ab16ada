"""What the operator sees: log lines of JSON, one for each request and for each step of a task, and figures."""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from vhdcheck.redaction import masked, without_keys, without_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG: Final = logging.getLogger("vhdcheck.tasks.access")
_EXTRAS: Final = (
    *("task", "request", "tenant", "image", "attempt", "client", "method", "path"),
    *("status", "bytes", "seconds", "reason"),
    *("mended", "source_sha256", "image_sha256"),
)
_LEVELS: Final = logging.getLevelNamesMapping()
_LONGEST: Final = 1000
"""Characters of a path in the log."""


class Lines(logging.Formatter):
    """Writes a record as one line of JSON, in ASCII: nothing in it can forge another line, or has a secret."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Take what must not be logged."""
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        shown: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)},
        }
        if record.exc_info:
            shown["exception"] = "\n".join(map(self._told, self.formatException(record.exc_info).splitlines()))
        clean = {name: self._clean(text) if isinstance(text, str) else text for name, text in shown.items()}
        return json.dumps(clean, default=str)

    def _clean(self, text: str) -> str:
        return without_urls(masked(text, self._secrets))

    @staticmethod
    def _told(line: str) -> str:
        """Leave out of an exception's own words what a client library made of its keys; not of paths and code."""
        return line if line.startswith("  ") else without_keys(line)


def log_to_stderr(level: str, secrets: Iterable[str] = ()) -> None:
    """Log to standard error: of ourselves and uvicorn what the operator wants, of others what they warn of.

    Clients of stores log their requests with tokens and signatures, where they are let.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(secrets))
    logging.basicConfig(handlers=[handler], level=max(logging.WARNING, _LEVELS[level.upper()]), force=True)
    for name in ("vhdcheck", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())


class Access:
    """The application, with a line in the log and a figure for each request, whatever becomes of it."""

    def __init__(self, application: ASGIApp, metrics: Metrics) -> None:
        self._application, self._metrics = application, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started, status, length = time.perf_counter(), 0, 0
        state = scope.setdefault("state", {})
        state["id"] = f"req-{uuid.uuid4()}"

        async def count(message: Message) -> None:
            nonlocal status, length
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-openstack-request-id", state["id"].encode())]
            else:
                length += len(message.get("body", b""))
            await send(message)

        try:
            await self._application(scope, receive, count)
        finally:
            seconds = time.perf_counter() - started
            route, method = state.get("route", ("none", "other"))
            self._metrics.requests.labels(method, route, status).observe(seconds)
            query = scope["query_string"].decode("latin-1")
            about = {
                "request": state["id"],
                "client": (scope.get("client") or ("",))[0],
                "method": scope["method"],
                "path": f"{scope['path']}?{query}"[:_LONGEST] if query else scope["path"][:_LONGEST],
                "status": status,
                "bytes": length,
                "seconds": round(seconds, 6),
            }
            LOG.info("answered", extra={**about, **({"tenant": state["tenant"]} if "tenant" in state else {})})


class Metrics:
    """Figures of one service."""

    def __init__(self, counts: Callable[[], dict[str, int]]) -> None:
        """Begin at zero.

        Args:
            counts: tells how many tasks are pending and processing, when someone asks.
        """
        self.registry = CollectorRegistry()
        self._counts = counts
        self.requests = Histogram(
            "vhdcheck_tasks_request_seconds",
            "Time to answer a request",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )
        self.finished = Counter(
            "vhdcheck_tasks_finished",
            "Tasks that reached a final state; code is that of a refused image",
            ["type", "status", "code"],
            registry=self.registry,
        )
        self.lost = Counter(
            "vhdcheck_tasks_lost_leases", "Outcomes dropped: the task was another's by then", registry=self.registry
        )
        self.registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count what is not final, now."""
        gauge = GaugeMetricFamily("vhdcheck_tasks_unfinished", "Tasks that are not final", labels=["status"])
        for status, count in self._counts().items():
            gauge.add_metric([status], count)
        yield gauge

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the gauge, without asking the database."""
        yield GaugeMetricFamily("vhdcheck_tasks_unfinished", "Tasks that are not final", labels=["status"])
