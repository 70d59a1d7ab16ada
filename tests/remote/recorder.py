"""A server between a client and a store: it passes requests on, and keeps which bytes of objects were asked for."""

from __future__ import annotations

import http.client
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass
class Recorder:
    """In front of the store at `behind`, at `url`."""

    behind: str
    url: str = ""
    read: list[tuple[str, str]] = field(default_factory=list)
    """Object's path and range, of each request that could answer with bytes of an object; "" for no range."""
    _listener: ThreadingHTTPServer | None = None

    def ranges(self, path: str) -> list[tuple[int, int]]:
        """Return begin and end of what was read of an object; a request for all of it fails here."""
        asked = [said for name, said in self.read if name == path]
        return [(int(begin), int(end) + 1) for begin, end in (re.findall(r"\d+", said) for said in asked)]

    def __enter__(self) -> Self:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                place = urlsplit(self.path)
                said = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
                if self.command == "GET" and not place.query.startswith(("tagging", "comp=", "restype=")):
                    ours.read.append((unquote(place.path), said))
                store = http.client.HTTPConnection(urlsplit(ours.behind).netloc, timeout=60)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                store.request(self.command, self.path, body, dict(self.headers.items()))
                answer = store.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                store.close()

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 (the base class looks for these names)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
                """Say nothing."""

        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}).start()
        self.url = f"http://127.0.0.1:{self._listener.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.shutdown()
        self._listener.server_close()
