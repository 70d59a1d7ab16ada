"""An HTTP server on this machine that honours ranges, counts what is asked and sent, and misbehaves on demand."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from fixtures.writer import Image

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE = 64 << 10


@dataclass
class Server:
    """The server, and what it saw."""

    objects: dict[str, Image] = field(default_factory=dict)
    etag: str | None = '"one"'
    modified: str | None = None
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path with query, range: of each request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies."""
    before: Callable[[Handler], bool] | None = None
    """Called first for each request; true if it answered."""
    url: str = ""

    def put(self, name: str, content: Image | bytes) -> str:
        """Store an object, and return its URL."""
        self.objects["/" + name] = Image.from_bytes(content) if isinstance(content, bytes) else content
        return f"{self.url}/{name}"

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, _, asked in self.asked]


class Handler(BaseHTTPRequestHandler):
    """Serves one connection."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True  # or each answer takes 40 ms
    ours: Server

    def do_GET(self) -> None:
        ours = self.ours
        ours.asked.append((self.command, self.path, self.headers.get("Range")))
        ours.headers.append(dict(self.headers.items()))
        try:
            if ours.before is None or not ours.before(self):
                self.serve()
        except ConnectionError:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 (the base class looks for this name)

    @property
    def image(self) -> Image | None:
        return self.ours.objects.get(unquote(urlsplit(self.path).path))

    def serve(self) -> None:
        """Answer as a server should."""
        image = self.image
        if image is None:
            return self.answer(404)
        if self.headers.get("If-Match") not in (None, self.ours.etag):
            return self.answer(412)
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            return self.whole()
        start, end = int(asked[1]), min(int(asked[2]) + 1, image.length)
        if start >= image.length:
            return self.answer(416, {"Content-Range": f"bytes */{image.length}"})
        return self.part(start, end, f"bytes {start}-{end - 1}/{image.length}")

    def part(self, start: int, end: int, said: str | None) -> None:
        """Send a part, and say whatever of it."""
        assert self.image is not None
        self.answer(206, {} if said is None else {"Content-Range": said}, self.image.read(start, end - start))

    def whole(self) -> None:
        """Send everything, as a server without ranges does."""
        assert self.image is not None
        self.begin(200, {}, self.image.length)
        for start in range(0, self.image.length, PIECE):
            self.body(self.image.read(start, min(PIECE, self.image.length - start)))

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Send a whole answer."""
        self.begin(status, headers or {}, len(body))
        self.body(body)

    def begin(self, status: int, headers: dict[str, str], length: int) -> None:
        """Send the head of an answer."""
        ours = self.ours
        told = {"Content-Length": str(length), "ETag": ours.etag, "Last-Modified": ours.modified, **headers}
        self.send_response(status)
        for name, value in told.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def body(self, data: bytes) -> None:
        """Send bytes."""
        if self.command != "HEAD":
            self.ours.sent += len(data)  # before the client can have it, and the test looks
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
        """Say nothing."""


class Listener(ThreadingHTTPServer):
    """Listens on a free port."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 64  # or the sixth connection at a time waits a second

    def __init__(self, ours: Server) -> None:
        super().__init__(("127.0.0.1", 0), type("OurHandler", (Handler,), {"ours": ours}))
        ours.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._open: set[socket.socket] = set()
        self.connections = 0

    def process_request_thread(self, request: socket.socket, client_address: Any) -> None:  # type: ignore[override]
        """Keep in mind which connections are open."""
        self._open.add(request)
        self.connections += 1
        super().process_request_thread(request, client_address)
        self._open.discard(request)

    def shutdown(self) -> None:
        """Hang up too: clients keep connections for their next check, and each has a thread that waits for that."""
        super().shutdown()
        for each in [*self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients hang up."""
