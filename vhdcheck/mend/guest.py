"""The guest's disk, read from an image whose metadata are sound: any block size, order, gaps, and a last block in part.

A disk is a **map**: it says which ranges of itself are present, and where their bytes lie (`Piece`). What it does not
name is absent. Absent is zero for a disk that stands alone, and its parent's for a differencing one, so that a chain
is one more disk: `Layers` lays one over another, and what neither names is absent still.

    RawDisk ──── one piece                            ┐
    DynamicDisk ─ a piece for each run of sectors     ├─ pieces() ─▶ windows(): 2 MiB at a time,
                  that a block's bitmap marks         │              without those that are all zeros
    Layers ────── what the upper one has, or else     │
                  the lower one                       ┘

Why a map and not a stream of bytes: a hole costs nothing, neither here nor in what is composed of it, and whoever
copies knows the places in the file, which the system may know as holes too.

Nothing that an image names is opened: parent locators and the batmap are not looked at. Memory is a table of four
bytes a block (32 MiB at the most, `MAX_ENTRIES`), a bitmap, and the window.
"""

from __future__ import annotations

import os
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from vhdcheck.blocks.facts import UNUSED
from vhdcheck.errors import SourceError
from vhdcheck.format.limits import MAX_ENTRIES
from vhdcheck.format.span import Span
from vhdcheck.format.structures import DYNAMIC, FIXED
from vhdcheck.mend.holes import data_extents
from vhdcheck.sources.local import BufferSource
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image
    from vhdcheck.sources.source import Source

WINDOW: Final = 2 << 20
"""Bytes of the disk looked at in one go: a block of the images that are written."""
ZEROS: Final = bytes(WINDOW)
TABLE_PIECE: Final = 1 << 20


class Piece(NamedTuple):
    """A range of the disk that is present: `length` bytes from `at`, which lie in `source` from `offset` on."""

    at: int
    length: int
    source: Source
    offset: int

    @property
    def end(self) -> int:
        """The first byte of the disk behind it."""
        return self.at + self.length

    def cut(self, start: int, end: int) -> Piece:
        """Return the part of it between two places of the disk, of which some lies in it."""
        start, end = max(start, self.at), min(end, self.end)
        return Piece(start, end - start, self.source, self.offset + start - self.at)


class Disk(Protocol):
    """A disk as the guest sees it."""

    size: int
    """Bytes."""

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield what is present between two places of the disk, in order, disjoint, none empty."""


class RawDisk:
    """A disk whose bytes lie one after another in a file: a raw one, or a fixed one before its footer."""

    def __init__(self, source: Source, size: int) -> None:
        """Take the first `size` bytes of a file."""
        self.size = size
        self._source = source

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield what is between two places."""
        end = self.size if end is None else min(end, self.size)
        if start < end:
            yield Piece(start, end - start, self._source, start)


