"""Whatever the bytes: a report and nothing else, for every target; the same findings from every source."""

from __future__ import annotations

import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import (
    EPOCH,
    KIB,
    MIB,
    PARENT_ID,
    QEMU,
    SECTOR,
    TAP,
    UNIQUE_ID,
    Image,
    Locator,
    differencing,
    dynamic,
    fixed,
)
from vhdcheck import Finding, Report, Severity, check, iter_findings
from vhdcheck.targets import names

NOW = EPOCH + 800_000_000
SMALL: dict[str, Any] = {"block_size": 4 * KIB}
VALID = [
    fixed(0),
    fixed(4 * KIB, content=b"boot"),
    fixed(8 * KIB, features=0).cut(1),
    dynamic(20 * KIB, blocks=[0, 3, 1], **SMALL),
    dynamic(20 * KIB, blocks=[0, 1], bitmap=b"\xf0", slack=3584, align=4096, **SMALL),
    dynamic(40 * KIB, blocks=[9, 0], header_offset=4096, table_offset=8192, **SMALL),
    dynamic(10 * MIB),
    dynamic(20 * KIB, blocks=[4, 2], **SMALL, **TAP),
    differencing(20 * KIB, blocks=[1], **SMALL),
    differencing(20 * KIB, blocks=[1, 2], **SMALL, **TAP),
]
BYTES = [image.tobytes() for image in VALID]
EXTREMES = [0, 1, 2, 3, 4, 5, 6, 0x7F, 0xFF, 0x100, 511, 512, 513, 1536, 0xFFFF, 0x1_0000, 0x1_0003, 0x20_0000]
EXTREMES += [
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FE00,
    0xFFFF_FFFF,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 512,
    (1 << 64) - 1,
]
# Structures of the images above, and their fields of 1, 2, 4 and 8 bytes.
PLACES = [0, 512, 1536, 2048, 2560, 4096, 8192, -512, -511]
FIELDS = [(8, 4), (12, 4), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4), (40, 8), (48, 8), (56, 2), (58, 1), (59, 1)]
FIELDS += [(60, 4), (64, 4), (68, 8), (84, 1), (85, 1), (86, 2), (0, 4), (4, 4), (0, 8), (20, 4), (510, 2)]
FIELDS += [(576 + 24 * entry + field, size) for entry in (0, 1, 7) for field, size in ((0, 4), (4, 4), (8, 4), (16, 8))]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid image, and damage it: some of it well signed, some not."""
    data = bytearray(draw(st.sampled_from(BYTES)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.sampled_from(PLACES))
        place = max(0, min(place + len(data) if place < 0 else place, len(data)))
        match draw(st.sampled_from(["field", "field", "field", "flip", "cut", "insert", "append", "zero", "swap"])):
            case "field":
                offset, size = draw(st.sampled_from(FIELDS))
                value = draw(st.sampled_from(EXTREMES)) & (1 << 8 * size) - 1
                if place + offset + size <= len(data):
                    data[place + offset : place + offset + size] = value.to_bytes(size, "big")
            case "flip" if data:
                data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
            case "cut":
                del data[draw(st.integers(0, len(data))) :]
            case "insert":
                at = draw(st.integers(0, len(data)))
                data[at:at] = draw(st.binary(max_size=600))
            case "append":
                data += draw(st.one_of(st.binary(max_size=600), st.just(bytes(data[:2048]))))
            case "zero":
                data[place : place + 512] = bytes(len(data[place : place + 512]))
            case "swap":
                data = data[place:] + data[:place]
    image = Image.from_bytes(bytes(data))
    if draw(st.booleans()):
        for offset in (0, 512, 4096, -512):
            if image.read(offset, 8) in (b"conectix", b"cxsparse") and len(image.read(offset, 512)) == 512:
                size = 1024 if image.read(offset, 8) == b"cxsparse" else 512
                if len(image.read(offset, size)) == size:
                    image.sign(offset)
    return image.tobytes()


U4, U8 = (st.sampled_from(sorted({value & (1 << bits) - 1 for value in EXTREMES})) for bits in (32, 64))
FOOTER_LIES: dict[str, st.SearchStrategy[Any]] = {
    "original_size": U8,
    "current_size": st.one_of(U8, st.integers(0, 60 * KIB)),
    "geometry": st.tuples(st.sampled_from([0, 1, 0xFFFF]), *[st.sampled_from([0, 1, 16, 255])] * 2),
    "disk_type": st.integers(0, 7),
    "data_offset": U8,
    "timestamp": st.one_of(U4, st.integers(800_000_000 - 60, 800_000_000 + 3600)),
    "unique_id": st.sampled_from([b"", b"\x11" * 16, PARENT_ID]),
    "creator": st.sampled_from([b"tap\0", b"qemu", b"vpc ", b"\1\2\3\4", b"d2v\0"]),
    "creator_version": U4,
    "features": st.integers(0, 8),
    "version": U4,
    "saved_state": st.integers(0, 3),
    "hidden": st.integers(0, 3),
    "reserved": st.sampled_from([b"\1", bytes(424) + b"\x55\xaa"]),
}
HEADER_LIES: dict[str, st.SearchStrategy[Any]] = {
    "max_table_entries": st.one_of(U4, st.integers(0, 8)),
    "table_offset": U8,
    "block_size": st.one_of(U4, st.sampled_from([512 << shift for shift in range(23)])),
    "parent_id": st.sampled_from([b"", b"\x11" * 16, UNIQUE_ID]),
    "parent_timestamp": U4,
    "parent_name": st.one_of(st.binary(max_size=20), st.text(max_size=20), st.just("\\\\host\\share\\x.vhd")),
    "data_offset": U8,
    "version": U4,
    "parent_reserved": U4,
    "reserved": st.just(b"\1"),
}
LOCATORS = st.builds(
    Locator,
    st.sampled_from([b"W2ru", b"W2ku", b"MacX", b"Mac ", b"XXXX", b""]),
    st.one_of(st.text(max_size=9), st.binary(max_size=9), st.just("file://host/x")),
    data_space=st.one_of(st.none(), U4),
    data_length=st.one_of(st.none(), U4),
    data_offset=st.one_of(st.none(), U8),
    reserved=st.sampled_from([0, 1]),
)
BATMAP_LIES: dict[str, st.SearchStrategy[Any]] = {
    "map": st.binary(max_size=4),
    "offset": U8,
    "sectors": st.one_of(U4, st.integers(0, 3)),
    "version": st.sampled_from([0x1_0001, 0x1_0002, 0x1_0003]),
    "key_cookie": st.just(1),
    "checksum": U4,
}


def some(lies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a few of the fields."""
    names_ = st.lists(st.sampled_from(sorted(lies)), max_size=2, unique=True)
    return names_.flatmap(lambda drawn: st.fixed_dictionaries({name: lies[name] for name in drawn}))


