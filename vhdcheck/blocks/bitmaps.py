"""The sector bitmaps of used blocks: one bit a sector, most significant first; set where the sector holds data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

from vhdcheck.blocks.facts import Bitmaps, Blocks

if TYPE_CHECKING:
    from vhdcheck.blocks.arrays import Bits, Entries, Mask

EXAMPLES: Final = 5
ONES: Final = 0xFF


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
        _count(self.result.full, full, blocks, sectors)
        _count(self.result.empty, empty, blocks, sectors)
        _count(self.result.partial, ~(full | empty), blocks, sectors)
        if padding.size:
            _count(self.result.padding, (padding.max(axis=1) > 0) & (padding.min(axis=1) < ONES), blocks, sectors)
        if called_full is not None:
            _count(self.result.contradicted, called_full & ~full, blocks, sectors)


def _count(kind: Blocks, mask: Mask, blocks: Entries, sectors: Entries) -> None:
    """Count those that a mask over both arrays marks."""
    marked = mask.nonzero()[0]
    kind.count += len(marked)
    few = marked[: EXAMPLES - len(kind.examples)]
    kind.examples += zip(blocks[few].tolist(), sectors[few].tolist(), strict=True)


def _are_full(bitmaps: Bits, sectors: int) -> Mask:
    """Mark the bitmaps whose first so many sectors are all marked; at least one."""
    whole, rest = divmod(sectors, 8)
    full: Mask = bitmaps[:, :whole].min(axis=1, initial=ONES) == ONES
    if rest:
        mask = 0xFF << 8 - rest & 0xFF
        full &= bitmaps[:, whole] & mask == mask
    return full
