"""Where an image's blocks lie, counted in few enough cells to draw: by disk address and by file offset.

A reduction of the block allocation table to a bounded size, made only when asked for. Positions are 64-bit integers, as
in `arrays`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from vhdcheck.blocks.arrays import by_place
from vhdcheck.blocks.facts import UNUSED
from vhdcheck.blocks.strips import Allocation, Run, Strip
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vhdcheck.blocks.arrays import Entries, Mask
    from vhdcheck.blocks.facts import Bounds

    Offsets = NDArray[np.int64]

CELLS: Final = 512
"""Cells of a strip at the most: 16 rows of 32, or more columns than a terminal has."""
ALIGNMENT: Final = 7 * SECTOR
"""Bytes that Windows and XenServer leave between blocks to align their data to 4 KiB; they interrupt no extent."""


def allocate(table: Entries, bounds: Bounds) -> Allocation:
    """Count where blocks lie. Time: one sort of the used entries. Memory: about eight times the table's.

    Args:
        table: the entries.
        bounds: what they are judged against.
    """
    is_used = table != UNUSED
    starts = table[is_used].astype(np.int64) * SECTOR
    keys = by_place(table)
    ordered, blocks = (keys >> np.uint64(32)).astype(np.int64) * SECTOR, keys.astype(np.uint32)
    wrong = _faulty(ordered, bounds) | (blocks >= bounds.needed)
    faulty = np.zeros(len(table), dtype=np.bool_)
    faulty[blocks[wrong]] = True
    steps = starts[1:] - starts[:-1] - bounds.slot
    return Allocation(
        by_disk=_by_disk(is_used, faulty, bounds.needed),
        by_file=_by_file(ordered, ordered[wrong], bounds),
        runs=tuple(_runs(ordered, bounds)),
        used=len(starts),
        faulty=int(np.count_nonzero(wrong)),
        outside=int(np.count_nonzero(starts >= bounds.size)),
        extents=int(bool(len(starts))) + int(np.count_nonzero((steps < 0) | (steps > ALIGNMENT))),
    )


def _faulty(ordered: Offsets, bounds: Bounds) -> Mask:
    """Mark the blocks that share bytes with what is not theirs, by their offsets in ascending order."""
    wrong = ordered > bounds.footer - bounds.slot
    for span in bounds.metadata:
        wrong |= (ordered < span.end) & (ordered > span.offset - bounds.slot)
    close = np.diff(ordered) < bounds.slot
    wrong[1:] |= close
    wrong[:-1] |= close
    return wrong


def _limits(length: int, unit: int = 1) -> list[int]:
    """Divide an axis into cells of at least a unit."""
    cells = min(-(-length // unit), CELLS)
    return [index * length // cells for index in range(cells + 1)] if cells else [0]


def _by_disk(is_used: Mask, faulty: Mask, needed: int) -> Strip:
    """Count blocks; those of the disk that have no entry are faulty."""
    entries = len(is_used)
    used = np.flatnonzero(is_used)
    length = max(needed, int(used[-1]) + 1 if len(used) else 0)
    limits = _limits(length)
    inside = [min(limit, entries) for limit in limits]
    missing = [(b - a) - (d - c) for (a, b), (c, d) in zip(pairwise(limits), pairwise(inside), strict=True)]
    wrong = tuple(number + more for number, more in zip(_counts(faulty, inside), missing, strict=True))
    return Strip(length, _counts(is_used, inside), wrong)


def _counts(mask: Mask, limits: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(mask[a:b])) for a, b in pairwise(limits))


def _by_file(ordered: Offsets, faulty: Offsets, bounds: Bounds) -> Strip:
    limits = np.array(_limits(bounds.size, SECTOR), dtype=np.int64)
    used, wrong = (np.diff(_taken_below(limits, starts, bounds.slot)).tolist() for starts in (ordered, faulty))
    return Strip(bounds.size, tuple(used), tuple(wrong))


def _taken_below(limits: Offsets, ordered: Offsets, slot: int) -> Offsets:
    """Count the bytes below each limit that blocks take; what several share counts once."""
    if not len(ordered):
        return np.zeros(len(limits), dtype=np.int64)
    lengths = np.minimum(np.diff(ordered), slot)
    before = np.concatenate(([0], np.cumsum(lengths)))
    last = np.searchsorted(ordered, limits, side="right") - 1  # the last block that begins at or before the limit
    below = before[last] + np.minimum(limits - ordered[last], slot)
    return np.where(last < 0, 0, below)


def _runs(ordered: Offsets, bounds: Bounds) -> list[Run]:
    """Describe what blocks take of each hole between metadata regions."""
    runs = []
    for start, end in _holes(bounds):
        first = int(np.searchsorted(ordered, start - bounds.slot, side="right"))
        behind = int(np.searchsorted(ordered, end, side="left"))
        if behind > first:
            run = max(start, int(ordered[first])), min(end, int(ordered[behind - 1]) + bounds.slot)
            taken = np.diff(_taken_below(np.array(run, dtype=np.int64), ordered, bounds.slot))
            runs.append(Run(*run, int(taken[0]), behind - first))
    return runs


def _holes(bounds: Bounds) -> list[tuple[int, int]]:
    """Say where blocks may lie: what is left of the file before the footer by the metadata."""
    holes, at = [], 0
    for span in sorted(bounds.metadata, key=lambda span: span.offset):
        if at < min(span.offset, bounds.footer):
            holes.append((at, min(span.offset, bounds.footer)))
        at = max(at, span.end)
    return [*holes, (at, bounds.footer)] if at < bounds.footer else holes
