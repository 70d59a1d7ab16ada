"""Partition tables made by sgdisk and sfdisk, on disks whose end moves: `sgdisk -v` is content, data stays."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import KIB, MIB, SECTOR
from vhdcheck.mend import mend
from vhdcheck.mend.gpt import GPT, MBR, NONE, free_for_end, patches_for_end, read_partitions, read_range
from vhdcheck.mend.guest import Disk, Layers, Patches, RawDisk, first_data
from vhdcheck.sources.local import BufferSource, FileSource

if TYPE_CHECKING:
    from pathlib import Path


def tool(name: str, *arguments: object, given: str | None = None) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    words = [name, *map(str, arguments)]
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def disk_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def moved(path: Path, size: int) -> Path:
    """Move the end of a disk in a file, as a copy beside it."""
    with FileSource(path) as source:
        disk = RawDisk(source, source.size)
        table = read_partitions(disk)
        assert not table.problem
        for start, end in free_for_end(table, disk, size):
            assert first_data(disk.pieces(start, end)) is None
        result: Disk = Layers(Patches(patches_for_end(table, size), size), disk, size)
        out = path.with_name("moved.raw")
        out.write_bytes(read_range(result, 0, size))
    return out


def gpt_disk(path: Path, size: int = 64 * MIB) -> Path:
    disk_file(path, size)
    tool("sgdisk", "-n", "1:2048:+8M", "-n", "2:32768:+4M", "-t", "2:8200", path)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(b"partition")
    return path


@pytest.mark.parametrize(
    "size", [63 * MIB, 64 * MIB - 512, 64 * MIB + 512, 64 * MIB + 20 * SECTOR, 65 * MIB, 200 * MIB, 21 * MIB]
)
def test_a_gpt_at_another_end(size: int, tmp_path: Path) -> None:
    path = gpt_disk(tmp_path / "disk.raw")
    out = moved(path, size)
    said = tool("sgdisk", "-v", out)
    assert "No problems found" in said, said
    before, after = tool("sgdisk", "-p", path), tool("sgdisk", "-p", out)
    assert before.partition("Number")[2] == after.partition("Number")[2]
    assert out.read_bytes()[MIB : MIB + 9] == b"partition"
    back = moved(out.rename(tmp_path / "there.raw"), 64 * MIB)
    assert back.read_bytes() == path.read_bytes()


def test_a_gpt_that_was_cut_gets_its_backup_again(tmp_path: Path) -> None:
    """As `qemu-img resize --shrink` leaves it."""
    path = gpt_disk(tmp_path / "disk.raw")
    with path.open("r+b") as file:
        file.truncate(40 * MIB)
    with FileSource(path) as source:
        assert read_partitions(RawDisk(source, source.size)).backup == ()
    assert "No problems found" in tool("sgdisk", "-v", moved(path, 41 * MIB))


def test_partitions_that_reach_over_an_end(tmp_path: Path) -> None:
    path = gpt_disk(tmp_path / "disk.raw")
    with FileSource(path) as source:
        table = read_partitions(RawDisk(source, source.size))
    assert table.scheme == GPT
    assert [(part.number, part.start, part.end) for part in table.partitions] == [
        (1, MIB, 9 * MIB),
        (2, 16 * MIB, 20 * MIB),
    ]
    assert [part.number for part in table.over(table.usable_end(20 * MIB))] == [2]
    assert table.usable_end(20 * MIB) == 20 * MIB - 33 * SECTOR
    assert not table.over(table.usable_end(20 * MIB + 33 * SECTOR))


def test_data_where_the_backup_would_be(tmp_path: Path) -> None:
    path = gpt_disk(tmp_path / "disk.raw")
    for place, is_free in ((40 * MIB - 1, False), (40 * MIB - 33 * SECTOR, False), (40 * MIB - 33 * SECTOR - 1, True)):
        data = bytearray(path.read_bytes())
        data[place] = 1
        disk = RawDisk(BufferSource(bytes(data), "disk"), len(data))
        table = read_partitions(disk)
        found = [first_data(disk.pieces(start, end)) for start, end in free_for_end(table, disk, 40 * MIB)]
        assert (set(found) == {None}) == is_free
        assert is_free or place in found


def test_an_mbr(tmp_path: Path) -> None:
    path = disk_file(tmp_path / "disk.raw", 64 * MIB)
    tool(
        "sfdisk", path, given="start=2048, size=4096, type=83\nstart=8192, size=32768, type=5\nstart=10240, size=4096\n"
    )
    with FileSource(path) as source:
        disk = RawDisk(source, source.size)
        table = read_partitions(disk)
        assert (table.scheme, [(part.number, part.end) for part in table.partitions]) == (
            MBR,
            [(1, 6144 * SECTOR), (2, 40960 * SECTOR)],
        )
        assert patches_for_end(table, 30 * MIB) == {}
        assert list(free_for_end(table, disk, 30 * MIB)) == [(30 * MIB, 64 * MIB)]


def test_file_systems_without_a_partition_table(tmp_path: Path) -> None:
    """They say in their own ways how large the disk is: no partition table, so nothing here does."""
    for number, words in enumerate((["mkfs.fat"], ["mkfs.ext4", "-q", "-F"], ["mkswap", "-q"])):
        path = disk_file(tmp_path / f"{number}.raw", 4 * MIB)
        tool(words[0], *words[1:], path)
        with FileSource(path) as source:
            assert read_partitions(RawDisk(source, source.size)).scheme == NONE


def gpt(sector: int, *, size: int = 4 * MIB) -> bytearray:
    """Make a disk with a GPT that counts in sectors of some size, by the UEFI specification alone."""
    data = bytearray(size)
    data[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, size // sector - 1)
    data[510:512] = b"\x55\xaa"
    entries = struct.pack("<16s16sQQQ72s", b"T" * 16, b"U" * 16, 64, 127, 0, b"").ljust(128 * 128, b"\0")
    count, last = -(-len(entries) // sector), size // sector - 1
    for place, other, at in ((1, last, 2), (last, 1, last - count)):
        fields = (place, other, 2 + count, last - count - 1, b"D" * 16, at, 128, 128, crc32(entries))
        header = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields))
        header[16:20] = crc32(header).to_bytes(4, "little")
        data[place * sector : place * sector + len(header)] = header
        data[at * sector : at * sector + len(entries)] = entries
    return data


def problem(data: bytes | bytearray) -> str:
    return read_partitions(RawDisk(BufferSource(bytes(data), "disk"), len(data))).problem


def test_code_where_a_partition_table_would_be_is_none() -> None:
    """An entry's first byte is 0 or 0x80."""
    data = bytearray(MIB)
    data[510:512] = b"\x55\xaa"
    for status, scheme in ((0, MBR), (0x80, MBR), (1, NONE), (0x81, NONE)):
        data[446:462] = struct.pack("<B3sB3sII", status, b"\0\2\0", 0x83, b"\xff" * 3, 8, 16)
        assert read_partitions(RawDisk(BufferSource(bytes(data), "disk"), MIB)).scheme == scheme