@st.composite
def lying(draw: st.DrawFn) -> bytes:
    """Draw an image whose fields lie, both footers alike, and that is well signed: it gets past the first checks."""
    entries = draw(st.integers(1, 8))
    options: dict[str, Any] = {
        "blocks": draw(st.lists(st.integers(0, entries - 1), unique=True, max_size=5)),
        "bitmap": draw(st.sampled_from([b"\xff", b"\0", b"\xf0", b"\xff" + bytes(5) + b"x"])),
        "block_size": draw(st.sampled_from([512, 4 * KIB, 8 * KIB])),
        "spacing": draw(st.sampled_from([None, None, 3, 9, 40])),
        "slack": draw(st.sampled_from([0, 0, 512, 70_000])),
        "header": draw(some(HEADER_LIES)),
        "batmap": draw(st.one_of(st.none(), some(BATMAP_LIES))),
        "locators": draw(st.lists(LOCATORS, max_size=3)),
        **draw(st.sampled_from([{}, {}, QEMU, TAP, {"disk_type": 4}])),
        **draw(some(FOOTER_LIES)),
    }
    sector = st.one_of(st.integers(0, 60), U4)
    options["bat"] = draw(st.dictionaries(st.integers(0, entries - 1), sector, max_size=2))
    size = entries * options["block_size"] - SECTOR * draw(st.integers(0, options["block_size"] // SECTOR - 1))
    if options["spacing"] and options["spacing"] * SECTOR < options["block_size"]:
        options["bat"] |= dict(zip(options["blocks"], range(4, 99, options["spacing"]), strict=False))
        options["spacing"] = None
    if draw(st.integers(0, 7)) == 0:
        lies = draw(some({name: FOOTER_LIES[name] for name in FOOTER_LIES}))
        return fixed(size, content=draw(st.sampled_from([b"", b"QFI\xfb", b"conectix"])), **lies).tobytes()
    locators = [loc for loc in options["locators"] if len(loc.raw) < 512]
    image = dynamic(size, **{**options, "locators": locators})
    return image.cut(draw(st.sampled_from([0, 0, 0, 1, 511, 512, 4096]))).tobytes()


HOSTILE = st.one_of(
    lying(), lying(), mutated(), st.binary(max_size=5000), st.binary(max_size=600).map(lambda b: b + BYTES[0])
)


def assert_whole(report: Report, size: int) -> None:
    """A report is complete, and does not contradict itself."""
    assert type(report) is Report
    assert not report.crashed, [finding.message for finding in report.findings]
    assert report.size == size
    assert (report.code is None, report.message is None) == (report.ok, report.ok)
    assert report.bytes_read <= 4 * size + 1
    for finding in report.findings:
        assert all(isinstance(text, str) for text in (finding.expected, finding.found, finding.fix))
        assert finding.message
        for span in (finding.at, *finding.related):
            assert span is None or min(span.offset, span.length) >= 0
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, reverse=True)


def key(finding: Finding) -> tuple[object, ...]:
    """Say what a finding is, but for its severity, which is the target's."""
    return finding.rule, finding.message, finding.at, finding.expected, finding.found


@given(HOSTILE)
def test_any_bytes_give_a_report(data: bytes) -> None:
    generic = check(data, target="generic", now=NOW)
    assert_whole(generic, len(data))
    for target in names():
        for deep in (False, True):
            report = check(data, target=target, now=NOW, deep=deep)
            assert_whole(report, len(data))
            # A target adds and raises; it takes nothing away, and lowers nothing.
            severity = {key(finding): finding.severity for finding in report.findings}
            assert not Counter(map(key, generic.findings)) - Counter(map(key, report.findings))
            assert all(severity[key(finding)] >= finding.severity for finding in generic.findings)
            raised = [finding for finding in report.findings if finding.raised_by]
            assert all(finding.severity is Severity.ERROR and finding.raised_by == target for finding in raised)


@given(HOSTILE, st.booleans())
def test_every_source_gives_the_same_findings(data: bytes, deep: bool) -> None:
    expected = check(data, now=NOW, deep=deep)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.vhd")
        path.write_bytes(data)
        file = io.BytesIO(data)
        for source in (path, str(path), bytearray(data), memoryview(data), file):
            report = check(source, now=NOW, deep=deep)
            assert (report.findings, report.size) == (expected.findings, expected.size)
            assert (report.bytes_read, report.rounds) == (expected.bytes_read, expected.rounds)
            assert Counter(iter_findings(source, now=NOW, deep=deep)) == Counter(expected.findings)


@given(HOSTILE)
def test_the_same_bytes_give_the_same_report(data: bytes) -> None:
    assert check(data, now=NOW) == check(data, now=NOW)


@given(HOSTILE)
def test_what_is_not_asked_for_does_not_matter(data: bytes) -> None:
    """Bytes outside what the plan reads may be anything: the verdict on a disk does not hang on its guest's data."""

    class Watched(io.BytesIO):
        def __init__(self) -> None:
            super().__init__(data)
            self.seen = bytearray(len(data))

        def read(self, size: int | None = -1, /) -> bytes:
            start = self.tell()
            part = super().read(size)
            self.seen[start : start + len(part)] = part
            return part

    watched = Watched()
    expected = check(watched, now=NOW)
    assert check(bytes(watched.seen), now=NOW).findings == expected.findings
