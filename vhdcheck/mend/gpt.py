"""Partition tables: how far a disk's partitions reach, and a GPT's backup moved to another end.

A GPT is there twice: header and entries at the disk's start, the entries and a header again in its last sectors. Each
header names the other's place, has a checksum of itself and one of the entries. A disk whose end moves needs the
backup at the new end, both headers' places renewed, and the protective MBR's length. The kernel shows no partition of
a disk that was cut shorter without that. Entries are never changed here.

What the headers do not confirm by their checksums is a `problem`, and such a disk is not resized. Neither is one whose
table counts in sectors of 4096 bytes: the format knows sectors of 512 bytes only, so every number in it would be wrong.

Source: UEFI specification 2.10, chapter 5.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from vhdcheck.mend.guest import WINDOW, windows
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.mend.guest import Disk

GPT, MBR, NONE = "GPT", "MBR", ""
SIGNATURE: Final = b"EFI PART"
BOOT_MARK: Final = b"\x55\xaa"
PROTECTIVE: Final = 0xEE
"""The MBR's partition type that stands for a GPT."""
LARGE_SECTOR: Final = 4096
MAX_ENTRIES_LENGTH: Final = 1 << 20
"""Bytes of entries that are looked at: 128 entries, as every tool writes them, take 16 KiB."""
_MBR_ENTRY: Final = struct.Struct("<B3xB3xII")
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_FILE_SYSTEMS: Final = (b"NTFS    ", b"EXFAT   ")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: its number in its table, and the bytes of the disk that it takes."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A GPT's header, in sectors, as it is stored; `raw` is its sector."""

    raw: bytes
    length: int
    place: int
    other: int
    first_usable: int
    last_usable: int
    entries_at: int
    entries_sum: int
    entries_length: int
    """Bytes."""

    @property
    def entries_sectors(self) -> int:
        """Sectors that the entries take."""
        return -(-self.entries_length // SECTOR)

    def moved(self, *, place: int, other: int, last_usable: int, entries_at: int) -> bytes:
        """Return the sector of a header for other places, with its checksum."""
        raw = bytearray(self.raw)
        struct.pack_into("<QQ", raw, 24, place, other)
        struct.pack_into("<Q", raw, 48, last_usable)
        struct.pack_into("<Q", raw, 72, entries_at)
        raw[16:20] = bytes(4)
        raw[16:20] = crc32(raw[: self.length]).to_bytes(4, "little")
        return bytes(raw)


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What a disk's first sectors say of its partitions."""

    scheme: str
    """GPT, MBR, or NONE."""
    partitions: tuple[Partition, ...] = ()
    problem: str = ""
    """Why the disk's end cannot be moved, whatever lies there; empty where it can."""
    header: Header | None = None
    entries: bytes = b""
    backup: tuple[range, ...] = ()
    """The sectors of a GPT's backup that was found where the header says, and is sound."""
    boot_sector: bytes = b""
    has_large_sectors: bool = False
    """Whether it counts in sectors of 4096 bytes."""

    def over(self, end: int) -> tuple[Partition, ...]:
        """Return the partitions that reach behind a place of the disk."""
        return tuple(partition for partition in self.partitions if partition.end > end)

    def usable_end(self, size: int) -> int:
        """Return where partitions of a disk of `size` bytes must end: a GPT's backup comes behind them."""
        if self.header is None:
            return size
        return size - (self.header.entries_sectors + 1) * SECTOR


def read_partitions(disk: Disk) -> PartitionTable:
    """Read a disk's partition table."""
    start = read_range(disk, 0, LARGE_SECTOR + len(SIGNATURE))
    boot = start[:SECTOR]
    types = [kind for kind, _, _ in _mbr_entries(boot)] if boot.endswith(BOOT_MARK) else []
    if PROTECTIVE in types or (not types and start.startswith(SIGNATURE, SECTOR)):
        return _read_gpt(disk, start, boot)
    if not boot.endswith(BOOT_MARK) or _is_file_system(boot):
        return PartitionTable(NONE)
    return _read_mbr(boot)


def read_range(disk: Disk, start: int, length: int) -> bytes:
    """Read bytes of a disk; zeros where nothing is present, and behind its end."""
    data = bytearray(length)
    for window in windows(disk, start, min(start + length, disk.size)):
        at = window.number * WINDOW
        first, end = max(at + window.first, start), min(at + window.end, start + length)
        data[first - start : end - start] = window.data[first - at : end - at]
    return bytes(data)


def _mbr_entries(boot: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield type, first sector and sectors of each of the four entries; nothing where they are no such entries."""
    entries = [_MBR_ENTRY.unpack_from(boot, 446 + 16 * number) for number in range(4)]
    if all(status in (0, 0x80) for status, *_ in entries):
        yield from ((kind, first, count) for _, kind, first, count in entries)


def _is_file_system(boot: bytes) -> bool:
    """Say whether a boot sector is a file system's own: FAT, exFAT or NTFS without a partition table around it."""
    sector, cluster, reserved, copies = struct.unpack_from("<HBHB", boot, 11)
    is_fat = sector in (512, 1024, 2048, 4096) and cluster.bit_count() == 1 and reserved > 0 and copies in (1, 2)
    return is_fat or boot[3:11] in _FILE_SYSTEMS


def _read_mbr(boot: bytes) -> PartitionTable:
    partitions = tuple(
        Partition(number, first * SECTOR, (first + count) * SECTOR)
        for number, (kind, first, count) in enumerate(_mbr_entries(boot), 1)
        if kind and count
    )
    return PartitionTable(MBR if partitions else NONE, partitions, boot_sector=boot)


def _read_gpt(disk: Disk, start: bytes, boot: bytes) -> PartitionTable:
    header = _parse_header(start[SECTOR : 2 * SECTOR], 1)
    if header is None:
        is_large = start.startswith(SIGNATURE, LARGE_SECTOR)
        if is_large:
            problem = "its partition table counts in sectors of 4096 bytes, and a VHD has sectors of 512 bytes"
        else:
            problem = "the header of its partition table (GPT) is damaged"
        return PartitionTable(GPT, problem=problem, boot_sector=boot, has_large_sectors=is_large)
    entries = _read_entries(disk, header)
    if entries is None:
        return PartitionTable(GPT, problem="the entries of its partition table (GPT) are damaged", boot_sector=boot)
    size = header.raw[84:88]
    step = int.from_bytes(size, "little")
    partitions = tuple(
        Partition(at // step + 1, first * SECTOR, (last + 1) * SECTOR)
        for at in range(0, len(entries), step)
        if any(entries[at : at + 16])
        for first, last in [struct.unpack_from("<QQ", entries, at + 32)]
    )
    others = _beside_the_protective(boot)
    problem = ""
    if any(part.end > (header.last_usable + 1) * SECTOR for part in partitions):
        problem = "a partition reaches behind the last sector that its partition table (GPT) calls usable"
    elif others:
        problem = "beside the GPT its MBR has partitions too (a hybrid MBR)"
    return PartitionTable(GPT, partitions, problem, header, entries, _backup(disk, header), boot)


def _beside_the_protective(boot: bytes) -> bool:
    return [bool(kind) for kind, _, _ in _mbr_entries(boot)].count(True) > 1


def _parse_header(raw: bytes, place: int) -> Header | None:
    """Parse a header's sector; None where its checksum or its own place is wrong."""
    if len(raw) < SECTOR or not raw.startswith(SIGNATURE):
        return None
    _, _, length, stored, _, own, other, first, last, _, at, count, step, entries_sum = _HEADER.unpack_from(raw)
    if not _HEADER.size <= length <= SECTOR or own != place or step < 128 or step % 8:  # noqa: PLR2004 (an entry)
        return None
    if crc32(raw[:16] + bytes(4) + raw[20:length]) != stored or not 0 < count * step <= MAX_ENTRIES_LENGTH:
        return None
    return Header(raw, length, own, other, first, last, at, entries_sum, count * step)


def _read_entries(disk: Disk, header: Header) -> bytes | None:
    """Read a header's entries; None where their checksum is wrong, or they are not on the disk."""
    if header.entries_at * SECTOR + header.entries_length > disk.size:
        return None
    entries = read_range(disk, header.entries_at * SECTOR, header.entries_length)
    return entries if crc32(entries) == header.entries_sum else None


def _backup(disk: Disk, header: Header) -> tuple[range, ...]:
    """Return the sectors of the backup, where it is sound and says the same as the header at the start."""
    if (header.other + 1) * SECTOR > disk.size or header.other <= 1:
        return ()
    backup = _parse_header(read_range(disk, header.other * SECTOR, SECTOR), header.other)
    if backup is None or backup.entries_sum != header.entries_sum or _read_entries(disk, backup) is None:
        return ()
    if backup.entries_at <= header.last_usable:
        return ()
    at = backup.entries_at
    return range(at, at + backup.entries_sectors), range(header.other, header.other + 1)


def free_for_end(table: PartitionTable, disk: Disk, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a disk that hold nothing but zeros where its end can be moved to `size`.

    These are what lies behind the new end, and where a GPT's backup then is, but for the backup's present place.
    """
    start = table.usable_end(size)
    for taken in sorted(table.backup, key=lambda sectors: sectors.start):
        if taken.start * SECTOR > start:
            yield start, min(taken.start * SECTOR, disk.size)
        start = max(start, taken.stop * SECTOR)
    if start < disk.size:
        yield start, disk.size


def patches_for_end(table: PartitionTable, size: int) -> dict[int, bytes]:
    """Return what is different on a disk whose end is moved to `size`, as offset -> bytes, disjoint; {} without a GPT.

    A backup at another place is overwritten with zeros: two of them would contradict each other.
    """
    header = table.header
    if header is None:
        return {}
    sectors = {sector: bytes(SECTOR) for taken in table.backup for sector in taken if sector < size // SECTOR}
    last = size // SECTOR - 1
    backup_at = last - header.entries_sectors
    last_usable = backup_at - 1
    entries = table.entries.ljust(header.entries_sectors * SECTOR, b"\0")
    for number in range(header.entries_sectors):
        sectors[backup_at + number] = entries[number * SECTOR : (number + 1) * SECTOR]
    sectors[last] = header.moved(place=last, other=1, last_usable=last_usable, entries_at=backup_at)
    sectors[1] = header.moved(place=1, other=last, last_usable=last_usable, entries_at=header.entries_at)
    sectors[0] = _protective(table.boot_sector, last)
    return {sector * SECTOR: data for sector, data in sorted(sectors.items())}


def _protective(boot: bytes, sectors: int) -> bytes:
    """Return the protective MBR for a GPT on so many sectors behind the first."""
    raw = bytearray(boot)
    for number, (kind, _, _) in enumerate(_mbr_entries(boot)):
        if kind == PROTECTIVE:
            struct.pack_into("<I", raw, 446 + 16 * number + 12, min(sectors, 0xFFFF_FFFF))
    return bytes(raw)
