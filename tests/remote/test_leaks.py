"""Servers that tell what they were asked, and how: nothing of it may come through, in any form of a report.

The secrets are a URL's, the options', and those that a client makes of them: signatures, and the base64 of a login.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, dynamic, fixed
from tests.remote.server import Listener, Server
from tests.remote.test_secrets import everything
from vhdcheck import Failure, SourceError, acheck, audit, check, listed, report
from vhdcheck.sources import transports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.remote.server import Handler

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

USER, PASSWORD = "johnd%40e", "hunt%2Fer2"
QUERIES = {
    "aws4": "X-Amz-Credential=AKIAtok3n%2F20261126&X-Amz-Signature=0a1b2c3d4e5f6071",
    "aws2": "AWSAccessKeyId=AKIAtok3n&Expires=1790000000&Signature=Zm9v%2Bb0a1b2c%3D",
    "sas": "sv=2026-11-04&sr=b&sig=Zm9v%2Bb0a1b2c%3D",
    "token": "access_token=ya29.tok3n#tok3n-part",
}
LOGINS = (b"johnd@e:hunt/er2", b"johnd%40e:hunt%2Fer2")
SECRETS = re.compile(
    "|".join(
        [
            *("johnd(%40|@)e", "hunt(%2F|/)er2", "AKIAtok3n", "0a1b2c", "Zm9v", "ya29", "tok3n"),
            *(
                re.escape(b64encode(each).decode().rstrip("="))
                for each in (b"johnd@e:hunt/er2", b"johnd%40e:hunt%2Fer2")
            ),
        ]
    ),
    re.IGNORECASE,
)
KEY = b64encode(b"tok3n-0a1b2c-hunter2-" * 3).decode()


def assert_clean(text: str) -> None:
    found = SECRETS.search(text)
    assert found is None, text[max(found.start() - 60, 0) : found.end() + 60]
    assert KEY not in text


def signed(url: str, query: str) -> str:
    return url.replace("://", f"://{USER}:{PASSWORD}@") + f"?{query}"


def told(handler: Handler) -> str:
    """All that a request had, in one line."""
    return " ".join([handler.path, *(f"{name}: {value}" for name, value in handler.headers.items())])


def echo(status: int, kind: str = "text/plain") -> Callable[[Handler], bool]:
    """Answer with what was asked: in the reason, the headers, and a body such as S3, Azure and Google send."""

    def before(handler: Handler) -> bool:
        asked = told(handler)
        code = {400: "InvalidArgument", 403: "SignatureDoesNotMatch", 409: "Conflict"}.get(status, "InternalError")
        message = " ".join(re.findall(r"[^\s=&,:;?]+", asked))  # words alone: nothing warns of a URL in them
        xml = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message><StringToSign>{asked}"
        xml = f"{xml}</StringToSign></Error>"
        body = json.dumps({"error": {"code": status, "message": message, "errors": []}}) if "json" in kind else xml
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.send_response(status, asked)
        headers = {"Content-Type": kind, "X-Asked": asked, "x-ms-error-code": message, "WWW-Authenticate": asked}
        for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body.encode())
        return True

    return before


def moved(to: str) -> Callable[[Handler], bool]:
    def before(handler: Handler) -> bool:
        if "second" in handler.path:
            return echo(500)(handler)
        handler.answer(302, {"Location": to})
        return True

    return before


def said(handler: Handler) -> bool:
    """A range that is none, an encoding that is none: both with the request in it."""
    handler.answer(206, {"Content-Range": told(handler), "Content-Encoding": told(handler)}, b"x")
    return True


def garbage(handler: Handler) -> bool:
    """No HTTP at all."""
    handler.wfile.write(f"HTTP/1.1 {told(handler)}\r\n{told(handler)}\r\n\r\n".encode())
    handler.close_connection = True
    return True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "BACKOFF", 0.01)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize(
    "before",
    [
        *map(echo, (400, 401, 403, 404, 409, 416, 429, 500, 503)),
        moved("/second?X-Amz-Signature=0a1b2c3d4e5f6071"),
        moved("http://johnd%40e:hunt%2Fer2@127.0.0.1:1/x?sig=Zm9v"),
        moved("https://tok3n.invalid/x?sig=Zm9v"),
        said,
        garbage,
    ],
)
def test_http_servers_that_tell(before: Callable[[Handler], bool], query: str, server: Server) -> None:
    server.before = before
    url = signed(server.put("image.vhd", fixed(4 * MIB)), QUERIES[query])
    with pytest.raises(SourceError) as blocking:
        check(url)
    with pytest.raises(SourceError) as waiting:
        asyncio.run(acheck(url))
    place = server.url.removeprefix("http://")
    for caught in (blocking, waiting):
        assert_clean(everything(caught.value))
        assert str(caught.value).startswith(f"http://***@{place}/image.vhd?***: ")
    assert_clean(str(next(audit([url]))))


@pytest.mark.parametrize(
    "place",
    [
        "{user}:{password}@127.0.0.1:1/image.vhd",
        "{user}:{password}@[::1]:1/image.vhd",
        "{user}:{password}@[::1/image.vhd",
        "{user}:{password}@nowhere.invalid/image.vhd",
        "{user}:{password}@127.0.0.1:port/image.vhd",
        "{user}:{password}@127.0.0.1:99999/image.vhd",
        "{user}@/image.vhd",
        "{user}:{password}@" + "h" * 300 + "/image.vhd",
        "{user}:{password}@a..b/image.vhd",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https", "ftp", "nobody", "zip://x.vhd::https"])
def test_urls_that_lead_nowhere(scheme: str, place: str) -> None:
    url = f"{scheme}://{place.format(user=USER, password=PASSWORD)}?{QUERIES['aws4']}"
    with pytest.raises((SourceError, ValueError)) as caught:
        check(url)
    assert_clean(everything(caught.value))
    (failure,) = audit([url])
    assert isinstance(failure, Failure)
    assert_clean(str(failure))
    assert failure.source.startswith(f"{scheme}://")
    assert "image.vhd" in failure.source


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[Server]:
    """A server with a certificate that nobody signed."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tok3n", "-days", "2"]
    try:
        subprocess.run([*command, "-keyout", "key", "-out", "cert"], cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    ours = Server()
    with Listener(ours) as listener:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
        listener.thread.start()
        ours.url = ours.url.replace("http://", "https://")
        yield ours
        listener.shutdown()
        listener.thread.join()


def test_a_certificate_that_is_not_trusted(strange: Server) -> None:
    url = signed(strange.put("image.vhd", fixed(4 * MIB)), QUERIES["sas"])
    with pytest.raises(SourceError, match="certificate") as caught:
        check(url)
    assert_clean(everything(caught.value))


def bearer() -> Any:
    """Credentials of Google with a token, as long as theirs are."""
    return pytest.importorskip("google.oauth2.credentials").Credentials("ya29." + KEY)


def credentials(way: str, url: str) -> tuple[str, dict[str, Any]]:
    """A store's URL and options, with the server in the place of the store."""
    account = f"AccountName=johnd@e;AccountKey={KEY};BlobEndpoint={url}/acc;"
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "s3": ("s3", {"key": "AKIAtok3n", "secret": KEY, "token": "ya29.tok3n", "endpoint_url": url}),
        "azure key": ("az", {"connection_string": f"DefaultEndpointsProtocol=http;{account}"}),
        "azure sas": ("az", {"connection_string": f"BlobEndpoint={url}/acc;SharedAccessSignature={QUERIES['sas']};"}),
        "gcs": ("gs", {"endpoint_url": url, "token": bearer() if way == "gcs" else None, "project": "x"}),
    }
    return ways[way]


