"""The sector bitmaps of used blocks: one bit a sector, most significant first; set where the sector holds data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from vhdcheck.blocks.arrays import Bits, Entries, Mask

EXAMPLES: Final = 5
ONES: Final = 0xFF


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

    def add_all(self, mask: Mask, blocks: Entries, sectors: Entries) -> None:
        """Count those that a mask over both arrays marks."""
        marked = mask.nonzero()[0]
        self.count += len(marked)
        few = marked[: EXAMPLES - len(self.examples)]
        self.examples += zip(blocks[few].tolist(), sectors[few].tolist(), strict=True)


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
    """Sorts bitmaps by kind, many at a time: by the least and the greatest byte of each. Needs no numpy for that."""

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

    def add(self, blocks: Entries, sectors: Entries, bitmaps: Bits, called_full: Mask | None = None) -> None:
        """Judge bitmaps, in the order of the file.

        Args:
            blocks: whose they are.
            sectors: where these blocks begin.
            bitmaps: a row of bytes for each.
            called_full: which of the blocks the batmap has marked, where there is one.
        """
        length = -(-self._sectors // 8)
        used, padding = bitmaps[:, :length], bitmaps[:, length:]
        full = _are_full(used, self._sectors)
        last = (blocks == self._last[0]).nonzero()[0]
        if len(last):
            full[last] |= _are_full(used[last], self._last[1])
        empty = (used.max(axis=1) == 0) & ~full
        self.result.full.add_all(full, blocks, sectors)
        self.result.empty.add_all(empty, blocks, sectors)
        self.result.partial.add_all(~(full | empty), blocks, sectors)
        if padding.size:
            self.result.padding.add_all((padding.max(axis=1) > 0) & (padding.min(axis=1) < ONES), blocks, sectors)
        if called_full is not None:
            self.result.contradicted.add_all(called_full & ~full, blocks, sectors)


def _are_full(bitmaps: Bits, sectors: int) -> Mask:
    """Mark the bitmaps whose first so many sectors are all marked; at least one."""
    whole, rest = divmod(sectors, 8)
    full: Mask = bitmaps[:, :whole].min(axis=1, initial=ONES) == ONES
    if rest:
        mask = 0xFF << 8 - rest & 0xFF
        full &= bitmaps[:, whole] & mask == mask
    return full