class DynamicDisk:
    """A dynamic or differencing disk, by its table and the bitmap of each block.

    A sector whose bit is clear is absent. On a disk that stands alone readers disagree there: libvhdi and VirtualBox
    read zeros, qemu what stands in the block. Where that is zeros too they agree: `unmarked` finds where it is not.
    """

    def __init__(self, source: Source, size: int, header: DynamicHeader, *, alone: bool = False) -> None:
        """Read the table.

        Args:
            source: the file.
            size: of the disk.
            header: the dynamic header.
            alone: the disk has no parent, so that zeros and what is absent are the same.

        Raises:
            SourceError: it is longer than any real one, or cannot be read.
        """
        self.size = size
        self._source, self._header, self._alone = source, header, alone
        self._block, self._bitmap = header.block_size, header.bitmap_length
        self._needed = -(-size // self._block)
        if self._needed > min(MAX_ENTRIES, header.max_table_entries):
            raise SourceError(f"{source.name}: the block allocation table has no room for a disk of {size} bytes")
        self._table = self._read_table()

    def _read_table(self) -> array[int]:
        table: array[int] = array("I")
        length = 4 * self._needed
        for start in range(0, length, TABLE_PIECE):
            span = Span(self._header.table_offset + start, min(TABLE_PIECE, length - start))
            table.frombytes(_read(self._source, span))
        if sys.byteorder == "little":
            table.byteswap()
        return table

    def used(self, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Yield the blocks in use between two places of the disk, in order."""
        end = self.size if end is None else min(end, self.size)
        for block in range(start // self._block, -(-end // self._block)):
            if self._table[block] != UNUSED:
                yield block

    def ranges_used(self) -> Iterator[tuple[int, int]]:
        """Yield where on the disk each block in use begins and ends, in order."""
        for block in self.used():
            yield block * self._block, min((block + 1) * self._block, self.size)

    def windows_used(self) -> int:
        """Count the windows of which some block is in use: the blocks that a copy takes at the most."""
        step = WINDOW // self._block
        used = self._needed - self._table.count(UNUSED)
        if step == 1 or not used:  # nearly all disks: their blocks are as long as a window, or they are empty
            return used
        if step:
            parts = (self._table[first : first + step] for first in range(0, self._needed, step))
            return sum(part.count(UNUSED) < len(part) for part in parts)
        return sum(-(-min(self._block, self.size - block * self._block) // WINDOW) for block in self.used())

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield the runs of sectors that are marked."""
        end = self.size if end is None else min(end, self.size)
        for block in self.used(start, end):
            for piece in self._runs(block, marked=True):
                if piece.at < end and piece.end > start:
                    yield piece.cut(start, end)

    def unmarked(self) -> Iterator[Piece]:
        """Yield the runs of sectors of blocks in use that are not marked."""
        for block in self.used():
            yield from self._runs(block, marked=False)

    def _runs(self, block: int, *, marked: bool) -> Iterator[Piece]:
        """Yield a block's runs of sectors whose bits are set, or not."""
        at, place = block * self._block, self._table[block] * SECTOR
        length = min(self._block, self.size - at)
        sectors = -(-length // SECTOR)
        bits = _read(self._source, Span(place, -(-sectors // 8)))
        for first, behind in self._ranges(bits, sectors, place + self._bitmap, marked=marked):
            end = min(behind * SECTOR, length)
            yield Piece(at + first * SECTOR, end - first * SECTOR, self._source, place + self._bitmap + first * SECTOR)

    def _ranges(self, bits: bytes, sectors: int, place: int, *, marked: bool) -> Iterator[tuple[int, int]]:
        """Yield the ranges of a block's sectors that are marked, or not; of a hole only where that matters.

        A small file may claim thousands of runs in each block, and have nothing in any of them.
        """
        if not self._alone or _is_full(bits, sectors):
            yield from _runs_of_bits(bits, 0, sectors, marked=marked)
            return
        done = 0
        for start, end in data_extents(self._source, place, sectors * SECTOR):
            first, behind = max(done, (start - place) // SECTOR), -(-(end - place) // SECTOR)
            yield from _runs_of_bits(bits, first, behind, marked=marked)
            done = behind


class Layers:
    """A disk over another, cut to a size or made larger: what the upper one has, then what the lower one has."""

    def __init__(self, upper: Disk, lower: Disk, size: int) -> None:
        """Lay `upper` over `lower`."""
        self.size = size
        self._upper, self._lower = upper, lower

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield what either has between two places."""
        end = self.size if end is None else min(end, self.size)
        at = start
        for piece in self._upper.pieces(start, end):
            yield from self._lower.pieces(at, piece.at)
            yield piece
            at = piece.end
        if at < end:
            yield from self._lower.pieces(at, end)


class Patches:
    """A disk that has a few ranges in memory, and nothing else."""

    def __init__(self, patches: dict[int, bytes], size: int) -> None:
        """Take ranges (offset -> bytes), disjoint."""
        self.size = size
        self._parts = [Piece(at, len(data), BufferSource(data, "memory"), 0) for at, data in sorted(patches.items())]

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield the ranges between two places."""
        end = self.size if end is None else min(end, self.size)
        for piece in self._parts:
            if piece.at < end and piece.end > start:
                yield piece.cut(start, end)


def disk_of(source: Source, image: Image) -> Disk:
    """Return the disk of an image whose metadata are sound.

    Args:
        source: the file's bytes.
        image: what is known of it; its table has been found sane.

    Raises:
        SourceError: the image has no disk that could be read.
    """
    footer = image.footer
    if footer is None:
        raise SourceError(f"{source.name}: there is no footer")
    if footer.disk_type == FIXED:
        if footer.current_size > footer.offset:
            raise SourceError(f"{source.name}: the end of the fixed disk is missing")
        return RawDisk(source, footer.current_size)
    if image.header is None or not _is_readable(image, image.header):
        raise SourceError(f"{source.name}: the block allocation table cannot be relied on")
    return DynamicDisk(source, footer.current_size, image.header, alone=footer.disk_type == DYNAMIC)


def _is_readable(image: Image, header: DynamicHeader) -> bool:
    """Say whether every block of the disk has a place of its own, of the last one as much as the disk has of it."""
    table = image.table
    if table is None or table.is_sane:
        return table is not None
    if table.in_metadata.count or table.duplicate.count or table.overlapping.count:
        return False
    short = (*table.past_end.examples, *table.over_footer.examples)
    if table.past_end.count + table.over_footer.count != 1 or image.footer is None:
        return False
    ((block, sector),) = short
    if table.past_end.count and sector * SECTOR < table.data_end:  # only blocks that end in the file were compared
        return False
    rest = image.footer.current_size - block * header.block_size
    is_last = 0 < rest <= header.block_size
    return is_last and sector * SECTOR + header.bitmap_length + rest <= image.footer_offset


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of the disk that are not all zeros: `data` is WINDOW bytes long, and reused for the next window."""

    number: int
    data: bytearray
    first: int
    """Where in `data` the part begins that the source has; before it are zeros."""
    end: int
    """Where that part ends; behind it are zeros."""


def windows(
    disk: Disk, start: int = 0, end: int | None = None, *, buffers: Iterator[bytearray] | None = None
) -> Iterator[Window]:
    """Read a disk, and yield each window that is not all zeros, in order.

    Args:
        disk: the disk.
        start: where to begin; what is before it counts as zeros.
        end: where to end.
        buffers: gives a buffer of WINDOW bytes, which may hold anything, for each window; one for all by default.
    """
    buffer = bytearray(WINDOW) if buffers is None else next(buffers)
    number, first, filled = -1, 0, 0
    for piece in _in_windows(disk.pieces(start, end)):
        if piece.at // WINDOW != number:
            if number >= 0:
                buffer[filled:] = ZEROS[filled:]
                if buffer != ZEROS:
                    yield Window(number, buffer, first, filled)
                    buffer = buffer if buffers is None else next(buffers)
            number, first, filled = piece.at // WINDOW, piece.at % WINDOW, 0
        at = piece.at % WINDOW
        buffer[filled:at] = ZEROS[filled:at]
        _read_into(piece, memoryview(buffer)[at : at + piece.length])
        filled = at + piece.length
    if number >= 0:
        buffer[filled:] = ZEROS[filled:]
        if buffer != ZEROS:
            yield Window(number, buffer, first, filled)


def extents_of(disk: Disk) -> Iterator[int]:
    """Yield how long each part of a disk is that is present, and no hole."""
    for piece in disk.pieces():
        for start, end in data_extents(piece.source, piece.offset, piece.length):
            yield end - start


def first_data(pieces: Iterator[Piece]) -> int | None:
    """Return where on the disk the first byte is that is not zero; None where all are."""
    for piece in _in_windows(pieces):
        data = _read(piece.source, Span(piece.offset, piece.length))
        if data != ZEROS[: len(data)]:
            return piece.at + len(data) - len(data.lstrip(b"\0"))
    return None


def _in_windows(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Cut pieces at the limits of windows, and leave out what the system knows as holes."""
    for piece in pieces:
        for start, end in data_extents(piece.source, piece.offset, piece.length):
            at = piece.at + start - piece.offset
            behind = piece.at + end - piece.offset
            while at < behind:
                limit = min(behind, (at // WINDOW + 1) * WINDOW)
                yield piece.cut(at, limit)
                at = limit


def _read(source: Source, span: Span) -> bytes:
    (data,) = source.read([span])
    if data is None or len(data) != span.length:
        raise SourceError(f"{source.name}: cannot read {span.length} bytes at 0x{span.offset:x}")
    return data


def _read_into(piece: Piece, view: memoryview) -> None:
    """Read a piece, without a copy of it where the source is a file and the system has a call for that."""
    descriptor = getattr(piece.source, "fileno", None)
    if descriptor is None or not hasattr(os, "preadv"):
        view[:] = _read(piece.source, Span(piece.offset, piece.length))
        return
    done = 0
    try:
        while done < piece.length:
            more = os.preadv(descriptor(), [view[done:]], piece.offset + done)
            if not more:
                break
            done += more
    except OSError as error:
        where = f"at 0x{piece.offset + done:x}"
        raise SourceError(f"{piece.source.name}: {error.strerror or error} {where}") from error
    if done < piece.length:
        raise SourceError(f"{piece.source.name}: the file became shorter while it was read")


_FULL: Final = b"\xff"


def _is_full(bits: bytes, sectors: int) -> bool:
    """Say whether all bits are set."""
    whole = sectors // 8
    rest = 0xFF << (-sectors % 8) & 0xFF
    return bits[:whole] == _FULL * whole and (sectors % 8 == 0 or bits[whole] & rest == rest)


def _runs_of_bits(bits: bytes, first: int, behind: int, *, marked: bool) -> Iterator[tuple[int, int]]:
    """Yield (first, behind the last) of each run of set or clear bits in a range; the first bit is the highest."""
    if _is_full(bits, behind):
        if marked:
            yield first, behind
        return
    text = bin(int.from_bytes(b"\1" + bits, "big"))[3:]
    wanted, other = ("1", "0") if marked else ("0", "1")
    start = text.find(wanted, first, behind)
    while start >= 0:
        end = text.find(other, start, behind)
        end = behind if end < 0 else end
        yield start, end
        start = text.find(wanted, end, behind)
