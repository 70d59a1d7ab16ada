"""The block allocation table in numpy: where blocks lie, and which of them cannot be right.

The one module that imports numpy. Positions are compared as 64-bit integers: the largest entry is sector 2**32-1 and
the largest block 2 GiB, so nothing can wrap (vhd-util adds in 32 bits and misses entries near the end of that range).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vhdcheck.model import Span

    Entries = NDArray[np.uint32]
    Mask = NDArray[np.bool_]

UNUSED: Final = 0xFFFF_FFFF
EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Hits:
    """Entries with one defect: how many, and the first few as (block, first sector)."""

    count: int = 0
    examples: tuple[tuple[int, int], ...] = ()


NONE: Final = Hits()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a table is judged against; offsets in bytes."""

    needed: int
    """Blocks of the virtual disk; entries behind them belong to no block."""
    slot: int
    """Bytes that a block takes: bitmap and data."""
    metadata: Sequence[Span]
    footer: int
    """Where the footer begins, or the end of the file."""
    size: int
    """Length of the file."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the table says. Offsets are bytes; a block's span is its bitmap and data."""

    entries: int
    used: int = 0
    first_block_used: bool = False
    data_start: int = 0
    """Offset of the first block in the file; 0 where there is none."""
    data_end: int = 0
    """End of the last block that ends in the file, leaving out blocks in the metadata."""
    claimed_end: int = 0
    """End of the last block by the table's word, also where the file is shorter."""
    last_block: int = -1
    """The block that ends there."""
    in_order: bool = True
    gaps: int = 0
    """Bytes between blocks that belong to none."""
    largest_gap: int = 0
    past_end: Hits = NONE
    """Blocks that end behind the end of the file."""
    over_footer: Hits = NONE
    """Blocks that end in the file, but behind the beginning of the footer."""
    in_metadata: Hits = NONE
    """Blocks that share bytes with a metadata region."""
    hit_regions: tuple[str, ...] = ()
    beyond_disk: Hits = NONE
    """Used entries behind the last block of the virtual disk."""
    duplicate: Hits = NONE
    """Blocks at the same place as another, leaving out those past the end and in the metadata."""
    overlapping: Hits = NONE
    """Blocks that begin inside another one, leaving out the same, and duplicates."""
    full_unused: Hits = NONE
    """Unused entries that the batmap calls full."""
    padding: bytes = b""
    """What stands between the last entry and the end of its sector."""

    @property
    def is_sane(self) -> bool:
        """Whether every used entry leads to a place of its own in the file's data area."""
        faults = (self.past_end, self.over_footer, self.in_metadata, self.duplicate, self.overlapping)
        return not any(hits.count for hits in faults)


