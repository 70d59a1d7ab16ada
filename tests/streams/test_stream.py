"""StreamChecker: when a verdict is certain, what passes through, and what it costs."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import time
import tracemalloc
from typing import TYPE_CHECKING, BinaryIO

import pytest

from fixtures.writer import GIB, KIB, MIB, dynamic, fixed
from vhdcheck import ImageRefused, SourceError, StreamChecker, UsageError, check
from vhdcheck.engine.stream_checker import check_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GOOD = dynamic(10 * MIB, blocks=[0, 3]).tobytes()
HEAD = 2 * KIB


@pytest.mark.parametrize(
    ("fields", "slug"),
    [
        ({}, "virtual-size-over-limit"),
        ({"disk_type": 6}, "disk-type"),
        ({"unique_id": bytes(16)}, "unique-id-zero"),
        ({"disk_type": 4}, "differencing-disk"),
        ({"disk_type": 6, "creator": b"tap\0", "creator_version": 0x0001_0001}, "disk-type"),
    ],
)
def test_a_dynamic_image_is_refused_after_two_kib(fields: dict[str, object], slug: str) -> None:
    image = dynamic(41 * GIB if not fields else 10 * MIB, **fields).tobytes()  # type: ignore[arg-type]
    checker = StreamChecker()
    assert checker.feed(image[: HEAD - 1]) == []
    assert not checker.refused
    assert slug in {finding.slug for finding in checker.feed(image[HEAD - 1 : HEAD])}
    assert checker.refused


def test_a_good_image_is_never_refused_on_the_way() -> None:
    checker = StreamChecker()
    for start in range(0, len(GOOD), 4099):
        assert checker.feed(GOOD[start : start + 4099]) == []
        assert not checker.refused
    assert checker.finish().ok


def test_the_physical_limit_is_noticed_with_the_first_byte_over_it() -> None:
    checker = StreamChecker(max_physical_size=1 * MIB)
    checker.feed(bytes(1 * MIB))
    assert not checker.refused
    (finding,) = checker.feed(b"\0")
    assert (finding.rule, int(finding.code)) == ("VHD702", 609)
    assert checker.feed(bytes(5 * MIB)) == []


def test_blocks_over_each_other_are_known_once_the_table_has_passed() -> None:
    image = dynamic(10 * MIB, blocks=[0, 3], bat={3: 4}).tobytes()
    checker = StreamChecker()
    assert [finding.slug for finding in checker.feed(image[:HEAD])] == ["duplicate-block"]


def test_a_fixed_disk_is_judged_at_its_end() -> None:
    checker = StreamChecker(max_virtual_size="1MiB")
    assert checker.feed(fixed(3 * MIB).tobytes()) == []
    assert not checker.refused
    assert checker.finish().code == 413
    assert checker.refused


def test_finish_gives_the_same_report_again() -> None:
    checker = StreamChecker()
    checker.feed(GOOD)
    assert checker.finish() is checker.finish()


def test_an_empty_stream_is_refused() -> None:
    report = StreamChecker(name="upload").finish()
    assert (report.source, report.code) == ("upload", 396)


def test_the_clock_and_the_target_are_those_asked_for() -> None:
    checker = StreamChecker(target="azure")
    checker.feed(GOOD)
    assert "disk-type-not-accepted" in {finding.slug for finding in checker.finish().findings}
    with pytest.raises(UsageError):
        StreamChecker(target="nowhere")


def test_a_claimed_table_costs_nothing() -> None:
    """16 GiB claimed: not kept; 32 MiB claimed, the most that is kept: kept as it comes, and it does not come."""
    chunk = bytes(1 * MIB)
    for claim in (0xFFFF_FFFF, 1 << 23):
        head = dynamic(10 * MIB, header={"max_table_entries": claim}).tobytes()[:HEAD]
        StreamChecker().feed(head)  # imports
        tracemalloc.start()
        checker = StreamChecker()
        checker.feed(head)
        for _ in range(2):
            checker.feed(chunk)
        checker.finish()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 6 * MIB


def test_a_long_stream_keeps_memory_flat() -> None:
    chunk = bytes(1 * MIB)
    checker = StreamChecker(max_virtual_size="2TiB", max_physical_size="2TiB")
    checker.feed(dynamic(1024 * GIB).tobytes()[: 3 * MIB])
    tracemalloc.start()
    for _ in range(300):
        checker.feed(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 * MIB


def test_all_of_the_last_64_kib_is_kept() -> None:
    """Of what passes twice as much is kept at the most, and then half of it: this stream ends at that moment."""
    piece = 64 * KIB - 1
    image = fixed(3 * piece - 64 * KIB).tobytes() + b"x" * (64 * KIB - 512)
    assert len(image) == 3 * piece
    checker = StreamChecker()
    for start in range(0, len(image), piece):
        checker.feed(image[start : start + piece])
    report = checker.finish()
    assert report.image.stray is not None
    assert report.findings == check(image).findings


def test_a_wrapped_file_passes_bytes_through_unchanged() -> None:
    checker = StreamChecker()
    file = io.BytesIO(GOOD)
    with checker.wrap(file) as wrapped:
        assert b"".join(iter(lambda: wrapped.read(70_000), b"")) == GOOD
        assert wrapped.read(70_000) == wrapped.read() == b"", "again, behind the end"
    assert file.closed
    assert checker.finish().ok
    checker = StreamChecker()
    assert io.BufferedReader(checker.wrap(io.BytesIO(GOOD))).read() == GOOD
    assert checker.finish().ok
    checker = StreamChecker()
    assert checker.wrap(io.BytesIO(GOOD)).read() == GOOD
    assert checker.finish().ok


def upload(file: io.RawIOBase, size: int) -> None:
    while file.read(size):
        pass


def test_a_wrapped_file_stops_the_uploader_early() -> None:
    source = io.BytesIO(dynamic(41 * GIB).tobytes())
    wrapped = StreamChecker().wrap(source, raise_early=True)
    with pytest.raises(ImageRefused, match=r"^413: ") as caught:
        upload(wrapped, 1024)
    assert caught.value.report.code == 413
    assert caught.value.report.size == source.tell() == HEAD


def test_a_wrapped_file_stops_the_uploader_at_the_end_at_last() -> None:
    wrapped = StreamChecker(max_virtual_size="1MiB").wrap(io.BytesIO(fixed(3 * MIB).tobytes()), raise_early=True)
    with pytest.raises(ImageRefused) as caught:
        upload(wrapped, 65_536)
    assert [finding.slug for finding in caught.value.report.findings][:1] == ["virtual-size-over-limit"]


def test_who_reads_all_at_once_is_told_at_once() -> None:
    wrapped = StreamChecker(max_virtual_size="1MiB").wrap(io.BytesIO(fixed(3 * MIB).tobytes()), raise_early=True)
    with pytest.raises(ImageRefused) as caught:
        wrapped.read()
    assert caught.value.report.code == 413


@pytest.mark.parametrize("raise_early", [False, True])
def test_reading_nothing_is_not_the_end(raise_early: bool) -> None:
    """Nor is it an end that a caller asks again for no bytes behind the last one."""
    checker = StreamChecker()
    wrapped = checker.wrap(io.BytesIO(GOOD), raise_early=raise_early)
    for _ in range(2):
        assert wrapped.read(0) == b""
        assert wrapped.readinto(bytearray()) == 0
        assert wrapped.read(70_000) == GOOD[wrapped.checker.position - 70_000 : wrapped.checker.position]
    assert wrapped.read() == GOOD[140_000:]
    assert checker.finish().ok


async def _chunks(image: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(image), 1000):
        yield image[start : start + 1000]


def test_async_chunks_pass_through_unchanged() -> None:
    async def run() -> bytes:
        return b"".join([chunk async for chunk in checker.awrap(_chunks(GOOD))])

    checker = StreamChecker()
    assert asyncio.run(run()) == GOOD
    assert checker.finish().ok


def test_async_chunks_stop_early() -> None:
    async def run() -> int:
        passed = 0
        try:
            async for chunk in StreamChecker().awrap(_chunks(dynamic(41 * GIB).tobytes()), raise_early=True):
                passed += len(chunk)
        except ImageRefused:
            return passed
        return -1

    assert asyncio.run(run()) == 2000


@pytest.mark.parametrize("raise_early", [False, True])
def test_async_chunks_stop_at_the_end_at_last(raise_early: bool) -> None:
    """All of the image has passed then: what is wrong with a fixed disk is known by its last bytes."""
    passed = bytearray()

    async def run() -> None:
        async for chunk in checker.awrap(_chunks(image), raise_early=raise_early):
            passed.extend(chunk)

    checker = StreamChecker(max_virtual_size="1MiB")
    image = fixed(3 * MIB).tobytes()
    if raise_early:
        with pytest.raises(ImageRefused) as caught:
            asyncio.run(run())
        assert caught.value.report == checker.finish()
    else:
        asyncio.run(run())
    assert (bytes(passed), checker.finish().code) == (image, 413)


def test_a_stream_that_breaks_is_the_medium_s_fault() -> None:
    class Broken(io.RawIOBase):
        def readinto(self, buffer: object) -> int:  # noqa: ARG002 (the signature of the real one)
            raise OSError(5, "Input/output error")

    with pytest.raises(SourceError, match="Input/output error"):
        check_stream(Broken(), StreamChecker())  # type: ignore[arg-type]


def test_deep_finds_what_a_file_s_check_does_not_read() -> None:
    image = dynamic(10 * MIB, blocks=[0, 2], bitmap={0: b"\xf0"}, content={0: b"x" * 5000}).tobytes()
    checker = StreamChecker(target="generic", deep=True)
    checker.feed(image)
    slugs = {finding.slug for finding in checker.finish().findings}
    assert slugs == {finding.slug for finding in check(image, target="generic", deep=True).findings} | {
        "data-in-empty-sectors"
    }


def test_deep_looks_at_the_data_between_small_blocks_that_a_file_s_check_reads_at_once() -> None:
    image = dynamic(400 * KIB, blocks=range(100), block_size=4 * KIB, bitmap=b"\xf0", content={7: b"x" * 2049, 9: b"x"})
    checker = StreamChecker(target="generic", deep=True)
    checker.feed(image.tobytes())
    bitmaps = checker.finish().image.bitmaps
    assert bitmaps is not None
    assert (bitmaps.partial.count, bitmaps.unmarked.count, bitmaps.unmarked.examples[0][0]) == (100, 1, 7)


@pytest.mark.parametrize("block_size", [4 * KIB, 2 * MIB])
def test_bitmaps_sorted_by_a_copy_that_the_footer_contradicts_count_for_nothing(block_size: int) -> None:
    """The copy is XenServer's, so a batmap calls the block full; the footer is not, and knows of no batmap."""
    image = dynamic(
        9 * block_size,
        blocks=[1, 0],
        block_size=block_size,
        bitmap=b"\xf0",
        batmap={"map": b"\x80"},
        front={"creator": b"tap\0", "creator_version": 0x1_0003},
    ).tobytes()
    checker = StreamChecker(target="generic", deep=True)
    checker.feed(image)
    found = list(checker.finish().findings)
    if block_size == 4 * KIB:  # all of it is kept
        assert found == list(check(image, target="generic", deep=True).findings)
    slugs = {finding.slug for finding in found}
    assert "footer-copies-differ" in slugs
    assert "batmap-contradicts-bitmap" not in slugs
    assert ("not-seen" in slugs) == (block_size == 2 * MIB)


