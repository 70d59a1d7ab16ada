"""The sector bitmaps of used blocks: one bit a sector, most significant first; set where the sector holds data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

EXAMPLES: Final = 5


@dataclass(slots=True)
class Blocks:
    """Blocks of one kind: how many, and the first few as (block, first sector)."""

    count: int = 0
    examples: list[tuple[int, int]] = field(default_factory=list)

    def add(self, block: int, sector: int) -> None:
        """Count one."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((block, sector))


@dataclass(slots=True)
class Bitmaps:
    """What the bitmaps say."""

    full: Blocks = field(default_factory=Blocks)
    """Every sector of the disk in it holds data."""
    partial: Blocks = field(default_factory=Blocks)
    empty: Blocks = field(default_factory=Blocks)
    """No bit is set, and yet the block is in the file."""
    padding: Blocks = field(default_factory=Blocks)
    """The bytes behind the last bit are neither all zeros nor all ones."""
    contradicted: Blocks = field(default_factory=Blocks)
    """The batmap calls the block full, its bitmap does not."""
    unmarked: Blocks = field(default_factory=Blocks)
    """Sectors that the bitmap calls empty hold data. Known only of a stream, where the data passes anyway."""
    basis: tuple[int, ...] = ()
    """What they were sorted by. By another footer or header they would mean something else."""


class Tally:
    """Sorts bitmaps by kind, one at a time."""

    def __init__(self, header: int, sectors: int, last_block: int, last_sectors: int, batmap: bytes) -> None:
        """Prepare for an image.

        Args:
            header: offset of the dynamic header that leads to them.
            sectors: in a block.
            last_block: index of the virtual disk's last block.
            last_sectors: how many of that block's sectors belong to the disk.
            batmap: XenServer's map of full blocks; empty where there is none.
        """
        self.result = Bitmaps(basis=(header, sectors, last_block, last_sectors, crc32(batmap)))
        self._sectors = sectors
        self._last = last_block, max(1, min(last_sectors, sectors))
        self._batmap = batmap
        self._ones = b"\xff" * (sectors // 8)
        self._judged, self._kind, self._padded = b"", self.result.empty, False

    def add(self, block: int, sector: int, bitmap: bytes) -> None:
        """Judge the bitmap of a block that begins at `sector`."""
        if bitmap != self._judged or block == self._last[0]:
            self._judge(block, bitmap)
        self._kind.add(block, sector)
        if self._kind is not self.result.full and self._is_called_full(block):
            self.result.contradicted.add(block, sector)
        if self._padded:
            self.result.padding.add(block, sector)

    def _judge(self, block: int, bitmap: bytes) -> None:
        """Judge a bitmap; the next is likely to be the same, and is then not looked at again."""
        length = -(-self._sectors // 8)
        self._judged = b"" if block == self._last[0] else bitmap
        if self._is_full(block, bitmap):
            self._kind = self.result.full
        else:
            self._kind = self.result.partial if any(bitmap[:length]) else self.result.empty
        padding = bitmap[length:]
        self._padded = bool(padding.strip(b"\0") and padding.strip(b"\xff"))

    def _is_called_full(self, block: int) -> bool:
        """Say whether the batmap has the block's bit set."""
        byte = self._batmap[block // 8 : block // 8 + 1]
        return bool(byte) and bool(byte[0] & 0x80 >> block % 8)

    def _is_full(self, block: int, bitmap: bytes) -> bool:
        """Say whether every sector that belongs to the disk is marked."""
        if self._ones and bitmap.startswith(self._ones):
            return True
        sectors = self._last[1] if block == self._last[0] else self._sectors
        whole, rest = divmod(sectors, 8)
        mask = 0xFF << 8 - rest & 0xFF
        return bitmap.startswith(b"\xff" * whole) and (not rest or bitmap[whole] & mask == mask)
