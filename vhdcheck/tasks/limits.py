"""What one client may hold of the server before anybody has asked for its token: memory, time, connections.

uvicorn reads a head of any length, for as long as a client likes. This is its protocol with four bounds.

- Bytes that lead nowhere: what arrives while neither a head becomes complete nor a body grows is counted, and so are
  the fields of a head. More than `HEAD` is 431. That bounds a head, its fields, and the trailers of a chunked body.
- Time: a request has to be there `seconds` after its first byte, or after the connection was made, plus a second for
  each `RATE` bytes that have come. (It is how Apache's mod_reqtimeout counts: a slow line is served, a trickle is not.)
  While the server itself does not read on, the time does not run.
- An answer that the client does not take: nothing of it in `seconds`, and the connection is broken off.
- Connections: beyond `connections`, the one is closed that waits longest for a request. Where every one is served, the
  new one is refused with 503.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vhdcheck.tasks.wire import fault

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

HEAD: Final = 64 << 10
"""Bytes of a head. A token of Keystone's may have 8 KiB."""
RATE: Final = 1024
"""Bytes that buy another second."""
LOG: Final = logging.getLogger("vhdcheck.tasks.access")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server, and which of its connections wait for a request, the longest first."""

    connections: int
    seconds: float
    waiting: dict[Bounded, None] = field(default_factory=dict)


class Bounded(HttpToolsProtocol):
    """One connection."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._begun = 0.0
        self._received = self._fields = self._idle = 0
        self._progress = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            if not self._limits.waiting:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open")
                return
            next(iter(self._limits.waiting)).give_way()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes."""
        if self._timer is None:
            self._wait()
        self._received += len(data)
        before = self._progress
        super().data_received(data)
        self._idle = self._idle + len(data) if before == self._progress else 0
        if self._idle > HEAD and not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A head is at most {HEAD} bytes")

    def on_message_begin(self) -> None:
        """Count from here."""
        super().on_message_begin()
        self._fields = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field; of a trailer, too."""
        self._fields += len(name) + len(value)
        if self._fields > HEAD:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A head is at most {HEAD} bytes"
            raise ValueError("too long")  # the parser stops, and `send_400_response` is called
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request is there, but perhaps not its body."""
        self._progress += 1
        self._limits.waiting.pop(self, None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Something of a body."""
        self._progress += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there; the time is the server's now."""
        self._progress += 1
        self._stop()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, a few seconds, and while there is room."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._limits.waiting[self] = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or exceeds a bound."""
        status, message = self._refusal or (HTTPStatus.BAD_REQUEST, msg)
        self._refuse(status, message)

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def give_way(self) -> None:
        """Close a connection without a request, for another one."""
        self._limits.waiting.pop(self, None)
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open")

    def _wait(self) -> None:
        self._begun, self._received = time.monotonic(), 0
        self._limits.waiting[self] = None
        self._timer = self.loop.call_later(self._limits.seconds, self._check)

    def _stop(self) -> None:
        self._limits.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        """See whether the time is over."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self._begun, self._received = time.monotonic(), 0
        left = self._begun + self._limits.seconds + self._received / RATE - time.monotonic()
        if left > 0:
            self._timer = self.loop.call_later(left, self._check)
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request did not come in time")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer for the application, which has not seen the request, and close."""
        self._stop()
        client = self.client[0] if self.client else ""
        LOG.info("refused", extra={"client": client, "status": status.value, "reason": message})
        if not self.pipeline and not self._is_answering():
            body = json.dumps(fault(status, message)).encode()
            head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status.value] + head.encode() + body)
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and cycle.response_started and not cycle.response_complete