@pytest.mark.parametrize(
    ("way", "status"),
    # gcsfs tries for half a minute what is no 403
    [*((way, status) for way in ("s3", "azure key", "azure sas") for status in (400, 403, 409)), ("gcs", 403)],
)
def test_stores_that_tell(way: str, status: int, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip({"s3": "s3fs", "gcs": "gcsfs"}.get(way, "adlfs"))
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    scheme, options = credentials(way, server.url)
    server.before = echo(status, "application/json" if way == "gcs" else "application/xml")
    url = f"{scheme}://images/folder/image.vhd"
    errors = []
    for work in (
        lambda: check(url, storage_options=options),
        lambda: asyncio.run(acheck(url, storage_options=options)),
        lambda: list(listed(f"{scheme}://images/folder/", storage_options=options)),
        lambda: list(listed(f"{scheme}://images/folder/*.vhd", storage_options=options)),
    ):
        with pytest.raises(SourceError) as caught:
            work()
        errors.append(caught.value)
    assert server.asked
    for error in errors:
        assert_clean(everything(error))
        assert str(error).startswith(f"{scheme}://images/folder/")


@pytest.mark.parametrize("way", ["s3", "azure key"])
def test_stores_that_are_not_there(way: str) -> None:
    pytest.importorskip({"s3": "s3fs"}.get(way, "adlfs"))
    scheme, options = credentials(way, "http://johnd%40e:hunt%2Fer2@127.0.0.1:1")
    with pytest.raises(SourceError) as caught:
        check(f"{scheme}://images/image.vhd", storage_options=options)
    assert_clean(everything(caught.value))


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def to_end(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(root), **variables}
        command = [sys.executable, "-m", "vhdcheck", *words]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )

    return to_end


