"""Bytes become dataclasses with the values that the other writer put in, and each field knows its place."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.structures import Batmap, Footer, Header, Locator, checksum
from fixtures.writer import FIXED, GIB, MIB, PARENT_ID, TAP, UNIQUE_ID, dynamic
from vhdcheck import check
from vhdcheck.format import geometry, layout, span, structures


def test_footer() -> None:
    raw = Footer(
        5 * MIB, original_size=4 * MIB, geometry=(1, 2, 3), disk_type=FIXED, timestamp=9, saved_state=1, hidden=2
    ).pack()
    footer = structures.Footer.parse(raw, 4096, "footer")
    assert (footer.cookie, footer.features, footer.file_format_version) == (b"conectix", 2, 0x10000)
    assert (footer.data_offset, footer.timestamp) == (structures.NO_OFFSET, 9)
    assert (footer.creator_application, footer.creator_version, footer.creator_host_os) == (b"win ", 0xA0000, b"Wi2k")
    assert (footer.original_size, footer.current_size) == (4 * MIB, 5 * MIB)
    assert (footer.geometry, footer.geometry_size) == ((1, 2, 3), 6 * 512)
    assert (footer.disk_type, footer.unique_id) == (FIXED, UNIQUE_ID)
    assert (footer.saved_state, footer.hidden, footer.reserved) == (1, 2, bytes(426))
    assert footer.checksum == footer.computed_checksum == checksum(raw, 64)
    assert (footer.offset, footer.raw, footer.where, footer.is_sparse, footer.is_tap) == (
        4096,
        raw,
        "footer",
        False,
        False,
    )


def test_short_footer() -> None:
    raw = Footer(5 * MIB, features=0).pack()[:511]
    footer = structures.Footer.parse(raw, 0, "footer")
    assert (len(footer.reserved), footer.current_size) == (425, 5 * MIB)
    assert footer.checksum == footer.computed_checksum  # the byte that is missing was zero


@pytest.mark.parametrize(("kind", "is_sparse"), [(0, False), (2, False), (3, True), (4, True), (5, False)])
def test_sparse_types(kind: int, is_sparse: bool) -> None:
    assert structures.Footer.parse(Footer(MIB, disk_type=kind).pack(), 0, "footer").is_sparse == is_sparse


def test_every_field_s_span_is_where_its_bytes_are() -> None:
    raw = Footer(5 * MIB, **TAP).pack()
    footer = structures.Footer.parse(raw, 7168, "footer_copy")
    for name in layout.fields(layout.FOOTER):
        span, value = footer.span(name), getattr(footer, name)
        stored = raw[span.offset - 7168 : span.end - 7168]
        assert value == (stored if isinstance(value, bytes) else int.from_bytes(stored, "big"))
        assert span.field == f"footer_copy.{name}"
    assert {field.name for field in fields(footer)} - {"offset", "raw", "where"} == set(layout.fields(layout.FOOTER))


def test_header() -> None:
    locator = Locator(b"W2ku", "C:\\p", at=4096, data_space=8, reserved=3)
    raw = Header(9, 2048, 512 << 10, PARENT_ID, 11, "p.vhd", (Locator(), locator), parent_reserved=5).pack()
    header = structures.DynamicHeader.parse(raw, 512)
    assert (header.cookie, header.data_offset, header.table_offset) == (b"cxsparse", structures.NO_OFFSET, 2048)
    assert (header.header_version, header.max_table_entries, header.block_size) == (0x10000, 9, 512 << 10)
    assert (header.parent_unique_id, header.parent_timestamp, header.reserved_1) == (PARENT_ID, 11, 5)
    assert (header.parent_name, header.reserved_2) == ("p.vhd", bytes(256))
    assert header.checksum == header.computed_checksum == checksum(raw, 36)
    assert header.parent_locators[1] == structures.ParentLocator(1, b"W2ku", 8, 8, 3, 4096)
    assert [entry.is_empty for entry in header.parent_locators] == [True, False, *[True] * 6]
    assert header.parent_locators[1].space == 8 * 512
    assert header.span("max_table_entries") == span.Span(540, 4, "header", name="max_table_entries")
    place = header.locator_span(1, "data_offset")
    assert place == span.Span(512 + 576 + 24 + 16, 8, "parent_locator", 1, "data_offset")
    assert int.from_bytes(raw[place.offset - 512 : place.end - 512], "big") == 4096


@pytest.mark.parametrize(
    ("stated", "space"), [(0, 0), (1, 512), (511, 511 * 512), (512, 512), (4096, 4096), (700, 700)]
)
def test_locator_space_is_sectors_below_512_and_bytes_above(stated: int, space: int) -> None:
    assert structures.ParentLocator(0, b"W2ru", stated, 1, 0, 1).space == space


@pytest.mark.parametrize(
    ("entries", "block_size", "table", "bitmap", "usable"),
    [
        (1, 2 * MIB, 512, 512, True),
        (128, 512 << 10, 512, 512, True),
        (129, 4 * MIB, 1024, 1024, True),
        (0, 512, 0, 512, True),
        (20480, 2 << 30, 81920, 512 << 10, True),
        (5, 256, 512, 512, False),
        (5, 0, 512, 512, False),
        (5, 3 * MIB, 512, 1024, False),
    ],
)
def test_lengths(entries: int, block_size: int, table: int, bitmap: int, usable: bool) -> None:
    header = structures.DynamicHeader.parse(Header(entries, 1536, block_size).pack(), 512)
    assert (header.table_length, header.table_end) == (table, 1536 + table)
    assert (header.bitmap_length, header.slot_length) == (bitmap, bitmap + block_size)
    assert header.has_usable_block_size == usable


def test_blocks_needed_rounds_up_and_never_wraps() -> None:
    header = structures.DynamicHeader.parse(Header(1, 1536, 512).pack(), 512)
    assert [header.blocks_needed(size) for size in (0, 1, 512, 513)] == [0, 1, 1, 2]
    assert header.blocks_needed((1 << 64) - 1) == 1 << 55


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("p.vhd".encode("utf-16-be"), "p.vhd"),
        ("a\0b".encode("utf-16-be"), "a"),
        (b"\xd8\x00", "\ufffd"),
        (("x" * 256).encode("utf-16-be"), "x" * 256),
        (b"", ""),
    ],
)
def test_parent_name(raw: bytes, name: str) -> None:
    assert structures.DynamicHeader.parse(Header(1, parent_name=raw).pack(), 512).parent_name == name


def test_batmap() -> None:
    raw = Batmap(b"\x80", 2560, 3, key_cookie=1).pack(10 * MIB)
    batmap = structures.Batmap.parse(raw, 2048)
    assert (batmap.cookie, batmap.map_offset, batmap.size, batmap.length) == (b"tdbatmap", 2560, 3, 1536)
    assert (batmap.version, batmap.checksum, batmap.encrypted) == (0x10002, ~0x80 & 0xFFFF_FFFF, True)
    assert batmap.span("size") == span.Span(2048 + 16, 4, "batmap", name="size")
    assert not structures.Batmap.parse(Batmap(b"", 2560, 3, version=0x10001, key_cookie=1).pack(0), 0).encrypted


@given(st.binary(max_size=1024) | st.integers(0, 1024).map(lambda length: b"\xff" * length), st.integers(0, 1020))
def test_checksum_is_the_plain_sum(data: bytes, at: int) -> None:
    assert structures.checksum(data, at) == ~(sum(data) - sum(data[at : at + 4])) & 0xFFFF_FFFF


def test_checksum_is_the_other_writer_s() -> None:
    for data in (bytes(512), b"\xff" * 512, bytes(range(256)) * 2):
        assert structures.checksum(data, 64) == checksum(data, 64)
    assert structures.checksum(b"\xff" * 512, 64) == ~(508 * 255) & 0xFFFF_FFFF


def test_regions_of_an_image_are_its_structures() -> None:
    image = check(dynamic(10 * MIB, blocks=[0], **TAP).tobytes(), target="generic").image
    assert [(span.offset, span.end, span.field) for span in image.metadata] == [
        (0, 512, "footer_copy"),
        (512, 1536, "header"),
        (1536, 2048, "table"),
        (2048, 2560, "batmap"),
        (2560, 3072, "batmap_map"),
    ]
    assert (image.blocks_needed, image.footer_offset) == (5, image.size - 512)


def test_a_file_without_its_footer_ends_where_it_ends() -> None:
    image = check(dynamic(10 * MIB, blocks=[0], tail=False).tobytes(), target="generic").image
    assert image.footer is image.copy is not None
    assert image.footer_offset == image.size


def test_largest_geometry() -> None:
    assert geometry.geometry(40 * GIB) != geometry.MAX_GEOMETRY == geometry.geometry(2040 * GIB)
