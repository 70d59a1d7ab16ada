"""The declaration builds what it parses, agrees with a second writer that uses struct, and has the spec's offsets."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fixtures.structures import Batmap, Footer, Header, Locator
from vhdcheck.format import layout

STRUCTURES = {
    "FOOTER": (layout.FOOTER, 512),
    "SHORT_FOOTER": (layout.SHORT_FOOTER, 511),
    "LOCATOR": (layout.LOCATOR, 24),
    "DYNAMIC_HEADER": (layout.DYNAMIC_HEADER, 1024),
    "BATMAP_HEADER_1_1": (layout.BATMAP_HEADER_1_1, 512),
    "BATMAP_HEADER_1_2": (layout.BATMAP_HEADER_1_2, 512),
    "block_allocation_table": (layout.block_allocation_table(17), 68),
}

# Offsets by the specification's tables (batmap: blktap's vhd.h).
OFFSETS = {
    "FOOTER": {
        "cookie": 0, "features": 8, "file_format_version": 12, "data_offset": 16, "timestamp": 24,
        "creator_application": 28, "creator_version": 32, "creator_host_os": 36, "original_size": 40,
        "current_size": 48, "cylinders": 56, "heads": 58, "sectors_per_track": 59, "disk_type": 60, "checksum": 64,
        "unique_id": 68, "saved_state": 84, "hidden": 85, "reserved": 86,
    },
    "DYNAMIC_HEADER": {
        "cookie": 0, "data_offset": 8, "table_offset": 16, "header_version": 24, "max_table_entries": 28,
        "block_size": 32, "checksum": 36, "parent_unique_id": 40, "parent_timestamp": 56, "reserved_1": 60,
        "parent_unicode_name": 64, "parent_locators": 576, "reserved_2": 768,
    },
    "LOCATOR": {"platform_code": 0, "data_space": 4, "data_length": 8, "reserved": 12, "data_offset": 16},
    "BATMAP_HEADER_1_1": {"cookie": 0, "offset": 8, "size": 16, "version": 20, "checksum": 24, "reserved": 28},
    "BATMAP_HEADER_1_2": {
        "cookie": 0, "offset": 8, "size": 16, "version": 20, "checksum": 24, "marker": 28, "key_hash_cookie": 29,
        "key_nonce": 30, "key_hash": 62, "reserved": 94,
    },
}  # fmt: skip


def plain(parsed: Any) -> Any:  # construct's containers
    """Drop construct's own entries."""
    if isinstance(parsed, dict):
        return {name: plain(value) for name, value in parsed.items() if name != "_io"}
    return [plain(item) for item in parsed] if isinstance(parsed, list) else parsed


@pytest.mark.parametrize("name", STRUCTURES)
def test_any_bytes_parse_and_build_again(name: str) -> None:
    structure, size = STRUCTURES[name]
    assert structure.sizeof() == size
    for fill in (b"\0" * size, b"\xff" * size, random.Random(name).randbytes(size)):
        parsed = structure.parse(fill)
        assert structure.build(parsed) == fill
        assert plain(layout.compiled(structure).parse(fill)) == plain(parsed)
        assert layout.compiled(structure).build(parsed) == fill


@pytest.mark.parametrize("name", STRUCTURES)
def test_too_few_bytes_do_not_parse(name: str) -> None:
    structure, size = STRUCTURES[name]
    with pytest.raises(Exception, match="stream"):
        structure.parse(bytes(size - 1))


@pytest.mark.parametrize("name", OFFSETS)
def test_offsets_are_the_specification_s(name: str) -> None:
    structure, size = STRUCTURES[name]
    fields = layout.fields(structure)
    assert {field: offset for field, (offset, _) in fields.items()} == OFFSETS[name]
    assert sum(length for _, length in fields.values()) == size
    # The offsets are those that the structure itself uses: a marked field shows at its place, and nowhere else.
    for field, (offset, length) in fields.items():
        marked = bytes(offset) + b"\xff" * length + bytes(size - offset - length)
        changed = {other for other, value in plain(structure.parse(marked)).items() if _is_marked(value)}
        assert changed == {field}


def _is_marked(value: object) -> bool:
    if isinstance(value, list):
        return any(_is_marked(item) for item in value)
    if isinstance(value, dict):
        return any(_is_marked(item) for item in value.values())
    return any(value) if isinstance(value, bytes) else bool(value)


def test_the_short_footer_is_the_footer_without_its_last_byte() -> None:
    raw = Footer(10 << 20, reserved=b"\x01" * 426).pack()
    short, whole = plain(layout.SHORT_FOOTER.parse(raw[:511])), plain(layout.FOOTER.parse(raw))
    assert short.pop("reserved") == whole.pop("reserved")[:-1]
    assert short == whole


def test_the_two_batmap_headers_share_their_first_fields() -> None:
    raw = Batmap(offset=2560, sectors=3, map=b"\xf0", marker=7, key_cookie=1, key_hash=b"h" * 32).pack(10 << 20)
    old, new = plain(layout.BATMAP_HEADER_1_1.parse(raw)), plain(layout.BATMAP_HEADER_1_2.parse(raw))
    assert old.pop("reserved") == raw[28:]
    assert {name: new[name] for name in old} == old
    assert (new["marker"], new["key_hash_cookie"], new["key_hash"]) == (7, 1, b"h" * 32)


def test_structures_by_the_other_writer() -> None:
    footer = layout.FOOTER.parse(Footer(10 << 20, disk_type=3, hidden=1, saved_state=2, timestamp=5).pack())
    assert (footer.current_size, footer.disk_type, footer.hidden, footer.saved_state) == (10 << 20, 3, 1, 2)
    assert (footer.cylinders, footer.heads, footer.sectors_per_track) == (301, 4, 17)
    header = layout.DYNAMIC_HEADER.parse(Header(7, 1536, locators=(Locator(b"W2ru", "x", at=4096),)).pack())
    assert (header.max_table_entries, header.table_offset, header.block_size) == (7, 1536, 2 << 20)
    assert plain(header.parent_locators[0]) == {
        "platform_code": b"W2ru",
        "data_space": 512,
        "data_length": 2,
        "reserved": 0,
        "data_offset": 4096,
    }


def test_every_field_is_documented() -> None:
    structures: list[Any] = [STRUCTURES[name][0] for name in OFFSETS]
    assert all(field.docs for structure in structures for field in structure.subcons)
