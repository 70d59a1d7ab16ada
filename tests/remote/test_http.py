"""HTTP: the same verdict as from a file, three requests at the most, and servers that misbehave."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import NOW
from fixtures.writer import GIB, KIB, MIB, TAP, Image, differencing, dynamic, fixed
from vhdcheck import Report, SourceError, acheck, check, iter_findings
from vhdcheck.sources import failures, transports

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.remote.server import Handler, Server

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

METADATA_40_GIB = 512 + 1024 + 4 * 20 * KIB + 512


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "BACKOFF", 0.01)


@pytest.fixture(params=["sync", "async"])
def checked(request: pytest.FixtureRequest) -> Callable[..., Report]:
    if request.param == "sync":
        return check

    def run(source: str, **options: object) -> Report:
        return asyncio.run(acheck(source, **options))  # type: ignore[arg-type]

    return run


def test_every_image_as_from_a_file(root: Path, server: Server) -> None:
    images = [path for path in sorted((root / "fixtures").rglob("*.vhd")) if path.is_file()]
    assert len(images) > 200
    for path in images:
        url = server.put(path.name, path.read_bytes())
        for deep in (False, True):
            local, remote = check(str(path), now=NOW, deep=deep), check(url, now=NOW, deep=deep)
            assert (remote.source, remote.size, remote.findings) == (url, local.size, local.findings)
            assert remote.image.unexamined == local.image.unexamined


LAYOUTS: dict[str, tuple[Callable[[], Image], int]] = {
    "nothing": (lambda: Image(0), 1),
    "4 KiB": (lambda: fixed(4096 - 512), 1),
    "fixed": (lambda: fixed(40 * GIB), 2),
    "dynamic, 10 MiB": (lambda: dynamic(10 * MIB, blocks=range(5)), 2),
    "dynamic, 40 GiB": (lambda: dynamic(40 * GIB, blocks=range(3)), 3),
    "dynamic, 40 GiB, all used": (lambda: dynamic(40 * GIB, blocks=range(20 * KIB)), 3),
    "dynamic, 2040 GiB": (lambda: dynamic(2040 * GIB, blocks=range(3)), 3),
    "XenServer, 40 GiB": (lambda: dynamic(40 * GIB, blocks=range(3), **TAP), 3),
    "child": (lambda: differencing(40 * GIB, blocks=[0]), 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_requests_at_the_most(layout: str, server: Server, checked: Callable[..., Report]) -> None:
    build, requests = LAYOUTS[layout]
    image = build()
    report = checked(server.put("image.vhd", image), target="generic", now=NOW)
    assert len(server.asked) == report.requests == report.rounds == requests
    assert report.bytes_read == server.sent
    assert report.size == image.length
    assert all(asked and asked.startswith("bytes=") and not asked.startswith("bytes=-") for asked in server.ranges)


def test_bytes_of_a_dynamic_image(server: Server, checked: Callable[..., Report]) -> None:
    report = checked(server.put("image.vhd", dynamic(40 * GIB, blocks=range(20 * KIB))), target="generic", now=NOW)
    assert report.ok
    assert METADATA_40_GIB <= report.bytes_read == server.sent <= METADATA_40_GIB * 1.05


def test_findings_come_as_they_are_certain(server: Server) -> None:
    url = server.put("image.vhd", dynamic(40 * GIB, blocks=[0], saved_state=1))
    found = iter_findings(url, now=NOW)
    next(found)
    assert len(server.asked) == 2
    found.close()  # type: ignore[attr-defined]


def test_bitmaps_by_many_requests(server: Server) -> None:
    report = check(server.put("image.vhd", dynamic(100 * MIB, blocks=range(50))), deep=True, now=NOW)
    assert report.ok
    assert report.requests == len(server.asked) == 2 + 49  # the first lies in the first 4 KiB
    assert report.rounds == 3


def test_a_buffer_and_a_path_asynchronously(write: Callable[[bytes], Path]) -> None:
    data = dynamic(10 * MIB).tobytes()
    assert asyncio.run(acheck(data, now=NOW)).findings == check(data, now=NOW).findings
    report = asyncio.run(acheck(str(write(data)), now=NOW))
    assert (report.ok, report.requests) == (True, 0)


def test_many_at_once_in_one_loop(server: Server) -> None:
    urls = [server.put(f"{number}.vhd", fixed(number * MIB)) for number in range(4, 12)]

    async def all_of_them() -> list[Report]:
        return await asyncio.gather(*(acheck(url, now=NOW) for url in urls))

    assert [report.size for report in asyncio.run(all_of_them())] == [n * MIB + 512 for n in range(4, 12)]


def test_the_blocking_call_in_a_running_loop(server: Server) -> None:
    url = server.put("image.vhd", fixed(4 * MIB))

    async def careless() -> Report:
        return check(url, now=NOW)

    assert asyncio.run(careless()).ok


# Servers without ranges.


def without_ranges(handler: Handler) -> bool:
    handler.whole()
    return True


def test_a_server_that_ignores_ranges(server: Server, checked: Callable[..., Report]) -> None:
    server.before = without_ranges
    url = server.put("image.vhd", fixed(GIB))
    with pytest.raises(
        SourceError, match=r"the server ignores ranges: it would send 1 GiB \(1 073 742 336 bytes\)|--download"
    ):
        checked(url)
    assert len(server.asked) == 1
    assert server.sent < 16 * MIB  # what fits into the buffers of two sockets


def test_downloaded_where_that_is_allowed(server: Server, checked: Callable[..., Report]) -> None:
    server.before = without_ranges
    image = dynamic(40 * GIB, blocks=range(3))
    report = checked(server.put("image.vhd", image), download=True, now=NOW)
    assert report.findings == check(image.tobytes(), now=NOW).findings
    assert (report.requests, report.bytes_read, server.sent) == (1, image.length, image.length)


def test_not_downloaded_if_ranges_work(server: Server) -> None:
    report = check(server.put("image.vhd", fixed(GIB)), download=True, now=NOW)
    assert (report.requests, report.bytes_read) == (2, 8192)


def test_a_short_object_without_ranges(server: Server, checked: Callable[..., Report]) -> None:
    server.before = without_ranges
    assert checked(server.put("image.vhd", fixed(2048)), target="generic", now=NOW).bytes_read == 2560
    assert checked(server.put("empty.vhd", b"")).size == 0


def test_a_download_that_stalls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "TIMEOUT", 0.2)

    def stalling(handler: Handler) -> bool:
        handler.begin(200, {}, 9 * MIB)
        handler.body(bytes(MIB))
        handler.wfile.flush()
        time.sleep(0.8)
        handler.close_connection = True
        return True

    server.before = stalling
    with pytest.raises(SourceError, match=r"no answer within 0.2 seconds"):
        check(server.put("image.vhd", fixed(8 * MIB)), download=True)


# Servers that lie, and objects that change.


def lying(said: str | None, cut: int = 0) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        handler.part(0, 4096 - cut, said)
        return True

    return before


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (lying(None), "does not say which bytes"),
        (lying("bytes 0-4095/*"), "does not say which bytes"),
        (lying("bytes 512-4607/8389120"), "other bytes"),
        (lying("bytes 0-511/8389120"), "other bytes"),
        (lying("bytes 0-4095/1000"), "other bytes"),
        (lying("bytes 0-4095/8389120", cut=96), "other bytes"),
        (lying(f"bytes 0-4095/{'9' * 30}"), "does not say which bytes"),
    ],
)
def test_lies_about_a_range(before: Callable[[Handler], bool], told: str, server: Server) -> None:
    server.before = before
    with pytest.raises(SourceError, match=told):
        check(server.put("image.vhd", fixed(8 * MIB)))
    assert len(server.asked) == 1


def test_lies_about_the_length(server: Server, checked: Callable[..., Report]) -> None:
    """It says that the object is longer than it is: there is nothing at its end."""

    def before(handler: Handler) -> bool:
        if handler.headers["Range"] != "bytes=0-4095":
            return False
        handler.part(0, 4096, f"bytes 0-4095/{GIB}")
        return True

    server.before = before
    with pytest.raises(SourceError, match="changed while it was checked"):
        checked(server.put("image.vhd", fixed(8 * MIB)))


def test_answers_that_end_early(server: Server) -> None:
    def before(handler: Handler) -> bool:
        handler.begin(206, {"Content-Range": "bytes 0-4095/8389120"}, 4096)
        handler.body(bytes(1000))
        handler.close_connection = True
        return True

    server.before = before
    with pytest.raises(SourceError, match=r"breaks off|ends early"):
        check(server.put("image.vhd", fixed(8 * MIB)))
    assert len(server.asked) == 3


def test_compressed(server: Server) -> None:
    def before(handler: Handler) -> bool:
        handler.answer(206, {"Content-Range": "bytes 0-4095/8389120", "Content-Encoding": "gzip"}, bytes(4096))
        return True

    server.before = before
    with pytest.raises(SourceError, match="compressed"):
        check(server.put("image.vhd", fixed(8 * MIB)))
    assert server.headers[0]["Accept-Encoding"] == "identity"


def changing(server: Server, **changes: object) -> None:
    """Change the object after the first answer."""

    def before(handler: Handler) -> bool:
        if len(server.asked) > 1:
            for name, value in changes.items():
                setattr(server, name, value)
        return False

    server.before = before


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ('"one"', {"etag": '"two"'}),
        ('W/"one"', {"etag": 'W/"two"'}),
        (None, {"modified": "Tue, 24 Nov 2026 10:00:00 GMT"}),
        ('"one"', {"etag": None}),
        (None, {"objects": {"/image.vhd": fixed(8 * MIB + 512)}}),
        (None, {"objects": {"/image.vhd": fixed(1 * MIB)}}),
    ],
)
def test_an_object_that_changes(
    first: str | None, then: dict[str, object], server: Server, checked: Callable[..., Report]
) -> None:
    server.etag = first
    changing(server, **then)
    with pytest.raises(SourceError, match="the object changed while it was checked"):
        checked(server.put("image.vhd", fixed(8 * MIB)))
    assert len(server.asked) == 2
    assert ("If-Match" in server.headers[1]) == (first == '"one"')


# Statuses, tries, time.


@pytest.mark.parametrize(
    ("status", "told", "tries"),
    [
        (401, "credentials", 1),
        (403, "access denied", 1),
        (404, "not found", 1),
        (416, "not in the object", 1),
        (429, "too many", 1),
        (500, r"the server failed \(HTTP 500\)", 1),
        (503, r"the server failed \(HTTP 503\)", 3),
        (418, r"the server refuses \(HTTP 418\)", 1),
    ],
)
def test_statuses(status: int, told: str, tries: int, server: Server, checked: Callable[..., Report]) -> None:
    def before(handler: Handler) -> bool:
        handler.answer(status, {}, b"<html>no</html>")
        return True

    server.before = before
    url = server.put("image.vhd", fixed(8 * MIB))
    with pytest.raises(SourceError, match=told) as caught:
        checked(url)
    assert str(caught.value).startswith(f"{url}: ")
    assert len(server.asked) == tries


@pytest.mark.parametrize("status", [502, 503, 504, 0])
def test_another_try(status: int, server: Server, checked: Callable[..., Report]) -> None:
    def before(handler: Handler) -> bool:
        if len(server.asked) in {1, 2, 4}:
            if status:
                handler.answer(status)
            handler.close_connection = True  # and without a status: no answer at all
            return True
        return False

    server.before = before
    report = checked(server.put("image.vhd", fixed(8 * MIB)), now=NOW)
    assert report.ok
    assert report.requests == len(server.asked) == 5


def test_redirects_are_followed_and_counted(server: Server) -> None:
    url = server.put("image.vhd", fixed(8 * MIB))

    def before(handler: Handler) -> bool:
        if handler.path != "/old":
            return False
        handler.answer(302, {"Location": url})
        return True

    server.before = before
    report = check(f"{server.url}/old", now=NOW)
    assert report.ok
    assert report.requests == len(server.asked) == 4


def test_a_slow_server(server: Server, checked: Callable[..., Report], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "TIMEOUT", 0.2)

    def before(handler: Handler) -> bool:
        time.sleep(0.6)
        return False

    server.before = before
    with pytest.raises(SourceError, match=r"no answer within 0.2 seconds"):
        checked(server.put("image.vhd", fixed(8 * MIB)))


def test_nobody_listens(checked: Callable[..., Report]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SourceError, match=r"onnect"):
        checked(f"http://127.0.0.1:{port}/image.vhd")


# What cannot be had, told for what it is.


def raw(answer: bytes) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        handler.wfile.write(answer)
        handler.close_connection = True
        return True

    return before


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "the server closes the connection without an answer"),
        (b"not http at all\r\n\r\n", "the server's answer is malformed: no valid HTTP"),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: apples\r\n\r\n", "the server's answer is malformed: no valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/y\r\nContent-Length: 0\r\n\r\n", "the server redirects to"),
    ],
)
def test_malformed_answers(answer: bytes, told: str, server: Server, checked: Callable[..., Report]) -> None:
    server.before = raw(answer)
    with pytest.raises(SourceError, match=told):
        checked(server.put("image.vhd", fixed(8 * MIB)), download=True)


def test_a_circle_of_redirects(server: Server, checked: Callable[..., Report]) -> None:
    def circle(handler: Handler) -> bool:
        handler.answer(302, {"Location": handler.path})
        return True

    server.before = circle
    with pytest.raises(SourceError, match="the server redirects in a circle, or more than ten times"):
        checked(server.put("image.vhd", fixed(8 * MIB)))


def test_no_more_is_downloaded_than_can_be_accepted(server: Server, checked: Callable[..., Report]) -> None:
    server.before = without_ranges
    url, limit = server.put("image.vhd", fixed(64 * MIB)), 32 * MIB
    with pytest.raises(SourceError, match=r"not downloaded: it is longer than the 32 MiB .* that the target accepts"):
        checked(url, download=True, max_physical_size=limit)
    assert server.sent < 16 * MIB
    assert checked(url, download=True, max_physical_size="65MiB").size == 64 * MIB + 512


def test_nor_than_the_target_accepts_where_no_length_is_told(server: Server) -> None:
    def endless(handler: Handler) -> bool:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            handler.body(b"100000\r\n" + bytes(MIB) + b"\r\n")
        return True

    server.before = endless
    with pytest.raises(SourceError, match=r"longer than the 8 MiB .* that the target accepts"):
        check(server.put("image.vhd", fixed(8 * MIB)), download=True, max_physical_size=8 * MIB)
    assert server.sent < 32 * MIB


def test_nor_than_there_is_room_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(usage.total, usage.used, 10 * MIB))
    server.before = without_ranges
    with pytest.raises(SourceError, match=r"longer than the 9 MiB .* that the temporary folder has room for"):
        check(server.put("image.vhd", fixed(64 * MIB)), download=True, target="generic")
