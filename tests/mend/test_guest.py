"""The guest's disk as our own reader reads it, against the second writer's known content."""

from __future__ import annotations

import hashlib
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import DIFFERENCING, KIB, MIB, SECTOR, TAP, dynamic, fixed
from vhdcheck import check
from vhdcheck.errors import SourceError
from vhdcheck.mend.digest import digest_of
from vhdcheck.mend.gpt import read_range
from vhdcheck.mend.guest import Disk, DynamicDisk, Layers, Patches, RawDisk, disk_of, first_data, windows
from vhdcheck.sources.local import BufferSource, FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures.writer import Image

NOISE = random.Random(13)


def disk(data: bytes) -> Disk:
    return disk_of(BufferSource(data, "test"), check(data, target="generic").image)


def read(image: Image) -> bytes:
    found = disk(image.tobytes())
    return read_range(found, 0, found.size)


def noise(length: int) -> bytes:
    return NOISE.randbytes(length)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Image, bytes]:
    """Any layout of the second writer, and what its disk holds."""
    block_size = 1 << draw(st.integers(9, 14))
    size = draw(st.integers(1, 40 * KIB))
    count = -(-size // block_size)
    order = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
    content = {block: noise(min(block_size, size - block * block_size)) for block in order}
    options: dict[str, Any] = {
        "align": draw(st.sampled_from([512, 4096])),
        "slack": draw(st.sampled_from([0, 512, 3584])),
        "table_offset": draw(st.sampled_from([1536, 2048, 8192])),
        "max_entries": count + draw(st.integers(0, 40)),
    }
    data = bytearray(size)
    for block, part in content.items():
        data[block * block_size : block * block_size + len(part)] = part
    image = dynamic(size, blocks=order, content=content, block_size=block_size, **options)
    return image.cut(draw(st.sampled_from([0, 1]))), bytes(data)


@given(layouts())
def test_any_layout(layout: tuple[Image, bytes]) -> None:
    image, content = layout
    assert read(image) == content


def test_a_fixed_disk_of_any_length() -> None:
    for size in (1, SECTOR, 3 * SECTOR - 1, 2 * MIB + 1):
        content = noise(size)
        assert read(fixed(size, content=content)) == content


def test_a_sector_that_is_not_marked_is_absent() -> None:
    content = {0: noise(4 * KIB)}
    image = dynamic(8 * KIB, blocks=[0], block_size=4 * KIB, content=content, bitmap=b"\xa5")
    found = disk(image.tobytes())
    assert isinstance(found, DynamicDisk)
    assert [(piece.at // SECTOR, piece.length // SECTOR) for piece in found.pieces()] == [
        (0, 1),
        (2, 1),
        (5, 1),
        (7, 1),
    ]
    assert [(piece.at // SECTOR, piece.length // SECTOR) for piece in found.unmarked()] == [(1, 1), (3, 2), (6, 1)]
    assert first_data(found.unmarked()) == SECTOR
    expected = b"".join(content[0][at * SECTOR :][:SECTOR] if at in {0, 2, 5, 7} else bytes(SECTOR) for at in range(16))
    assert read(image) == expected


def test_a_chain_is_one_more_reader() -> None:
    """A child's marked sectors lie over its parent's disk, which may be shorter."""
    upper = dynamic(
        10 * KIB, blocks=[1, 0], block_size=4 * KIB, content={0: b"C" * 4096, 1: bytes(4096)}, bitmap=b"\x81"
    )
    lower = fixed(6 * KIB, content=b"P" * 6 * KIB)
    chain = Layers(disk(upper.tobytes()), disk(lower.tobytes()), 10 * KIB)
    sectors = [read_range(chain, at * SECTOR, SECTOR)[:1] for at in range(20)]
    assert b"".join(sectors) == b"CPPPPPPC" + b"\0PPP\0\0\0\0" + b"\0\0\0\0"
    assert read_range(chain, 100, 5000) == read_range(chain, 0, 6000)[100:5100]


def test_the_table_and_locators_are_not_followed_anywhere_else() -> None:
    """A batmap that marks nothing, and a type that has a parent: the bitmaps alone count."""
    image = dynamic(10 * MIB, blocks=[0], content={0: b"x"}, batmap={"map": bytes(512)}, **TAP)
    assert read(image)[:1] == b"x"
    child = dynamic(10 * MIB, blocks=[0], content={0: b"x"}, disk_type=DIFFERENCING, bitmap=b"\x80")
    assert [piece.length for piece in disk(child.tobytes()).pieces()] == [SECTOR] * 512


@given(st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=999)), max_size=6), st.integers(1, 9999))
def test_patches(parts: list[tuple[int, bytes]], size: int) -> None:
    base = noise(6000)
    expected = bytearray(base[:size].ljust(size, b"\0"))
    patches, taken = {}, 0
    for at, data in sorted(parts):
        if at >= taken and at + len(data) <= size:
            patches[at] = data
            taken = at + len(data)
            expected[at:taken] = data
    over = Layers(Patches(patches, size), RawDisk(BufferSource(base, "base"), len(base)), size)
    assert read_range(over, 0, size) == bytes(expected)


def test_holes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.seek(1 << 40)
        file.write(b"end")
    with FileSource(path) as source:
        found = list(windows(RawDisk(source, source.size)))
    assert [(window.number, bytes(window.data[:3])) for window in found] == [(1 << 19, b"end")]


@given(st.integers(9, 23), st.sets(st.integers(0, 5)), st.integers(1, 100))
def test_how_many_blocks_a_copy_takes_at_the_most(power: int, used: set[int], sectors: int) -> None:
    block = 1 << power
    size = 5 * block + min(block, sectors * SECTOR)
    found = disk(dynamic(size, blocks=sorted(used), block_size=block).tobytes())
    assert isinstance(found, DynamicDisk)
    taken = {
        at // (2 * MIB) for block_ in used for at in range(block_ * block, min(size, (block_ + 1) * block), SECTOR)
    }
    assert found.windows_used() == len(taken)


def test_many_runs_of_nothing(tmp_path: Path) -> None:
    """A small file may claim millions of runs of marked sectors that are all holes."""
    path = dynamic(4 << 30, blocks=range(2048), bitmap=b"\x55").write(tmp_path / "in.vhd")
    report = check(path, target="generic")
    start = time.monotonic()
    with FileSource(path) as source:
        found = disk_of(source, report.image)
        assert isinstance(found, DynamicDisk)
        assert list(windows(found)) == []
        assert first_data(found.unmarked()) is None
    assert time.monotonic() - start < 60


def test_a_table_that_has_no_room_for_the_disk() -> None:
    data = dynamic(10 * MIB, max_entries=4).tobytes()
    image = check(data, target="generic").image
    assert image.header is not None
    with pytest.raises(SourceError, match="no room"):
        DynamicDisk(BufferSource(data, "test"), 10 * MIB, image.header)


def test_a_damaged_table_is_not_read() -> None:
    with pytest.raises(SourceError, match="cannot be relied on"):
        disk(dynamic(10 * MIB, blocks=[0, 1], bat={1: 4}).tobytes())


@given(st.binary(max_size=3 * KIB), st.integers(0, 5000))
def test_the_sum(content: bytes, zeros: int) -> None:
    data = content + bytes(zeros)
    found = RawDisk(BufferSource(data, "raw"), len(data))
    assert digest_of(found, whole=True) == hashlib.sha256(data).hexdigest()
    longer = Layers(found, found, len(data) + 3 * MIB)
    assert digest_of(longer, whole=True) == hashlib.sha256(data + bytes(3 * MIB)).hexdigest()
    assert digest_of(longer, whole=False) == digest_of(found, whole=False)
    expected = hashlib.sha256(bytes(8) + data.ljust(2 * MIB, b"\0") if any(data) else b"")
    assert digest_of(found, whole=False) == expected.hexdigest()


RELY = "the block allocation table cannot be relied on"


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (dynamic(10 * MIB, blocks=[0, 3], bat={3: 4}), RELY),  # two blocks at one place
        (dynamic(10 * MIB, blocks={0: 4, 3: 104}), RELY),  # one over another
        (dynamic(10 * MIB, blocks=[0], bat={3: 2}), RELY),  # over the header
        (dynamic(10 * MIB, blocks=[0], bat={1: 100_000}), RELY),  # behind the file
        (dynamic(10 * MIB, blocks=[0], bat={4: 100_000}), RELY),  # the last one, too
        (dynamic(10 * MIB, blocks=[0, 4], max_entries=8).cut(SECTOR + 1), RELY),  # the last one lacks a byte
        (dynamic(10 * MIB, blocks=[0], header={"cookie": b"cxsparsf"}), RELY),
        (fixed(3 * MIB, current_size=3 * MIB + 1), "the end of the fixed disk is missing"),
        (fixed(3 * MIB, current_size=3 * MIB + SECTOR), "the end of the fixed disk is missing"),
    ],
)
def test_what_cannot_be_relied_on_is_not_read(image: Image, told: str) -> None:
    """Whatever the plan has made of the findings before."""
    with pytest.raises(SourceError, match=told):
        disk(image.tobytes())


