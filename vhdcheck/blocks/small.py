"""What a block allocation table says. A sound one of moderate length is analysed here, in plain Python.

That costs less than numpy's own calls for a few dozen entries, and for some hundred thousand less than importing numpy
(100 ms). All other tables are for `bat`, which says the same of these.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING, Final, NamedTuple

from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.format.structures import Span

UNUSED: Final = 0xFFFF_FFFF
EXAMPLES: Final = 5
SMALL: Final = 128
"""Entries up to which plain Python is faster than numpy."""
BUDGET: Final = 1 << 17
"""Entries that a process analyses here before it imports numpy: 25 to 50 ms where the import takes 90."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Entries with one defect: how many, and the first few as (block, first sector)."""

    count: int = 0
    examples: tuple[tuple[int, int], ...] = ()


NONE: Final = Hits()


class Bounds(NamedTuple):
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


class _Spent:
    """How much of BUDGET is gone."""

    entries = 0


def sound(pieces: Sequence[bytes], entries: int, bounds: Bounds, batmap: bytes = b"") -> Table | None:
    """Analyse a table; None where it is too long to be worth it, or where anything in it is wrong.

    Args:
        pieces: the table as it was read, each piece a whole number of entries, padding at the end of the last.
        entries: how many it has.
        bounds: what they are judged against.
        batmap: XenServer's map of full blocks, to be compared.
    """
    if not _is_worth_it(entries):
        return None
    raw = b"".join(pieces)
    table = struct.unpack_from(f">{entries}I", raw)
    unused = table.count(UNUSED)
    if unused and _is_contradicted(batmap, table):
        return None
    padding = raw[4 * entries :]
    if unused == entries:
        return Table(entries, padding=padding)
    starts = [start for start in table if start != UNUSED] if unused else list(table)
    ordered = sorted(starts)
    first, last, slot = ordered[0], ordered[-1], bounds.slot // SECTOR
    steps = list(map(sub, ordered[1:], ordered)) or [slot]
    if (
        first * SECTOR < max((span.end for span in bounds.metadata), default=0)
        or last * SECTOR + bounds.slot > bounds.footer
        or min(steps) < slot
        or any(start != UNUSED for start in table[bounds.needed :])
    ):
        return None
    end = last * SECTOR + bounds.slot
    return Table(
        entries,
        used=len(starts),
        first_block_used=table[0] != UNUSED,
        data_start=first * SECTOR,
        data_end=end,
        claimed_end=end,
        last_block=table.index(last),
        in_order=ordered == starts,
        gaps=(last - first - slot * (len(starts) - 1)) * SECTOR,
        largest_gap=(max(steps) - slot) * SECTOR,
        padding=padding,
    )


def _is_worth_it(entries: int) -> bool:
    """Say whether numpy would take longer, and if so, count the entries against the budget."""
    if entries <= SMALL:
        return True
    if "numpy" in sys.modules or _Spent.entries + entries > BUDGET:
        return False
    _Spent.entries += entries
    return True


def _is_contradicted(batmap: bytes, table: Sequence[int]) -> bool:
    """Say whether a batmap (most significant bit first) calls an entry full that is not used."""
    return bool(batmap.strip(b"\0")) and any(
        start == UNUSED and batmap[block >> 3] & 0x80 >> (block & 7)
        for block, start in enumerate(table[: 8 * len(batmap)])
    )
