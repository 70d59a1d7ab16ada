"""A name reaches each kind of store as it is: what stands in the path of the request is the name, quoted once."""

from __future__ import annotations

import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from tests.remote.conftest import azure, azurite, gcs, s3  # noqa: F401 (fixtures)

pytest.importorskip("fsspec", reason="fsspec is not installed (extra remote)")

from vhdcheck.tasks import blobs, objects
from vhdcheck.tasks.objects import Try

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.remote.stores import Served

NAMES = [
    "plain.vhd",
    "%2e%2e",
    "%2e%2e/%2e%2e/00000999/secret/b.vhd",
    "%2E%2E%2Fother",
    "..%2f..%2fb",
    "%252e",
    "a b+c&d=e,f",
    "é/ü/語.vhd",
    "a:b@c!d$e'f(g)h~i",
    "a?b",
    "a#b",
    "a*b[c]d",
    "x::y.vhd",
    "a%",
    "a<b>c|d^e`f{g}",
]


class Web(BaseHTTPRequestHandler):
    """Keeps what is PUT under the path as it came, and notes each path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        data = self.server.kept.get(self.path)
        if data is None and any(path.startswith(self.path + "/") for path in self.server.kept):
            data = b""
        if data is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = 0, len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match and data:
            start, end = int(match[1]), min(int(match[2]) + 1, end)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[start:end])

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def do_PUT(self) -> None:
        self.server.paths.append(self.path)
        data = b""
        while length := int(self.rfile.readline(), 16):
            data += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        self.server.kept[self.path] = data
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass

    server: Any


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(blobs, "SETTLE", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.kept, server.paths = {"/t/c/here": b"x"}, []  # type: ignore[attr-defined]
        server.daemon_threads = True
        server.block_on_close = False  # connections are kept alive
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def try_() -> Try:
    return Try("ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6", 1, lambda: True)


def stored(tmp_path: Path, data: bytes) -> Any:
    (tmp_path / "data").write_bytes(data)
    return (tmp_path / "data").open("rb")


def round_trip(store: objects.Objects, container: str, name: str, tmp_path: Path) -> None:
    """Store an object of that name, read it back, and find that its neighbours are not it."""
    data = name.encode() * 3
    with stored(tmp_path, data) as file:
        store.put(container, name, file, try_())
    with store.find(container, name, "shown") as found:
        assert b"".join(found.pieces()) == data
    with stored(tmp_path, b"other") as file, pytest.raises(objects.Taken):
        store.put(container, name, file, try_())
    if unquote(name) != name:
        with pytest.raises(objects.NotThere), store.find(container, unquote(name), "shown"):
            pass


@pytest.mark.parametrize("name", NAMES)
def test_http(web: Any, name: str, tmp_path: Path) -> None:
    store = objects.of(f"http://127.0.0.1:{web.server_port}/{{tenant}}", "t")
    round_trip(store, "c", name, tmp_path)
    assert unquote(max(path for path in web.kept if path != "/t/c/here")) == f"/t/c/{name}"
    for path in web.paths:
        assert path.startswith("/t/c"), path
        assert not re.search(r"/\.{0,2}(/|$)", path)


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.slow), "gcs"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Served:
    served: Served = request.getfixturevalue(request.param)
    for name, value in served.options.items():
        monkeypatch.setenv(f"FSSPEC_{served.scheme.upper()}_{name.upper()}", str(value))
    import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]

    fsspec.config.set_conf_env(fsspec.config.conf)
    return served


@pytest.mark.parametrize("name", NAMES)
def test_stores(store: Served, name: str, tmp_path: Path) -> None:
    place = f"wire-{time.time_ns()}"
    store.put(f"{place}/t/c/here", b"x")
    store.asked()
    round_trip(objects.of(f"{store.scheme}://images/{place}/{{tenant}}", "t"), "c", name, tmp_path)
    paths = [unquote(line.partition(" ")[2].partition("?")[0]) for line in store.asked()]
    assert any(path.endswith(f"/{place}/t/c/{name}") for path in paths), paths
    for path in paths:
        assert place not in path or f"{place}/t/c" in path, path


@pytest.mark.parametrize(
    "name", ["a?b#c", "a?versionId=x", "a?versionid=x", "a?generation=1", "a#1", "..", "a/../b", "."]
)
def test_names_that_a_driver_takes_for_others_are_refused(name: str, tmp_path: Path) -> None:
    store = objects.of("memory://wire/{tenant}", "t")
    import fsspec

    fsspec.filesystem("memory").pipe("/wire/t/c/a", b"x")
    with pytest.raises(objects.NotThere), store.find("c", name, "shown"):
        pass
    with stored(tmp_path, b"x") as file, pytest.raises(objects.NotThere):
        store.put("c", name, file, try_())
