"""Passwords and signatures stay out of every text."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from tests.forms import written
from vhdcheck import SourceError, UsageError, acheck, check, targets
from vhdcheck.redaction import redacted
from vhdcheck.report.formats.text import TextReport
from vhdcheck.sources import transports
from vhdcheck.sources.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.remote.server import Handler, Server

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

SIGNATURE = "sv=2024-11-04&sig=Abc%2FdeF%2Bgh%3D&se=2026-12-01"
SECRETS = ("Abc", "deF", "hunter2", "johndoe", "2024-11-04", "tok3n")


def assert_clean(text: str) -> None:
    assert [secret for secret in SECRETS if secret in text] == []


def everything(error: BaseException) -> str:
    """All texts of an exception, of what caused it, and of what it interrupted."""
    seen: list[str] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None:
            seen += [str(each), repr(each), repr(each.args), repr(vars(each))]
            todo += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    return "\n".join([*seen, "".join(traceback.format_exception(error))])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a.vhd", "https://example.org/a.vhd"),
        (f"https://x.blob.core.windows.net/c/a.vhd?{SIGNATURE}", "https://x.blob.core.windows.net/c/a.vhd?***"),
        ("https://johndoe:hunter2@example.org:8443/a.vhd", "https://***@example.org:8443/a.vhd"),
        ("https://tok3n@example.org/a.vhd#tok3n", "https://***@example.org/a.vhd#***"),
        ("https://johndoe:hunter2@[::1]:80/a@b.vhd", "https://***@[::1]:80/a@b.vhd"),
        ("https://[::1]/a.vhd", "https://[::1]/a.vhd"),
        ("https://johndoe:hun/ter2@example.org/a.vhd?q", "https://***@example.org/a.vhd?***"),
        ("https://johndoe:hunter2?x@example.org/a.vhd", "https://***@example.org/a.vhd"),
        ("https://johndoe:hunter2", "https://***@"),
        ("https://example.org?sig=tok3n", "https://example.org?***"),
        ("s3://bucket/folder/a@b.vhd", "s3://bucket/folder/a@b.vhd"),
        ("s3://johndoe:hunter2@bucket/a.vhd", "s3://***@bucket/a.vhd"),
        ("HTTPS://johndoe@EXAMPLE.org/", "HTTPS://***@EXAMPLE.org/"),
        ("a?b@c.vhd", "a?b@c.vhd"),
    ],
)
def test_redacted(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert redacted(shown) == shown
    assert_clean(redacted(url))


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("https://x/y", True),
        ("s3://b/k", True),
        ("memory://a", True),
        ("swift://server/account/container/object", True),
        ("c://windows", False),
        ("C:\\disk.vhd", False),
        ("disk.vhd", False),
        ("a b://c", False),
        ("://c", False),
        ("./https://c", False),
        (b"https://x/y", False),
        (None, False),
    ],
)
def test_what_is_a_url(source: object, answer: bool) -> None:
    assert is_url(source) is answer


def with_secrets(server: Server, url: str) -> str:
    return url.replace("://", "://johndoe:hunter2@") + f"?{SIGNATURE}"


@pytest.mark.parametrize("name", [None, "by-name"])
def test_reports(name: str | None, server: Server) -> None:
    url = with_secrets(server, server.put("image.vhd", dynamic(10 * MIB, unique_id=bytes(16), saved_state=1)))
    if name:
        name = f"{name}://johndoe:hunter2@x?{SIGNATURE}"
    for report in (check(url, name=name), asyncio.run(acheck(url, name=name))):
        assert report.findings
        texts = [written("json", [report], targets.load("rackspace")), repr(report)]
        texts += TextReport(colour=False).image(report)
        assert_clean("\n".join(texts))
        assert json.loads(texts[0])["reports"][0]["requests"] == report.requests == 1
    # and yet the server got them, character by character
    assert server.asked[0][1] == f"/image.vhd?{SIGNATURE}"
    assert server.headers[0]["Authorization"].startswith("Basic ")


def nothing(handler: Handler) -> bool:
    handler.close_connection = True
    return True


def moved(to: str) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        handler.answer(302, {"Location": to})
        return True

    return before


def status(number: int) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        handler.answer(number, {"WWW-Authenticate": "Basic"}, b"hunter2")
        return True

    return before


def whole(handler: Handler) -> bool:
    handler.whole()
    return True


@pytest.mark.parametrize(
    "before",
    [
        nothing,
        whole,
        moved("http://johndoe:hunter2@127.0.0.1:1/?sig=tok3n"),
        moved("tok3n://johndoe:hunter2@there"),
        moved("http://johndoe:hunter2@:99999999/tok3n"),
        *map(status, (401, 403, 404, 412, 416, 500, 503, 600)),
    ],
)
def test_errors(before: Callable[[Handler], bool], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "BACKOFF", 0.01)
    server.before = before
    url = with_secrets(server, server.put("image.vhd", fixed(GIB)))
    with pytest.raises(SourceError) as blocking:
        check(url)
    with pytest.raises(SourceError) as waiting:
        asyncio.run(acheck(url))
    for caught in (blocking, waiting):
        text = everything(caught.value)
        assert_clean(text)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert str(caught.value).startswith(redacted(url) + ": ")


@pytest.mark.parametrize(
    "url",
    [
        "http://johndoe:hunter2@127.0.0.1:notaport/a.vhd?sig=tok3n",
        "http://johndoe:hunter2@[::1/a.vhd?sig=tok3n",
        "http://johndoe:hunter2@/a.vhd?sig=tok3n",
        "http://johndoe:hunter2@\x00/?sig=tok3n",
        "http://?sig=tok3n",
        "memory://johndoe:hunter2@nothing?sig=tok3n",
        "file:///nowhere/johndoe:hunter2@nothing?sig=tok3n",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        check(url)
    if not url.startswith("file:"):  # a path has no user
        assert_clean(everything(caught.value))


def test_a_driver_that_tells_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor of a driver, and its methods, may quote whatever they were given."""

    class Teller(fsspec.AbstractFileSystem):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, *, password: str, fail: bool = False) -> None:
            if fail:
                raise RuntimeError(f"cannot use {password}")
            super().__init__(password=password)

        def info(self, path: str) -> dict[str, object]:
            raise RuntimeError(f"{path} with {self.storage_options['password']}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", lambda _: Teller)
    url = "teller://there/a.vhd?sig=tok3n"  # not in the line that a traceback shows
    for options in ({"password": "hunter2"}, {"password": "hunter2", "fail": True}):
        with pytest.raises(SourceError) as caught:
            check(url, storage_options=options)
        assert_clean(everything(caught.value))


def test_missing_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no driver for nobody://"):
        check("nobody://johndoe:hunter2@x/y")

    def missing(scheme: str) -> None:
        raise ImportError(f"Install {scheme}fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    for url, advice in (
        ("https://x/y", "vhdcheck with its extra remote"),
        ("s3://x/y", "vhdcheck with its extra s3"),
        ("az://x/y", "vhdcheck with its extra azure"),
        ("gs://x/y", "vhdcheck with its extra gcs"),
        ("swift://x/y", "swift:// is not supported. Give the object's own URL"),
    ):
        with pytest.raises(UsageError, match=advice):
            check(url)
        with pytest.raises(UsageError, match=advice):
            asyncio.run(acheck(url))
