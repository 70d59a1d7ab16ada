"""The block allocation table in numpy: where blocks lie, and which cannot be right. `small` does small sound ones.

Only this module and `allocation` import numpy. Positions are compared as 64-bit integers: the largest entry is sector
2**32-1 and the largest block 2 GiB, so nothing can wrap (vhd-util adds in 32 bits and misses entries near that end).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from vhdcheck.blocks.facts import EXAMPLES, NONE, UNUSED, Bounds, Hits, Table
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vhdcheck.format.span import Span

    Entries = NDArray[np.uint32]
    Mask = NDArray[np.bool_]
    Bits = NDArray[np.uint8]
    Keys = NDArray[np.uint64]
    Places = NDArray[np.intp]

PART: Final = 1 << 15
"""Entries looked at in one go."""


def decode(raw: list[bytes], entries: int) -> tuple[Entries, bytes]:
    """Decode a table from the pieces that it was read in, each a whole number of entries.

    The list is emptied, so that of a large table no more than a piece is in memory twice.

    Returns:
        `entries` sector numbers in native byte order, `UNUSED` where a block is not in the file; and what stands behind
        the last entry.
    """
    table = np.empty(entries, dtype=np.uint32)
    filled, padding = 0, b""
    while raw:
        piece = raw.pop(0)
        part = np.frombuffer(piece, dtype=">u4", count=min(len(piece) // 4, entries - filled))
        table[filled : filled + len(part)] = part
        filled += len(part)
        padding = piece[4 * len(part) :]
    return table, padding


def analyse(table: Entries, bounds: Bounds, *, padding: bytes = b"", batmap: bytes = b"") -> Table:
    """Find every block that is out of bounds, in the metadata, over the footer, twice there, or overlapping.

    Exact for any order of blocks. Time: linear where blocks lie in order, else one sort. Memory: about four times
    the table's.

    Args:
        table: the entries.
        bounds: what they are judged against.
        padding: what stands behind the last entry, to be kept.
        batmap: XenServer's map of full blocks, to be compared.
    """
    disk = table[: bounds.needed]
    found, ordered = _of_the_disk(disk, bounds)
    found = replace(found, entries=len(table), padding=padding, full_unused=_marked_unused(batmap, disk))
    beyond = _hits(table, table[bounds.needed :] != UNUSED, bounds.needed)
    return _with_spare(found, ordered, table, bounds, beyond) if beyond.count else found


def _of_the_disk(table: Entries, bounds: Bounds) -> tuple[Table, Entries]:
    """Analyse the entries of the disk's own blocks; return also where those begin that are in the data area."""
    used = sum(int(np.count_nonzero(part != UNUSED)) for part in _parts(table))
    if not used:
        return Table(entries=len(table)), table[:0]
    starts = table if used == len(table) else table[table != UNUSED]
    last = int(starts.max())
    faults, regions, rooms, sane = _out_of_bounds(table, starts, (int(starts.min()), last), bounds)
    del starts  # of a large table, memory for the sort
    ordered, in_order = _ascending(sane)
    del sane
    data_start = int(ordered[0]) * SECTOR if len(ordered) else 0
    data_end = int(ordered[-1]) * SECTOR + bounds.slot if len(ordered) else 0
    duplicate, overlapping, gaps, largest_gap = _neighbours(table, ordered, bounds.slot)
    found = Table(
        entries=len(table),
        used=used,
        first_block_used=int(table[0]) != UNUSED,
        data_start=data_start,
        data_end=data_end,
        claimed_end=last * SECTOR + bounds.slot,
        last_block=_block_at(table, last),
        in_order=in_order,
        gaps=gaps,
        largest_gap=largest_gap,
        duplicate=duplicate,
        overlapping=overlapping,
        hit_regions=regions,
        hit_rooms=rooms,
        past_end=faults.get("past_end", NONE),
        over_footer=faults.get("over_footer", NONE),
        in_metadata=faults.get("in_metadata", NONE),
        in_rooms=faults.get("in_rooms", NONE),
    )
    return found, ordered


