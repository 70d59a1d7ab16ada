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


def test_the_reader_agrees() -> None:
    """What `mended` says of these is what our own reader reads."""
    image = fixed(3 * MIB, content=GUEST).tobytes()
    from vhdcheck import check

    disk = disk_of(BufferSource(image, "test"), check(image, target="generic", now=NOW).image)
    assert disk.size == 3 * MIB
