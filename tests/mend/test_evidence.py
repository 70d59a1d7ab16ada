"""Images that an earlier `mend` damaged, each with the evidence in the file that says better."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import KIB, MIB, SECTOR, Image, dynamic, fixed
from vhdcheck.mend import mend
from vhdcheck.mend.guest import disk_of
from vhdcheck.sources.local import BufferSource

NOW = 1_800_000_000
NOISE = random.Random(7)
GUEST = b"guest" * 100
DISK = 963 * 5 * 17 * SECTOR
"""Bytes of a disk that is exactly what its geometry spans."""
SLOT = 2 * MIB + SECTOR
"""Bytes of a block with its bitmap."""


def mended(image: Image | bytes) -> tuple[tuple[str, ...], bytes | None]:
    """Mend bytes by way of files; return the reasons, and what was written."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.vhd", Path(folder) / "out.vhd"
        source.write_bytes(image if isinstance(image, bytes) else image.tobytes())
        mending = mend(source, out, target="generic", now=NOW)
        return mending.reasons, out.read_bytes() if out.exists() else None


def grown(by: int, *, damage: bytes, fill: bytes = b"") -> bytes:
    """A fixed disk that grew, its old footer left as data, and the new one damaged."""
    old = fixed(3 * MIB, content=GUEST).tobytes()
    new = bytearray(
        fixed(3 * MIB + by, content=old[: 3 * MIB] + (old[3 * MIB :] + fill).ljust(by, b"\0")[:by]).tobytes()
    )
    start = len(new) - SECTOR
    new[start : start + len(damage)] = damage
    return bytes(new)


@pytest.mark.parametrize("by", [SECTOR, 2 * SECTOR, 8 * KIB, 60 * KIB])
@pytest.mark.parametrize("damage", [b"\0" * 70, b"noise" * 20, b"\0" * SECTOR])
def test_a_fixed_disk_that_grew(by: int, damage: bytes) -> None:
    if by == SECTOR and len(damage) == SECTOR:
        return  # nothing but zeros is cut off
    reasons, written = mended(grown(by, damage=damage, fill=b"new data"))
    assert written is None
    assert "may belong to the disk" in reasons[0]


@pytest.mark.parametrize("trailing", [b"\n", b"\0" * 100, b"\0" * 8 * KIB, b"--boundary--\r\n", b"x" * 333])
def test_what_cannot_be_the_disk_is_cut_off(trailing: bytes) -> None:
    clean = fixed(3 * MIB, content=GUEST).tobytes()
    assert mended(clean + trailing)[1] == clean


@pytest.mark.parametrize("lost", [0, -SECTOR])
def test_one_footer_lost_and_the_other_stale(lost: int) -> None:
    """By the one that is left, a block in use would lie behind the end of the disk."""
    image = dynamic(20 * MIB, blocks=[0, 9], content={9: b"new"}, front={"size": 8 * MIB}, tail={"size": 8 * MIB})
    reasons, written = mended(image.patch(lost, bytes(SECTOR)))
    assert written is None
    assert "behind the end of the disk" in reasons[0]


@pytest.mark.parametrize("field", [{"unique_id": bytes(16)}, {"timestamp": 0xFFFF_0000}])
def test_two_images_one_after_the_other(field: dict[str, Any]) -> None:
    """The second one's footer is not the first one's, wherever it lacks something."""
    first = dynamic(10 * MIB, blocks=[0], content={0: b"first"}).tobytes()
    second = dynamic(10 * MIB, blocks=[1], content={1: b"second"}, **field).tobytes()
    reasons, written = mended(first + second)
    assert written is None
    assert "another image" in reasons[0]


@pytest.mark.parametrize("second_is_sound", [True, False])
def test_another_image_behind_a_lost_footer(second_is_sound: bool) -> None:
    first = dynamic(10 * MIB, blocks=[0], content={0: b"first"}).tobytes()
    second = bytearray(dynamic(10 * MIB, blocks=[1], content={1: b"second"}).tobytes())
    if not second_is_sound:
        second[-SECTOR:] = bytes(SECTOR)
    data = bytearray(first + bytes(second))
    data[0] ^= 1
    assert mended(bytes(data))[1] is None