def decode(raw: Sequence[bytes], entries: int) -> tuple[Entries, bytes]:
    """Decode a table from the pieces that it was read in, each a whole number of entries.

    Returns:
        `entries` sector numbers in native byte order, `UNUSED` where a block is not in the file; and what stands behind
        the last entry.
    """
    table = np.empty(entries, dtype=np.uint32)
    filled, padding = 0, b""
    for piece in raw:
        part = np.frombuffer(piece, dtype=">u4", count=min(len(piece) // 4, entries - filled))
        table[filled : filled + len(part)] = part
        filled += len(part)
        padding = piece[4 * len(part) :]
    return table, padding


def analyse(table: Entries, bounds: Bounds, *, padding: bytes = b"", batmap: bytes = b"") -> Table:
    """Find every block that is out of bounds, in the metadata, over the footer, twice there, or overlapping.

    Exact for any order of blocks. Time: linear where blocks lie in order, else one sort. Memory: about five times
    the table's.

    Args:
        table: the entries.
        bounds: what they are judged against.
        padding: what stands behind the last entry, to be kept.
        batmap: XenServer's map of full blocks, to be compared.
    """
    is_used = table != UNUSED
    starts = table[is_used]
    if not len(starts):
        return Table(entries=len(table), padding=padding, full_unused=_marked_unused(batmap, table))
    faults, regions, sane = _out_of_bounds(table, is_used, starts, bounds)
    last = int(starts.max())
    ordered, in_order = _ascending(sane)
    data_start = int(ordered[0]) * SECTOR if len(ordered) else 0
    data_end = int(ordered[-1]) * SECTOR + bounds.slot if len(ordered) else 0
    duplicate, overlapping, gaps, largest_gap = _neighbours(table, ordered, bounds.slot)
    return Table(
        entries=len(table),
        used=len(starts),
        first_block_used=bool(is_used[0]),
        data_start=data_start,
        data_end=data_end,
        claimed_end=last * SECTOR + bounds.slot,
        last_block=int(np.flatnonzero(table == last)[0]),
        in_order=in_order,
        gaps=gaps,
        largest_gap=largest_gap,
        beyond_disk=_hits(table, is_used[bounds.needed :], bounds.needed),
        duplicate=duplicate,
        overlapping=overlapping,
        hit_regions=regions,
        past_end=faults.get("past_end", NONE),
        over_footer=faults.get("over_footer", NONE),
        in_metadata=faults.get("in_metadata", NONE),
        full_unused=_marked_unused(batmap, table),
        padding=padding,
    )


def by_place(table: Entries) -> NDArray[np.uint64]:
    """Return the used entries in the order of the file, each as its first sector times 2**32 plus its block."""
    keys = np.flatnonzero(table != UNUSED).astype(np.uint64)
    keys |= table[table != UNUSED].astype(np.uint64) << np.uint64(32)
    keys.sort()
    return keys


def _marked_unused(bits: bytes, table: Entries) -> Hits:
    """Find the entries that a batmap calls full (most significant bit first) and that are not used."""
    if not bits:
        return NONE
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=min(len(table), 8 * len(bits)))
    wrong = np.flatnonzero(unpacked.view(np.bool_) & (table[: len(unpacked)] == UNUSED))
    return Hits(len(wrong), tuple((int(block), UNUSED) for block in wrong[:EXAMPLES]))


def _out_of_bounds(
    table: Entries, is_used: Mask, starts: Entries, bounds: Bounds
) -> tuple[dict[str, Hits], tuple[str, ...], Entries]:
    """Find blocks outside the data area; return them by defect, regions they hit, and the starts of all others."""
    metadata_end = max((span.end for span in bounds.metadata), default=0)
    fits = (bounds.footer - bounds.slot) // SECTOR  # the last sector at which a block still ends before the footer
    if int(starts.min()) * SECTOR >= metadata_end and int(starts.max()) <= fits:
        return {}, (), starts
    wide = table.astype(np.int64)
    past_end = is_used & (wide > (bounds.size - bounds.slot) // SECTOR)
    over_footer = is_used & ~past_end & (wide > fits)
    in_metadata = np.zeros(len(table), dtype=np.bool_)
    regions = []
    for span in bounds.metadata:
        first = (span.offset - bounds.slot) // SECTOR + 1  # the first sector at which a block reaches into the region
        hit = is_used & (wide >= first) & (wide < -(-span.end // SECTOR))
        if hit.any():
            regions.append(span.field)
            in_metadata |= hit
    faults = {
        "past_end": _hits(table, past_end),
        "over_footer": _hits(table, over_footer),
        "in_metadata": _hits(table, in_metadata),
    }
    return faults, tuple(regions), table[is_used & ~past_end & ~in_metadata]


def _ascending(starts: Entries) -> tuple[Entries, bool]:
    """Return the starts in ascending order, and whether they were. The test is 25 times cheaper than the sort."""
    if len(starts) < 2 or bool((starts[1:] >= starts[:-1]).all()):  # noqa: PLR2004 (one or none is in order)
        return starts, True
    return np.sort(starts), False


def _neighbours(table: Entries, ordered: Entries, slot: int) -> tuple[Hits, Hits, int, int]:
    """Compare neighbours in the file: blocks of one length overlap anywhere only if two neighbours do."""
    steps = ordered[1:] - ordered[:-1]  # ascending, so never negative
    if not len(steps):
        return NONE, NONE, 0, 0
    slot_sectors = slot // SECTOR
    widest = int(steps.max()) - slot_sectors
    gaps = largest_gap = 0
    if widest > 0:
        behind = steps[steps > slot_sectors].astype(np.int64) - slot_sectors
        gaps, largest_gap = int(behind.sum()) * SECTOR, widest * SECTOR
    if int(steps.min()) >= slot_sectors:
        return NONE, NONE, gaps, largest_gap
    same = ordered[1:][steps == 0]
    inside = ordered[1:][(steps > 0) & (steps < slot_sectors)]
    return _hits_at(table, same, repeated=True), _hits_at(table, inside), gaps, largest_gap


def _hits(table: Entries, mask: Mask, first: int = 0) -> Hits:
    """Count a mask over the table from entry `first` on, with examples."""
    count = int(np.count_nonzero(mask))
    if not count:
        return NONE
    return Hits(count, tuple((first + int(i), int(table[first + int(i)])) for i in np.flatnonzero(mask)[:EXAMPLES]))


def _hits_at(table: Entries, starts: Entries, *, repeated: bool = False) -> Hits:
    """Count starts found in file order, with the blocks of the first few; of `repeated` ones, not the first block."""
    if not len(starts):
        return NONE
    examples: list[tuple[int, int]] = []
    for start in dict.fromkeys(starts[: 4 * EXAMPLES].tolist()):
        blocks = np.flatnonzero(table == start)[: EXAMPLES + 1].tolist()
        examples += [(block, start) for block in (blocks[1:] if repeated else blocks[:1])]
    return Hits(len(starts), tuple(examples[:EXAMPLES]))