@pytest.mark.parametrize("form", report.names())
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_every_form(form: str, jobs: str, run: Any, server: Server, tmp_path: Path) -> None:
    urls = [
        signed(server.put("good.vhd", dynamic(4 * MIB)), QUERIES["aws4"]),
        signed(server.put("bad.vhd", fixed(4 * MIB, unique_id=bytes(16))), QUERIES["sas"]),
        signed(f"{server.url}/none.vhd", QUERIES["token"]),
        f"nobody://{USER}:{PASSWORD}@x/y.vhd",
        f"nobody://{USER}:{PASSWORD}@x/y/",
        f'"{signed("https://h/quoted.vhd", QUERIES["sas"])}"',
        f"h/scheme-forgotten.vhd?{QUERIES['aws2']}",
    ]
    (tmp_path / "list").write_text("\n".join(urls))
    done = run("--files-from", "list", "--format", form, "--jobs", jobs, "--output", "out", "--target", "generic")
    shown = run(*urls, "--format", form, "--jobs", jobs, "--target", "generic", "--map")
    text = (tmp_path / "out").read_text()
    assert done.returncode == shown.returncode == 2
    for each in (text, done.stdout, done.stderr, shown.stdout, shown.stderr):
        assert_clean(each)
    for name in ("good.vhd", "bad.vhd", "none.vhd", "y.vhd", "quoted.vhd", "scheme-forgotten.vhd"):
        assert name in text or (form in ("sarif-github", "github") and name == "good.vhd")
    if form == "jsonl":
        (tmp_path / "list").write_text("\n".join(url for url in urls if not url.endswith("/")))
        again = run("--files-from", "list", "--format", form, "--resume", "out")
        assert again.stdout == ""
        assert_clean(again.stderr)


OPTIONS = ["jobs", "format", "target", "resume", "files-from", "output", "parent", "parents", "executor", "config"]
OPTIONS += ["select", "ignore", "explain", "max-virtual-size", "fail-on", "no-such-option"]


@pytest.mark.parametrize("option", OPTIONS)
def test_a_url_in_the_place_of_another_argument(option: str, run: Any, root: Path) -> None:
    url = signed("https://127.0.0.1:1/image.vhd", QUERIES["sas"])
    for words in ([f"--{option}", url], [f"--{option}={url}"], ["--jobs", "1", url, f"--{option}", url]):
        done = run(str(root / "fixtures" / "dynamic-empty.vhd"), *words)
        assert_clean(done.stdout + done.stderr)
        assert done.returncode == 2


@pytest.mark.parametrize("words", [["{}", "-o", "x.vhd"], ["x.vhd", "-o", "{}"], ["{}", "--dry-run"], ["x", "{}"]])
def test_the_mend_command(words: list[str], root: Path, tmp_path: Path) -> None:
    url = signed("https://127.0.0.1:1/image.vhd", QUERIES["sas"])
    command = [sys.executable, "-m", "vhdcheck.mend", *(word.format(url) for word in words)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert_clean(done.stdout + done.stderr)


def test_names_that_are_given(run: Any, root: Path) -> None:
    """The name of a stream is often the URL that it comes from."""
    url = signed("https://host/image.vhd", QUERIES["aws4"])
    image = (root / "fixtures" / "dynamic-empty.vhd").read_bytes()
    assert_clean(str(check(image, name=url)))
    assert_clean(str(check(root / "fixtures" / "dynamic-empty.vhd", name=url)))
    with pytest.raises(SourceError) as caught:
        check("nowhere.vhd", name=url)
    assert_clean(everything(caught.value))
    for form in report.names():
        command = [sys.executable, "-m", "vhdcheck", "-", "--stdin-filename", url, "--format", form]
        done = subprocess.run(command, cwd=root, input=image, capture_output=True, check=False)
        assert_clean((done.stdout + done.stderr).decode())


def test_what_drivers_log(run: Any, server: Server) -> None:
    """Python writes a warning that nobody handles to standard error; gcsfs warns with the bucket's name."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    options = json.dumps({"endpoint_url": server.url, "token": "anon"})
    server.before = echo(400, "application/json")
    done = run(
        f"gs://{USER}:{PASSWORD}@images/image.vhd", FSSPEC_GS=json.dumps(options), FSSPEC_GCS=json.dumps(options)
    )
    assert done.returncode == 2
    assert_clean(done.stdout + done.stderr)