def test_a_backup_where_partitions_may_be_is_none() -> None:
    """What is taken for a backup is overwritten with zeros where the end moves, and never a partition."""
    data = gpt(512)
    last = len(data) // 512 - 1
    disk = RawDisk(BufferSource(bytes(data), "disk"), len(data))
    assert read_partitions(disk).backup == (range(last - 32, last), range(last, last + 1))
    assert all(at + len(new) <= 3 * MIB for at, new in patches_for_end(read_partitions(disk), 3 * MIB).items())
    for at, is_backup in ((last - 32, True), (last - 33, False), (200, False)):
        data[at * 512 : at * 512 + 128 * 128] = data[1024 : 1024 + 128 * 128]
        header = data[last * 512 : last * 512 + 92]
        header[72:80], header[16:20] = at.to_bytes(8, "little"), bytes(4)
        header[16:20] = crc32(header).to_bytes(4, "little")
        data[last * 512 : last * 512 + 92] = header
        table = read_partitions(RawDisk(BufferSource(bytes(data), "disk"), len(data)))
        assert (bool(table.backup), table.problem) == (is_backup, "")


def test_a_gpt_in_sectors_of_4096_bytes() -> None:
    assert problem(gpt(512)) == ""
    assert "4096 bytes" in problem(gpt(4096))


def test_a_raw_disk_with_sectors_of_4096_bytes(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(gpt(4096))
    for target in ("rackspace", "azure"):
        mending = mend(raw, tmp_path / "out.vhd", target=target)
        assert "a VHD has sectors of 512 bytes" in mending.reasons[0]
    damaged = gpt(512)
    damaged[520] ^= 1
    raw.write_bytes(damaged)
    assert mend(raw, tmp_path / "out.vhd").ok, "where the end stays, that is the guest's business"


def test_damaged_tables() -> None:
    for at, words in ((520, "header"), (512 + 92 - 1, "header"), (1024 + 32, "entries")):
        data = gpt(512)
        data[at] ^= 1
        assert words in problem(data)
    data = gpt(512)
    data[446 + 16 + 4 : 446 + 16 + 16] = b"\x83\0\0\0\1\0\0\0\1\0\0\0"
    assert "hybrid" in problem(data)


@given(st.lists(st.tuples(st.integers(0, 3 * KIB), st.binary(min_size=1, max_size=40)), max_size=5))
def test_any_bytes_are_a_table_or_none(noise: list[tuple[int, bytes]]) -> None:
    data = gpt(512, size=64 * KIB)
    for at, part in noise:
        data[at : at + len(part)] = part
    disk = RawDisk(BufferSource(bytes(data), "disk"), len(data))
    table = read_partitions(disk)
    for size in (60 * KIB, 70 * KIB):
        patches = patches_for_end(table, size) if not table.problem else {}
        assert all(0 <= at < size for at in patches)
        assert all(0 <= start < end <= len(data) for start, end in free_for_end(table, disk, size))