@pytest.mark.parametrize(
    "table",
    [
        {1: 4},  # block 0's place
        {1: 104},  # over block 0
        {1: 2},  # over the header
        {1: 100_000},  # another one behind the file
    ],
)
def test_a_last_block_that_is_short_excuses_no_other(table: dict[int, int]) -> None:
    for bat in ({}, table):
        data = dynamic(5 * MIB, blocks=[0, 1, 2], bat=bat).tobytes()
        data = data[: len(data) - SECTOR - MIB] + data[-SECTOR:]
        if bat:
            with pytest.raises(SourceError, match=RELY):
                disk(data)
        else:
            assert disk(data).size == 5 * MIB


def test_what_a_window_lacks_is_zeros_and_not_what_the_one_before_had() -> None:
    part = 512 * KIB
    content = {**{block: noise(part) for block in (0, 1, 2, 3, 5, 7)}, 8: bytes(part)}
    image = dynamic(16 * part, blocks=[*content], content=content, block_size=part)
    assert read(image) == b"".join(content.get(block, bytes(part)) for block in range(16))
    assert [window.number for window in windows(disk(image.tobytes()))] == [0, 1], "the third one is zeros"


@pytest.mark.parametrize(("lost", "is_read"), [(0, True), (SECTOR, True), (MIB, True), (MIB + 1, False)])
def test_a_last_block_that_is_as_long_as_the_disk(lost: int, is_read: bool) -> None:
    """Half of it belongs to the disk; what is lost of the rest holds nothing."""
    content = {0: noise(2 * MIB), 1: noise(MIB)}
    image = dynamic(3 * MIB, blocks=[0, 1], content=content)
    whole = image.tobytes()
    data = whole[: len(whole) - SECTOR - lost] + whole[-SECTOR:]
    if is_read:
        assert read_range(disk(data), 0, 3 * MIB) == content[0] + content[1]
    else:
        with pytest.raises(SourceError, match=RELY):
            disk(data)
