"""Stores: memory and files of fsspec, S3 by moto's server, Azure by Azurite. The servers' logs tell the requests."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.recipes import NOW
from fixtures.writer import GIB, KIB, MIB, TAP, Image, dynamic, fixed
from vhdcheck import Report, SourceError, Span, acheck, check
from vhdcheck.sources import failures
from vhdcheck.sources.url import AsyncUrlSource, opened_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from tests.remote.stores import Served

    Files: TypeAlias = Any

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")

# Clients of other makers, which deprecate things of each other.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

METADATA_40_GIB = 512 + 1024 + 4 * 20 * KIB + 512
LAYOUTS: dict[str, tuple[Callable[[], Image], int]] = {
    "small": (lambda: dynamic(10 * MIB, blocks=[]), 2),
    "fixed": (lambda: fixed(4 * MIB), 3),
    "dynamic": (lambda: dynamic(10 * MIB, blocks=[0]), 3),
    "dynamic, 40 GiB": (lambda: dynamic(40 * GIB, blocks=range(3)), 3),
    "XenServer, 40 GiB": (lambda: dynamic(40 * GIB, blocks=range(3), **TAP), 3),
    "1 MiB blocks": (lambda: dynamic(40 * GIB, blocks=range(3), block_size=MIB), 4),
    "header elsewhere": (lambda: dynamic(40 * GIB, blocks=range(3), header_offset=256 * KIB), 5),
}


@pytest.fixture(params=["sync", "async"])
def checked(request: pytest.FixtureRequest) -> Callable[..., Report]:
    if request.param == "sync":
        return check

    def run(source: str, **options: object) -> Report:
        return asyncio.run(acheck(source, **options))  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_requests_in_a_store(layout: str, store: Served, checked: Callable[..., Report]) -> None:
    build, requests = LAYOUTS[layout]
    data = build().tobytes()
    store.put("image.vhd", data)
    store.asked()
    url = f"{store.scheme}://images/image.vhd"
    report = checked(url, target="generic", now=NOW, storage_options=store.options)
    asked = store.asked()
    assert len(asked) == report.requests == requests, asked
    assert [line.partition(" ")[0] for line in asked] == ["HEAD"] + ["GET"] * (requests - 1)
    assert (report.source, report.size) == (url, len(data))
    assert report.findings == check(data, target="generic", now=NOW).findings
    if layout == "dynamic, 40 GiB":
        assert METADATA_40_GIB <= report.bytes_read <= METADATA_40_GIB * 1.05


def test_an_object_that_changes_in_a_store(store: Served) -> None:
    store.put("changing.vhd", fixed(4 * MIB).tobytes())
    url = f"{store.scheme}://images/changing.vhd"
    with opened_url(url, storage_options=store.options) as source:
        source.read([Span(0, 512, "head")])
        source.verify()
        store.put("changing.vhd", fixed(4 * MIB, unique_id=bytes(16)).tobytes())
        with pytest.raises(SourceError, match=r"^\w+://images/changing.vhd: the object changed while it was checked"):
            source.read([Span(MIB, 512, "another")])


def test_what_is_not_in_a_store(store: Served, checked: Callable[..., Report]) -> None:
    for name in ("images/none.vhd", "nowhere/none.vhd"):
        with pytest.raises(SourceError, match=rf"^{store.scheme}://{name}: not found$"):
            checked(f"{store.scheme}://{name}", storage_options=store.options)
    store.put("folder/image.vhd", b"x")
    with pytest.raises(SourceError, match="a folder, not a file"):
        checked(f"{store.scheme}://images/folder", storage_options=store.options)


def test_keys_stay_out_of_errors(store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "TIMEOUT", 1.0)
    nobody = {name: re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", value) for name, value in store.options.items()}
    with pytest.raises(SourceError, match=r"no answer within 1 seconds|onnect") as caught:
        check(f"{store.scheme}://images/image.vhd", storage_options=nobody)
    parts = [part for value in store.options.values() for part in value.split(";") if part]
    assert [part for part in parts if part in repr(caught.value)] == []
    assert caught.value.__context__ is None


@pytest.mark.parametrize("call", ["check({!r}, **o)", "__import__('asyncio').run(acheck({!r}, **o))"])
def test_a_process_ends_without_complaint(call: str, store: Served, root: Path) -> None:
    store.put("image.vhd", fixed(4 * MIB).tobytes())
    line = call.format(f"{store.scheme}://images/image.vhd")
    program = (
        f"from vhdcheck import acheck, check; o = {{'storage_options': {store.options!r}}}; print({line}.requests)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


# File systems that are not asynchronous.


@pytest.fixture
def memory() -> Iterator[Files]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def test_memory(memory: Files, checked: Callable[..., Report]) -> None:
    data = dynamic(40 * GIB, blocks=range(3)).tobytes()
    memory.pipe_file("/images/image.vhd", data)
    report = checked("memory://images/image.vhd", now=NOW)
    assert (report.findings, report.size) == (check(data, now=NOW).findings, len(data))
    assert report.requests == 4  # it has to be looked at once more: memory tells no ETag with the bytes
    assert report.bytes_read <= METADATA_40_GIB * 1.05
    with pytest.raises(SourceError, match="not found"):
        checked("memory://images/none.vhd")
    with pytest.raises(SourceError, match="a folder"):
        checked("memory://images")


def test_memory_that_changes(memory: Files) -> None:
    memory.pipe_file("/image.vhd", fixed(MIB).tobytes())
    with opened_url("memory://image.vhd") as source:
        memory.pipe_file("/image.vhd", fixed(MIB).tobytes())
        with pytest.raises(SourceError, match="changed"):
            source.verify()
        memory.pipe_file("/image.vhd", bytes(600))
        with pytest.raises(SourceError, match="changed"):
            source.read([Span(512, 512, "some")])


def test_files(root: Path, checked: Callable[..., Report]) -> None:
    path = root / "fixtures/dynamic-clean.vhd"
    local, remote = check(str(path), now=NOW), checked(path.as_uri(), now=NOW)
    assert (remote.source, remote.findings) == (path.as_uri(), local.findings)
    with pytest.raises(SourceError, match="a folder"):
        checked((root / "fixtures").as_uri())


def test_reading_stops_with_the_first_failure(memory: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe_file("/image.vhd", fixed(MIB).tobytes())
    with opened_url("memory://image.vhd") as source:
        inner: AsyncUrlSource = source._source
        asked = []

        async def failing(start: int, end: int) -> bytes:
            asked.append(start)
            raise FileNotFoundError(start, end)

        monkeypatch.setattr(inner._transport, "get", failing)
        with pytest.raises(SourceError, match="not found"):
            source.read([Span(start * 100 * KIB, 512, "part") for start in range(1, 9)])
        assert len(asked) <= 2