@given(st.sampled_from([*range(24, 40), *range(68, 84)]), st.integers(0, 7))
def test_a_flipped_bit_that_nothing_vouches_for(at: int, bit: int) -> None:
    """ID, time, creator, its version and host: a checksum over the wrong one would make it right."""
    clean = fixed(3 * MIB, content=GUEST).tobytes()
    data = bytearray(clean)
    data[-SECTOR + at] ^= 1 << bit
    reasons, written = mended(bytes(data))
    assert reasons == ()
    assert written is not None
    assert written[:-SECTOR] == clean[:-SECTOR]
    assert written[-SECTOR + 40 : -SECTOR + 64] == clean[-SECTOR + 40 : -SECTOR + 64], "sizes, geometry and type"
    assert written[-SECTOR + 68 : -SECTOR + 84] != data[-SECTOR + 68 : -SECTOR + 84]


def test_a_checksum_that_was_never_made() -> None:
    """No wrong byte elsewhere explains it: the checksum itself is what is wrong, and the ID is kept."""
    clean = fixed(3 * MIB, content=GUEST).tobytes()
    for value in (bytes(4), b"\xff" * 4, clean[-SECTOR + 64 : -SECTOR + 68][::-1]):
        data = bytearray(clean)
        data[-SECTOR + 64 : -SECTOR + 68] = value
        assert mended(bytes(data))[1] == clean


def test_a_creator_that_nobody_knows() -> None:
    """Who made an image proves nothing about it: its sizes, geometry and length do."""
    clean = fixed(3 * MIB, content=GUEST, creator=b"new!", host=b"\1\2\3\4").tobytes()
    data = bytearray(clean)
    data[-SECTOR + 64 : -SECTOR + 68] = bytes(4)
    assert mended(bytes(data))[1] == clean
    whole = dynamic(963 * 5 * 17 * 512, blocks=[0], content={0: GUEST}, creator=b"new!").tobytes()
    data = bytearray(whole)
    data[64:68] = data[-SECTOR + 64 : -SECTOR + 68] = bytes(4)
    assert mended(bytes(data))[1] == whole


NEVER_SIGNED = "its fields do not confirm one another"
LIES: list[dict[str, Any]] = [
    {"features": 3},
    {"version": 0x0001_0001},
    {"original_size": 2 * MIB},
    {"original_size": 4 * MIB},
    {"geometry": (1, 4, 17)},
    {"unique_id": bytes(16)},
    {"saved_state": 1},
    {"hidden": 1},
    {"reserved": bytes(425) + b"\1"},
    {"reserved": b"\1"},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_checksum_is_made_only_where_every_field_is_confirmed(kind: str, lie: dict[str, Any]) -> None:
    size = 963 * 5 * 17 * 512 if kind == "dynamic" else 3 * MIB
    lie = {**lie, **({"original_size": size - MIB} if lie == {"original_size": 2 * MIB} else {})}
    image = dynamic(size, blocks=[0], **lie) if kind == "dynamic" else fixed(size, **lie)
    data = bytearray(image.tobytes())
    for at in (0, -SECTOR) if kind == "dynamic" else (-SECTOR,):
        data[len(data) * (at < 0) + at + 64 : len(data) * (at < 0) + at + 68] = bytes(4)
    reasons, written = mended(bytes(data))
    assert written is None
    assert NEVER_SIGNED in reasons[0]


@pytest.mark.parametrize(
    "lie",
    [
        {"data_offset": 512},
        {"current_size": 3 * MIB - SECTOR, "original_size": 3 * MIB - SECTOR},
        {"size": 3 * MIB + 1},  # and the file as long
    ],
)
def test_a_fixed_disk_s_checksum_is_made_only_where_the_length_confirms_it(lie: dict[str, Any]) -> None:
    data = bytearray(fixed(**{"size": 3 * MIB, **lie}).tobytes())
    data[-SECTOR + 64 : -SECTOR + 68] = bytes(4)
    reasons, written = mended(bytes(data))
    assert written is None
    assert NEVER_SIGNED in reasons[0]


def test_a_checksum_is_not_made_for_a_footer_that_lacks_its_last_byte() -> None:
    """It may be any byte: only a right checksum says that it was a zero."""
    data = bytearray(fixed(3 * MIB).tobytes()[:-1])
    assert mended(bytes(data))[1] is not None
    data[-511 + 64 : -511 + 68] = bytes(4)
    assert mended(bytes(data))[1] is None


def unsigned(**options: Any) -> bytes:
    """A dynamic disk of 20 blocks, of which neither footer is signed."""
    data = bytearray(dynamic(DISK, blocks=[0], content={0: GUEST}, **options).tobytes())
    data[64:68] = data[-SECTOR + 64 : -SECTOR + 68] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize(
    "also",
    [
        lambda data: data.__setitem__(-SECTOR + 27, data[-SECTOR + 27] ^ 1),  # the copy has another time
        lambda data: data.__setitem__(512 + 36, data[512 + 36] ^ 1),  # the header is not signed
        lambda data: data.__setitem__(slice(0, SECTOR), bytes(SECTOR)),  # there is no copy
    ],
)
def test_a_dynamic_disk_s_checksum_is_made_only_where_copy_and_header_confirm_it(also: Any) -> None:
    data = bytearray(unsigned(max_entries=20))
    assert mended(bytes(data))[1] is not None
    also(data)
    assert mended(bytes(data))[1] is None


def test_a_dynamic_disk_s_checksum_is_not_made_where_the_table_is_for_a_larger_one() -> None:
    assert mended(unsigned(max_entries=21))[1] is None


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"front": {"timestamp": 1}},
        {"checksum": 1},
        {"header": {"data_offset": 512}},
        {"header": {"version": 0x0001_0001}},
        {"block_size": MIB},
        {"table_offset": 2048},
        {"max_entries": 6},
        {"header": {"parent_id": bytes(15) + b"\1"}},
        {"header": {"reserved": b"\1"}},
    ],
    ids=str,
)
def test_a_header_is_signed_only_where_everything_is_as_every_writer_makes_it(lie: dict[str, Any]) -> None:
    clean = dynamic(10 * MIB, **{"blocks": [0], "content": {0: GUEST}, **lie}).tobytes()
    data = bytearray(clean)
    data[512 + 39] ^= 1
    reasons, written = mended(bytes(data))
    assert written == (None if lie else clean)
    assert not lie or "not beyond doubt" in reasons[0]


