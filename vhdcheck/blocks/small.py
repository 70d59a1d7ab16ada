"""What a block allocation table says. A sound one of moderate length is analysed here, in plain Python.

That costs less than numpy's own calls for a few dozen entries, and for some hundred thousand less than importing numpy
(100 ms). All other tables are for `arrays`, which says the same of these.
"""

from __future__ import annotations

import struct
import sys
from operator import sub
from typing import TYPE_CHECKING, Final

from vhdcheck.blocks.facts import UNUSED, Bounds, Table
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence


SMALL: Final = 128
"""Entries up to which plain Python is faster than numpy."""
BUDGET: Final = 1 << 17
"""Entries that a process analyses here before it imports numpy: 25 to 50 ms where the import takes 90."""


class Budget:
    """How many entries are still analysed here before numpy is worth its import."""

    def __init__(self, entries: int = BUDGET) -> None:
        """Begin with all of it."""
        self.entries = entries

    def covers(self, entries: int) -> bool:
        """Say whether numpy would take longer for a table of so many entries, and if so, count them."""
        if entries <= SMALL:
            return True
        if "numpy" in sys.modules or entries > self.entries:
            return False
        self.entries -= entries
        return True


PROCESS: Final = Budget()
"""The budget of this process: numpy, once imported, is there for all that follow."""


def sound(
    pieces: Sequence[bytes], entries: int, bounds: Bounds, batmap: bytes = b"", budget: Budget = PROCESS
) -> Table | None:
    """Analyse a table; None where it is too long to be worth it, or where anything in it is wrong.

    Args:
        pieces: the table as it was read, each piece a whole number of entries, padding at the end of the last.
        entries: how many it has.
        bounds: what they are judged against.
        batmap: XenServer's map of full blocks, to be compared.
        budget: what may be spent here instead of on importing numpy.
    """
    if not budget.covers(entries):
        return None
    raw = b"".join(pieces)
    table = struct.unpack_from(f">{entries}I", raw)
    unused = table.count(UNUSED)
    if unused and _is_contradicted(batmap, table[: bounds.needed]):
        return None
    padding = raw[4 * entries :]
    if unused == entries:
        return Table(entries, padding=padding)
    starts = [start for start in table if start != UNUSED] if unused else list(table)
    ordered = sorted(starts)
    first, last, slot = ordered[0], ordered[-1], bounds.slot // SECTOR
    steps = list(map(sub, ordered[1:], ordered)) or [slot]
    if (
        first * SECTOR < max([span.offset + span.length for span in (*bounds.metadata, *bounds.rooms)], default=0)
        or last * SECTOR + bounds.slot > bounds.footer
        or min(steps) < slot
        or table[bounds.needed :].count(UNUSED) < entries - bounds.needed
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


def _is_contradicted(batmap: bytes, table: Sequence[int]) -> bool:
    """Say whether a batmap (most significant bit first) calls an entry full that is not used."""
    return bool(batmap.strip(b"\0")) and any(
        start == UNUSED and batmap[block >> 3] & 0x80 >> (block & 7)
        for block, start in enumerate(table[: 8 * len(batmap)])
    )
