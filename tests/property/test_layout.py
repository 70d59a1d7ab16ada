"""Arbitrary field values: the declaration builds the bytes that `struct` builds, and parses them back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fixtures.structures import Batmap, Footer, Header, Locator
from vhdcheck.format import layout

U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))


def raw(size: int) -> st.SearchStrategy[bytes]:
    """Draw exactly `size` bytes, often mostly zeros."""
    return st.binary(max_size=size).map(lambda data: data.ljust(size, b"\0"))


FOOTERS = st.builds(
    Footer,
    original_size=U64,
    current_size=U64,
    geometry=st.tuples(U16, U8, U8),
    disk_type=U32,
    data_offset=U64,
    timestamp=U32,
    unique_id=raw(16),
    creator=raw(4),
    creator_version=U32,
    host=raw(4),
    cookie=raw(8),
    features=U32,
    version=U32,
    saved_state=U8,
    hidden=U8,
    reserved=raw(426),
    checksum=U32,
)
LOCATORS = st.builds(Locator, raw(4), raw(16), data_space=U32, data_length=U32, data_offset=U64, reserved=U32)
HEADERS = st.builds(
    Header,
    U32,
    U64,
    U32,
    raw(16),
    U32,
    raw(512),
    st.tuples(*[LOCATORS] * 8),
    raw(8),
    U64,
    U32,
    U32,
    raw(256),
    U32,
)
BATMAPS = st.builds(
    Batmap,
    raw(512),
    U64,
    U32,
    U32,
    raw(8),
    marker=U8,
    key_cookie=U8,
    key_nonce=raw(32),
    key_hash=raw(32),
    reserved=raw(418),
    checksum=U32,
)


@given(FOOTERS)
def test_footer(footer: Footer) -> None:
    assert footer.geometry is not None
    cylinders, heads, sectors_per_track = footer.geometry
    values = {
        "cookie": footer.cookie,
        "features": footer.features,
        "file_format_version": footer.version,
        "data_offset": footer.data_offset,
        "timestamp": footer.timestamp,
        "creator_application": footer.creator,
        "creator_version": footer.creator_version,
        "creator_host_os": footer.host,
        "original_size": footer.original_size,
        "current_size": footer.current_size,
        "cylinders": cylinders,
        "heads": heads,
        "sectors_per_track": sectors_per_track,
        "disk_type": footer.disk_type,
        "checksum": footer.checksum,
        "unique_id": footer.unique_id,
        "saved_state": footer.saved_state,
        "hidden": footer.hidden,
        "reserved": footer.reserved,
    }
    assert layout.FOOTER.build(values) == footer.pack()
    assert fields(layout.FOOTER, footer.pack()) == values
    short = {**values, "reserved": footer.reserved[:-1]}
    assert layout.SHORT_FOOTER.build(short) == footer.pack()[:-1]
    assert fields(layout.SHORT_FOOTER, footer.pack()[:-1]) == short


@given(HEADERS)
def test_header(header: Header) -> None:
    locators = [
        {
            "platform_code": locator.platform_code,
            "data_space": locator.data_space,
            "data_length": locator.data_length,
            "reserved": locator.reserved,
            "data_offset": locator.data_offset,
        }
        for locator in header.locators
    ]
    values = {
        "cookie": header.cookie,
        "data_offset": header.data_offset,
        "table_offset": header.table_offset,
        "header_version": header.version,
        "max_table_entries": header.max_table_entries,
        "block_size": header.block_size,
        "checksum": header.checksum,
        "parent_unique_id": header.parent_id,
        "parent_timestamp": header.parent_timestamp,
        "reserved_1": header.parent_reserved,
        "parent_unicode_name": header.parent_name,
        "parent_locators": locators,
        "reserved_2": header.reserved,
    }
    assert layout.DYNAMIC_HEADER.build(values) == header.pack()
    assert fields(layout.DYNAMIC_HEADER, header.pack()) == values


@given(BATMAPS)
def test_batmap(batmap: Batmap) -> None:
    packed = batmap.pack(10 << 20)
    first = {
        "cookie": batmap.cookie,
        "offset": batmap.offset,
        "size": batmap.sectors,
        "version": batmap.version,
        "checksum": batmap.checksum,
    }
    new = {
        **first,
        "marker": batmap.marker,
        "key_hash_cookie": batmap.key_cookie,
        "key_nonce": batmap.key_nonce,
        "key_hash": batmap.key_hash,
        "reserved": batmap.reserved,
    }
    old = {**first, "reserved": packed[28:]}
    assert layout.BATMAP_HEADER_1_2.build(new) == packed == layout.BATMAP_HEADER_1_1.build(old)
    assert fields(layout.BATMAP_HEADER_1_2, packed) == new
    assert fields(layout.BATMAP_HEADER_1_1, packed) == old


@given(st.lists(U32, max_size=40))
def test_table(entries: list[int]) -> None:
    table = layout.block_allocation_table(len(entries))
    packed = b"".join(entry.to_bytes(4, "big") for entry in entries)
    assert table.build(entries) == packed
    assert list(table.parse(packed)) == entries


def fields(structure: Any, packed: bytes) -> dict[str, Any]:  # construct's own type
    """Parse as the model does, compiled, and drop construct's own entries."""
    values: dict[str, Any] = _plain(layout.compiled(structure).parse(packed))
    return values


def _plain(parsed: Any) -> Any:
    if isinstance(parsed, dict):
        return {name: _plain(value) for name, value in parsed.items() if name != "_io"}
    return [_plain(item) for item in parsed] if isinstance(parsed, list) else parsed