@pytest.mark.parametrize(("room", "is_mended"), [(SLOT - SECTOR, True), (SLOT, False)])
def test_a_header_is_signed_only_where_no_block_can_be_missing_from_its_table(room: int, is_mended: bool) -> None:
    """A table that is read from a wrong place may lack a block: then the file has room for one more than it names."""
    clean = dynamic(10 * MIB, blocks=[0], content={0: GUEST}, slack=room).tobytes()
    data = bytearray(clean)
    data[512 + 36] ^= 1
    reasons, written = mended(bytes(data))
    assert written == (clean if is_mended else None)
    assert is_mended or "not beyond doubt" in reasons[0]


@pytest.mark.parametrize(
    ("left", "wrong", "is_mended"),
    [
        (SECTOR, 64, True),
        (SECTOR, 65, False),
        (SECTOR - 2, 1, False),
        (100, 1, False),
        (100, 0, True),
        (100, -100, True),
        (1, 0, True),
        (0, 0, True),
    ],
)
def test_what_is_left_of_a_lost_footer(left: int, wrong: int, is_mended: bool) -> None:
    """A whole sector may be a footer in ruins; less than one must be the beginning of one, to the byte."""
    clean = dynamic(10 * MIB, blocks=[0], content={0: GUEST}).tobytes()
    data = bytearray(clean[: len(clean) - SECTOR + left])
    for at in range(len(data) - wrong, len(data)):
        data[at] ^= 0x80
    if wrong < 0:
        data[wrong:] = bytes(-wrong)
    if left == SECTOR:
        data[-SECTOR] ^= 0x80  # so that it is no footer
        data[-1] ^= 0x80  # one less: as many as are counted
    reasons, written = mended(bytes(data))
    assert written == (clean if is_mended else None)
    assert is_mended or "neither zeros nor what is left of a footer" in reasons[0]


def test_the_reader_agrees() -> None:
    """What `mended` says of these is what our own reader reads."""
    image = fixed(3 * MIB, content=GUEST).tobytes()
    from vhdcheck import check

    disk = disk_of(BufferSource(image, "test"), check(image, target="generic", now=NOW).image)
    assert disk.size == 3 * MIB