def _with_spare(found: Table, ordered: Entries, table: Entries, bounds: Bounds, beyond: Hits) -> Table:
    """Add what the used entries behind the disk come to: those that have no place of their own, and what others take.

    `ordered` is where the disk's blocks begin.
    """
    slot, spare = bounds.slot // SECTOR, table[bounds.needed :]
    is_used = spare != UNUSED
    past_end = is_used & (spare > (bounds.size - bounds.slot) // SECTOR)
    faulty = is_used & (spare > (bounds.footer - bounds.slot) // SECTOR)
    for span in bounds.metadata:
        faulty |= is_used & _reaching(spare, span, bounds.slot)
    faulty |= is_used & (_distance(spare, table[: bounds.needed]) < slot)
    starts = np.unique(np.concatenate((ordered, spare[is_used & ~faulty])))
    steps = _steps(starts)
    wide = steps[steps > slot]
    return replace(
        found,
        used=found.used + beyond.count,
        data_start=int(starts[0]) * SECTOR if len(starts) else 0,
        data_end=int(starts[-1]) * SECTOR + bounds.slot if len(starts) else 0,
        gaps=(int(wide.sum(dtype=np.int64)) - slot * len(wide)) * SECTOR,
        largest_gap=max(0, int(steps.max()) - slot) * SECTOR if len(steps) else 0,
        beyond_disk=beyond,
        beyond_faulty=_hits(table, faulty, bounds.needed),
        beyond_past_end=_hits(table, past_end, bounds.needed),
    )


def _distance(entries: Entries, others: Entries) -> NDArray[np.int64]:
    """Return the sectors from each of some entries to the nearest used one of others."""
    places = np.sort(others[others != UNUSED]).astype(np.int64)
    if not len(places):
        return np.full(len(entries), 1 << 40, dtype=np.int64)
    wide = entries.astype(np.int64)
    after = np.searchsorted(places, wide)
    before, behind = places[np.maximum(after - 1, 0)], places[np.minimum(after, len(places) - 1)]
    nearest: NDArray[np.int64] = np.minimum(np.abs(wide - before), np.abs(wide - behind))
    return nearest


def by_place(table: Entries) -> Keys:
    """Return the used entries in the order of the file, each as its first sector times 2**32 plus its block."""
    keys = np.empty(sum(int(np.count_nonzero(part != UNUSED)) for part in _parts(table)), dtype=np.uint64)
    filled = 0
    for number, part in enumerate(_parts(table)):
        used = np.flatnonzero(part != UNUSED)
        some = keys[filled : filled + len(used)]
        some[:] = part[used]
        some <<= np.uint64(32)
        some |= (used + number * PART).astype(np.uint64)
        filled += len(used)
    keys.sort()
    return keys


def split(keys: Keys) -> tuple[Entries, Entries]:
    """Take what `by_place` returns apart: blocks, and the sectors at which they begin."""
    return keys.astype(np.uint32), (keys >> np.uint64(32)).astype(np.uint32)


def runs(sectors: Entries, length: int, near: int) -> Places:
    """Number the bitmaps, in the order of the file, that begin further than `near` bytes behind the one before."""
    first = np.ones(len(sectors), dtype=np.bool_)
    first[1:] = _steps(sectors) > (length + near) // SECTOR
    return np.flatnonzero(first)


def cut(pieces: list[bytes], sectors: Entries, firsts: Places, length: int) -> Bits:
    """Cut bitmaps out of what was read of the file, a row for each.

    Args:
        pieces: the bytes of each run, from its first bitmap to the end of its last.
        sectors: where the bitmaps begin.
        firsts: which of them begin a run.
        length: of a bitmap; one sector where a run has more than one.
    """
    read = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    if len(firsts) == len(sectors):
        return read.reshape(-1, length)
    ends = np.cumsum([len(piece) // SECTOR for piece in pieces])
    begins = np.concatenate(([0], ends[:-1])) - sectors[firsts]  # from a sector of the file to one of what was read
    return read.reshape(-1, SECTOR)[sectors + np.repeat(begins, np.diff(firsts, append=len(sectors)))]


def called_full(batmap: bytes, blocks: Entries) -> Mask:
    """Mark the blocks whose bit is set in a batmap (most significant bit first); behind its end none is."""
    bits = np.frombuffer(batmap + b"\0", dtype=np.uint8)
    marked: Mask = bits[np.minimum(blocks >> np.uint32(3), len(batmap))] & (0x80 >> (blocks & np.uint32(7))) != 0
    return marked


def _reaching(table: Entries, span: Span, slot: int) -> Mask:
    """Mark the entries whose blocks, of `slot` bytes, reach into a span."""
    first = (span.offset - slot) // SECTOR + 1  # the first sector at which a block reaches into it
    reaching: Mask = (table >= first) & (table < -(-span.end // SECTOR))
    return reaching


def _marked_unused(bits: bytes, table: Entries) -> Hits:
    """Find the entries that a batmap calls full (most significant bit first) and that are not used."""
    if not bits:
        return NONE
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=min(len(table), 8 * len(bits)))
    return _hits(table, unpacked.view(np.bool_) & (table[: len(unpacked)] == UNUSED))


def _out_of_bounds(
    table: Entries, starts: Entries, ends: tuple[int, int], bounds: Bounds
) -> tuple[dict[str, Hits], tuple[Span, ...], tuple[Span, ...], Entries]:
    """Find blocks outside the data area; return them by defect, regions and rooms they hit, and all others' starts.

    `ends` are the lowest and the highest start.
    """
    metadata_end = max((span.end for span in (*bounds.metadata, *bounds.rooms)), default=0)
    fits = (bounds.footer - bounds.slot) // SECTOR  # the last sector at which a block still ends before the footer
    if ends[0] * SECTOR >= metadata_end and ends[1] <= fits:
        return {}, (), (), starts
    is_used = table != UNUSED
    past_end = is_used & (table > (bounds.size - bounds.slot) // SECTOR)
    over_footer = is_used & ~past_end & (table > fits)
    in_metadata, regions = _hit(table, is_used, bounds.metadata, bounds.slot)
    in_rooms, rooms = _hit(table, is_used & ~in_metadata, bounds.rooms, bounds.slot)
    faults = {
        "past_end": _hits(table, past_end),
        "over_footer": _hits(table, over_footer),
        "in_metadata": _hits(table, in_metadata),
        "in_rooms": _hits(table, in_rooms),
    }
    return faults, regions, rooms, table[is_used & ~past_end & ~in_metadata]


def _hit(table: Entries, candidates: Mask, spans: Sequence[Span], slot: int) -> tuple[Mask, tuple[Span, ...]]:
    """Mark the blocks that reach into one of some spans, and name the spans that are reached into."""
    mask = np.zeros(len(table), dtype=np.bool_)
    reached = []
    for span in spans:
        hit = candidates & _reaching(table, span, slot)
        if hit.any():
            reached.append(span)
            mask |= hit
    return mask, tuple(reached)


def _parts(table: Entries, *, overlap: int = 0) -> Iterator[Entries]:
    """Cut a table into parts that fit a cache: a new array of megabytes costs more than the work on it."""
    for start in range(0, len(table) - overlap, PART):
        yield table[start : start + PART + overlap]


def _ascending(starts: Entries) -> tuple[Entries, bool]:
    """Return the starts in ascending order, and whether they were. The test is 25 times cheaper than the sort."""
    if all((part[1:] >= part[:-1]).all() for part in _parts(starts, overlap=1)):
        return starts, True
    return np.sort(starts), False


def _neighbours(table: Entries, ordered: Entries, slot: int) -> tuple[Hits, Hits, int, int]:
    """Compare neighbours in the file: blocks of one length overlap anywhere only if two neighbours do."""
    if len(ordered) <= 1:  # one has no neighbour
        return NONE, NONE, 0, 0
    slot_sectors = slot // SECTOR
    extremes = [(int(steps.min()), int(steps.max())) for steps in map(_steps, _parts(ordered, overlap=1))]
    closest, widest = min(least for least, _ in extremes), max(most for _, most in extremes)
    largest_gap = max(0, widest - slot_sectors) * SECTOR
    if closest >= slot_sectors:
        gaps = int(ordered[-1]) - int(ordered[0]) - slot_sectors * (len(ordered) - 1)
        return NONE, NONE, gaps * SECTOR, largest_gap
    steps = _steps(ordered)
    wide = steps[steps > slot_sectors]
    gaps = int(wide.sum(dtype=np.int64)) - slot_sectors * len(wide)
    same = ordered[1:][steps == 0]
    inside = ordered[1:][(steps > 0) & (steps < slot_sectors)]
    return _hits_at(table, same, repeated=True), _hits_at(table, inside), gaps * SECTOR, largest_gap


def _steps(ordered: Entries) -> Entries:
    """Return the distances from each start to the next; never negative, as they ascend."""
    return ordered[1:] - ordered[:-1]


def _block_at(table: Entries, sector: int) -> int:
    """Return the first block at a sector that some block is at."""
    for number, part in enumerate(_parts(table)):
        found = part == sector
        at = int(found.argmax())
        if found[at]:
            return number * PART + at
    raise AssertionError("no block is there")


def _hits(table: Entries, mask: Mask, first: int = 0) -> Hits:
    """Count a mask over the table from entry `first` on, with examples."""
    count = int(np.count_nonzero(mask))
    if not count:
        return NONE
    return Hits(count, tuple((first + block, int(table[first + block])) for block in _first_few(mask)))


def _first_few(mask: Mask, number: int = EXAMPLES) -> Iterator[int]:
    """Yield where the first few hits are; a list of them all would take eight bytes for each."""
    at = 0
    for _ in range(number):
        at += int(mask[at:].argmax())
        if not mask[at]:
            return
        yield at
        at += 1
        if at == len(mask):
            return


def _hits_at(table: Entries, starts: Entries, *, repeated: bool = False) -> Hits:
    """Count starts found in file order, with the blocks of the first few; of `repeated` ones, not the first block."""
    if not len(starts):
        return NONE
    examples: list[tuple[int, int]] = []
    for start in dict.fromkeys(starts[: 4 * EXAMPLES].tolist()):
        blocks = list(_first_few(table == start, EXAMPLES + 1))
        examples += [(block, start) for block in (blocks[1:] if repeated else blocks[:1])]
    return Hits(len(starts), tuple(examples[:EXAMPLES]))