@pytest.fixture
def slow() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Both ends of a pipe that does not block: who reads before something is there is given None."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", buffering=0) as source, os.fdopen(writing, "wb", buffering=0) as sink:
        yield source, sink


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' pipes block")
@pytest.mark.parametrize("way", ["read", "readinto"])
def test_nothing_yet_is_no_end(slow: tuple[BinaryIO, BinaryIO], way: str) -> None:
    source, sink = slow
    checker = StreamChecker()
    wrapped = checker.wrap(source)
    buffer = bytearray(4096)

    def some() -> object:
        return wrapped.read(4096) if way == "read" else wrapped.readinto(buffer)

    for start in range(0, len(GOOD), 4096):
        assert some() is None
        sink.write(GOOD[start : start + 4096])
        assert some()
    sink.close()
    assert not some()
    assert checker.finish() == check(GOOD, name=checker.name)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' pipes block")
def test_a_stream_that_does_not_block_is_waited_for(slow: tuple[BinaryIO, BinaryIO]) -> None:
    source, sink = slow

    def send() -> None:
        for start in range(0, len(GOOD), 100_000):
            time.sleep(0.01)
            sink.write(GOOD[start : start + 100_000])
        sink.close()

    sender = threading.Thread(target=send)
    sender.start()
    report = check_stream(source, StreamChecker())
    sender.join()
    assert report.ok
    assert report.size == len(GOOD)
