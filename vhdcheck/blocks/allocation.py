"""Where an image's blocks lie, counted in few enough cells to draw: by disk address and by file offset.

A reduction of the block allocation table to a bounded size, made only when asked for. Positions are 64-bit integers, as
in `arrays`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from vhdcheck.blocks.arrays import PART, by_place
from vhdcheck.blocks.facts import UNUSED
from vhdcheck.blocks.strips import Allocation, Run, Strip
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.blocks.arrays import Entries, Keys, Mask
    from vhdcheck.blocks.facts import Bounds

CELLS: Final = 512
"""Cells of a strip at the most: 16 rows of 32, or more columns than a terminal has."""
CHANGED: Final = 65_536
"""Runs of used blocks that are listed at the most."""
ALIGNMENT: Final = 7 * SECTOR
"""Bytes that Windows and XenServer leave between blocks to align their data to 4 KiB; they interrupt no extent."""


def allocate(table: Entries, bounds: Bounds) -> Allocation:
    """Count where blocks lie. Time: one sort of the used entries. Memory: two and a half times the table's.

    Args:
        table: the entries.
        bounds: what they are judged against.
    """
    keys = by_place(table)
    wrong = np.zeros(len(keys), dtype=np.bool_)
    faulty = np.zeros(len(table), dtype=np.bool_)
    for start in range(0, len(keys), PART):
        blocks = keys[start : start + PART].astype(np.uint32)
        bad = _faulty(keys, start, bounds) | (blocks >= bounds.needed)
        wrong[start : start + PART] = bad
        faulty[blocks[bad]] = True
    used, outside, extents = _in_disk_order(table, bounds)
    sectors = _sectors(keys)
    runs, taken = tuple(_runs(sectors, bounds)), _along_file(sectors, bounds)
    return Allocation(
        by_disk=_by_disk(table, faulty, bounds.needed),
        by_file=Strip(bounds.size, taken, _along_file(_kept(sectors, wrong), bounds)),
        runs=runs,
        used=used,
        faulty=int(np.count_nonzero(wrong)),
        outside=outside,
        extents=extents,
        changed=_changed(table, bounds.needed),
    )


def _changed(table: Entries, needed: int) -> tuple[tuple[int, int], ...]:
    """List runs of used blocks; in coarser units, each twice the one before, where there are too many."""
    used = table[:needed] != UNUSED
    blocks, unit = len(used), 1
    while np.count_nonzero(used[1:] > used[:-1]) >= CHANGED:
        used = np.append(used, np.zeros(len(used) % 2, dtype=np.bool_))
        used = used[::2] | used[1::2]
        unit *= 2
    edges = np.flatnonzero(np.diff(np.pad(used.view(np.int8), 1)))
    limits = np.minimum(edges.astype(np.int64) * unit, blocks).tolist()
    return tuple(zip(limits[::2], limits[1::2], strict=True))


def _sectors(keys: Keys) -> Entries:
    """Return where blocks begin, in the order of the file, in the memory of the keys, which are lost by it."""
    sectors: Entries = keys.view(np.uint32)[: len(keys)]
    for start in range(0, len(keys), PART):
        sectors[start : start + PART] = keys[start : start + PART] >> np.uint64(32)
    return sectors


def _kept(sectors: Entries, mask: Mask) -> Entries:
    """Return those that are marked, in the memory of them all, which are lost by it."""
    filled = 0
    for start in range(0, len(sectors), PART):
        part = sectors[start : start + PART][mask[start : start + PART]]
        sectors[filled : filled + len(part)] = part
        filled += len(part)
    return sectors[:filled]


def _faulty(keys: Keys, start: int, bounds: Bounds) -> Mask:
    """Mark, of the blocks from the `start`th in the file on, those that share bytes with what is not theirs."""
    before, behind = max(0, start - 1), start + PART + 1
    ordered = (keys[before:behind] >> np.uint64(32)).astype(np.int64) * SECTOR
    wrong: Mask = ordered > bounds.footer - bounds.slot
    for span in bounds.metadata:
        wrong |= (ordered < span.end) & (ordered > span.offset - bounds.slot)
    close = np.diff(ordered) < bounds.slot
    wrong[1:] |= close
    wrong[:-1] |= close
    return wrong[start - before :][:PART]


def _in_disk_order(table: Entries, bounds: Bounds) -> tuple[int, int, int]:
    """Count used blocks, those that begin behind the end of the file, and the extents that they lie in."""
    used = outside = extents = 0
    end = None
    for start in range(0, len(table), PART):
        part = table[start : start + PART]
        starts = part[part != UNUSED].astype(np.int64) * SECTOR
        if not len(starts):
            continue
        ends = np.concatenate(([starts[0] if end is None else end], starts[:-1] + bounds.slot))
        steps = starts - ends
        extents += (end is None) + int(np.count_nonzero((steps < 0) | (steps > ALIGNMENT)))
        used += len(starts)
        outside += int(np.count_nonzero(starts >= bounds.size))
        end = int(starts[-1]) + bounds.slot
    return used, outside, extents


def _limits(length: int, unit: int = 1) -> list[int]:
    """Divide an axis into cells of at least a unit."""
    cells = min(-(-length // unit), CELLS)
    return [index * length // cells for index in range(cells + 1)] if cells else [0]


def _by_disk(table: Entries, faulty: Mask, needed: int) -> Strip:
    """Count blocks; those of the disk that have no entry are faulty."""
    entries = len(table)
    is_used = table != UNUSED
    last = entries - 1 - int(is_used[::-1].argmax()) if is_used.any() else -1
    length = max(needed, last + 1)
    limits = _limits(length)
    inside = [min(limit, entries) for limit in limits]
    missing = [(b - a) - (d - c) for (a, b), (c, d) in zip(pairwise(limits), pairwise(inside), strict=True)]
    wrong = tuple(number + more for number, more in zip(_counts(faulty, inside), missing, strict=True))
    return Strip(length, _counts(is_used, inside), wrong)


def _counts(mask: Mask, limits: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(mask[a:b])) for a, b in pairwise(limits))


def _along_file(sectors: Entries, bounds: Bounds) -> tuple[int, ...]:
    """Count the bytes that blocks take of each cell of the file."""
    below = _taken_below(_limits(bounds.size, SECTOR), sectors, bounds.slot)
    return tuple(end - start for start, end in pairwise(below))


def _taken_below(limits: Sequence[int], sectors: Entries, slot: int) -> list[int]:
    """Count the bytes below each limit, in ascending order, that blocks take; what several share counts once."""
    below, at, total = [], 0, 0
    for limit in limits:
        last = _first_from(sectors, limit // SECTOR + 1) - 1  # the last block that begins at or before the limit
        if last < 0:
            below.append(0)
            continue
        for start in range(at, last, PART):
            ordered = sectors[start : min(start + PART, last) + 1].astype(np.int64) * SECTOR
            total += int(np.minimum(np.diff(ordered), slot).sum())
        at = max(at, last)
        below.append(total + min(limit - int(sectors[last]) * SECTOR, slot))
    return below


def _first_from(sectors: Entries, sector: int) -> int:
    """Find the first block, in the order of the file, that begins at a sector or behind it."""
    if not 0 <= sector <= UNUSED:
        return 0 if sector < 0 else len(sectors)
    return int(np.searchsorted(sectors, np.uint32(sector), side="left"))


def _runs(sectors: Entries, bounds: Bounds) -> list[Run]:
    """Describe what blocks take of each hole between metadata regions."""
    runs = []
    for start, end in _holes(bounds):
        first = _first_from(sectors, (start - bounds.slot) // SECTOR + 1)
        behind = _first_from(sectors, -(-end // SECTOR))
        if behind > first:
            run = max(start, int(sectors[first]) * SECTOR), min(end, int(sectors[behind - 1]) * SECTOR + bounds.slot)
            before, whole = _taken_below(run, sectors, bounds.slot)
            runs.append(Run(*run, whole - before, behind - first))
    return runs


def _holes(bounds: Bounds) -> list[tuple[int, int]]:
    """Say where blocks may lie: what is left of the file before the footer by the metadata."""
    holes, at = [], 0
    for span in sorted(bounds.metadata, key=lambda span: span.offset):
        if at < min(span.offset, bounds.footer):
            holes.append((at, min(span.offset, bounds.footer)))
        at = max(at, span.end)
    return [*holes, (at, bounds.footer)] if at < bounds.footer else holes
