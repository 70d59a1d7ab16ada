"""The numpy analysis against its twin: plain Python, construct's table, every block compared with every other.

And that of small sound tables against numpy's.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vhdcheck import Span
from vhdcheck.blocks import arrays, facts, small
from vhdcheck.format import layout

UNUSED = 0xFFFF_FFFF
SECTOR = 512


@dataclass(frozen=True)
class Case:
    """A table, and what it is judged against."""

    entries: list[int]
    bounds: facts.Bounds
    pieces: int = 1

    @property
    def raw(self) -> bytes:
        """The table as it is stored."""
        return struct.pack(f">{len(self.entries)}I", *self.entries)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw tables whose blocks crowd: close together, near both ends of the file and of 32 bits."""
    sectors = draw(st.sampled_from([2, 3, 9, 17, 1025, 4097, (1 << 22) + 1024]))
    slot = sectors * SECTOR
    size = draw(st.one_of(st.integers(0, 40 * slot), st.integers((1 << 32) * SECTOR - 3 * slot, (1 << 33) * SECTOR)))
    footer = max(0, size - draw(st.sampled_from([0, 511, 512, 512, 512, 1000, 4096])))
    last = footer // SECTOR
    near = st.integers(-sectors - 2, sectors + 2)
    entry = st.one_of(
        st.just(UNUSED),
        st.integers(0, 3 * sectors),
        st.integers(0, 40).map(lambda number: 4 + number * sectors),
        near.map(lambda delta: last + delta),
        near.map(lambda delta: 0xFFFF_FFFE + delta),
        st.sampled_from([0, 1, 3, UNUSED - 1]),
    ).map(lambda number: min(max(number, 0), UNUSED))
    entries = draw(st.lists(entry, max_size=24))
    if draw(st.booleans()):
        entries.sort()
    spans = st.builds(Span, st.integers(0, 6 * SECTOR), st.integers(1, 3 * SECTOR), st.sampled_from(["a", "b"]))
    metadata = draw(st.lists(spans, max_size=4))
    metadata += draw(st.lists(st.builds(Span, st.integers(0, max(size, 1)), st.integers(1, slot)), max_size=1))
    needed = draw(st.integers(0, 26))
    rooms = draw(st.lists(spans, max_size=2))
    return Case(entries, facts.Bounds(needed, slot, metadata, footer, size, rooms), draw(st.integers(1, 4)))


class Twin:
    """What each field of a Table means, by its docstring."""

    def __init__(self, case: Case) -> None:
        bounds, self.slot = case.bounds, case.bounds.slot
        entries = list(layout.block_allocation_table(len(case.entries)).parse(case.raw))
        every = [(block, sector) for block, sector in enumerate(entries) if sector != UNUSED]
        used = [hit for hit in every if hit[0] < bounds.needed]
        spare = [hit for hit in every if hit[0] >= bounds.needed]
        past_end = [hit for hit in used if self.end(hit) > bounds.size]
        over_footer = [hit for hit in used if bounds.footer < self.end(hit) <= bounds.size]
        in_metadata = [hit for hit in used if any(self.shares(hit, span) for span in bounds.metadata)]
        in_rooms = [
            hit for hit in used if hit not in in_metadata and any(self.shares(hit, span) for span in bounds.rooms)
        ]
        rooms = [span for span in bounds.rooms if any(self.shares(hit, span) for hit in in_rooms)]
        regions = [span for span in bounds.metadata if any(self.shares(hit, span) for hit in used)]
        sane = [hit for hit in used if hit not in past_end and hit not in in_metadata]
        starts = [sector for _, sector in sane]
        duplicates = [hit for index, hit in enumerate(sane) if hit[1] in starts[:index]]
        inside = {a for a in starts for b in starts if 0 < (a - b) * SECTOR < self.slot}
        blocks = [Span(sector * SECTOR, self.slot) for _, sector in used]
        faulty = [
            hit
            for hit in spare
            if self.end(hit) > bounds.footer or any(self.shares(hit, span) for span in (*bounds.metadata, *blocks))
        ]
        owned = sane + [hit for hit in spare if hit not in faulty]
        taken = [sector for _, sector in owned]
        gaps = [self.gap(start, taken) for start in set(taken)]
        self.values: dict[str, Any] = {
            "entries": len(entries),
            "used": len(every),
            "first_block_used": any(block == 0 for block, _ in used),
            "data_start": min(taken, default=0) * SECTOR,
            "data_end": max((self.end(hit) for hit in owned), default=0),
            "claimed_end": max((self.end(hit) for hit in used), default=0),
            "last_block": max(used, key=lambda hit: (hit[1], -hit[0]), default=(-1, 0))[0],
            "in_order": starts == sorted(starts),
            "gaps": sum(gaps),
            "largest_gap": max(gaps, default=0),
            "hit_regions": tuple(regions),
            "hit_rooms": tuple(rooms),
        }
        self.hits = {
            "past_end": past_end,
            "over_footer": over_footer,
            "in_metadata": in_metadata,
            "in_rooms": in_rooms,
            "beyond_disk": spare,
            "beyond_faulty": faulty,
            "beyond_past_end": [hit for hit in spare if self.end(hit) > bounds.size],
            "duplicate": duplicates,
            # Of several blocks at one place that begin inside another, one counts: the rest are duplicates.
            "overlapping": [hit for hit in sane if hit[1] in inside and hit not in duplicates],
        }

    def end(self, hit: tuple[int, int]) -> int:
        """Return where a block ends."""
        return hit[1] * SECTOR + self.slot

    def shares(self, hit: tuple[int, int], span: Span) -> bool:
        """Say whether a block shares bytes with a span."""
        return max(hit[1] * SECTOR, span.offset) < min(self.end(hit), span.end)

    def gap(self, start: int, starts: list[int]) -> int:
        """Return the bytes between a block's end and the next block that begins behind it, if none reaches there."""
        behind = [other for other in starts if other > start]
        return max(0, min(behind) * SECTOR - (start * SECTOR + self.slot)) if behind else 0


def analysed(case: Case) -> facts.Table:
    """Run numpy's analysis on the table, read in so many pieces."""
    step = 4 * -(-max(1, len(case.entries)) // case.pieces)
    pieces = [case.raw[start : start + step] for start in range(0, max(1, len(case.raw)), step)]
    table, padding = arrays.decode(pieces, len(case.entries))
    assert table.tolist() == case.entries
    assert padding == b""
    return arrays.analyse(table, case.bounds)


WRAPS = Case([0xFFFF_F000, 4], facts.Bounds(2, 4097 * SECTOR, [Span(0, 2048, "m")], 10 << 20, (10 << 20) + 512))


@given(cases())
@example(WRAPS)
@example(Case([], WRAPS.bounds))
@example(Case([UNUSED] * 3, WRAPS.bounds))
def test_the_analysis_is_its_twin_s(case: Case) -> None:
    table, twin = analysed(case), Twin(case)
    assert {name: getattr(table, name) for name in twin.values} == twin.values
    assert {name: getattr(table, name).count for name in twin.hits} == {
        name: len(hit) for name, hit in twin.hits.items()
    }
    for name, expected in twin.hits.items():
        found = getattr(table, name).examples
        assert len(found) == min(len(expected), facts.EXAMPLES), name
        assert set(found) <= {(block, sector) for block, sector in enumerate(case.entries)}, name
        if name != "overlapping":  # there any of the blocks at a place may stand for it
            assert set(found) <= set(expected), name
        assert {sector for _, sector in found} <= {sector for _, sector in expected}, name


@st.composite
def nearly_sound(draw: st.DrawFn) -> Case:
    """Draw tables of blocks that lie apart, in any order, and now and then one that does not."""
    sectors = draw(st.sampled_from([2, 9, 4097]))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 7, -1]), max_size=24))
    starts = [8]
    for gap in gaps:
        starts.append(starts[-1] + sectors + gap)
    first = draw(st.sampled_from([8, 8, 8, 7]))
    entries = draw(st.permutations([start if start > 8 else first for start in starts]) | st.just(starts))
    entries += [UNUSED] * draw(st.integers(0, 3))
    footer = (max(starts) + sectors - draw(st.sampled_from([0, 0, 0, 1]))) * SECTOR
    needed = len(entries) - draw(st.sampled_from([0, 0, 0, 1]))
    return Case(entries, facts.Bounds(needed, sectors * SECTOR, [Span(0, 8 * SECTOR, "m")], footer, footer + SECTOR))


@given(nearly_sound() | cases(), st.binary(max_size=600), st.sampled_from([b"", b"", b"\0\0", b"\x80", b"\0\x10"]))
def test_a_sound_table_is_analysed_alike_without_numpy(case: Case, behind: bytes, batmap: bytes) -> None:
    table, _ = arrays.decode([case.raw], len(case.entries))
    expected = arrays.analyse(table, case.bounds, padding=behind, batmap=batmap)
    found = small.sound([case.raw, behind], len(case.entries), case.bounds, batmap)
    if found is not None:
        assert found == expected
    else:
        structures = (*case.bounds.metadata, *case.bounds.rooms)
        before_metadata_ends = expected.data_start < max((span.end for span in structures), default=0)
        wrong = expected.beyond_disk.count or expected.full_unused.count or not expected.is_sane
        assert wrong or before_metadata_ends


@given(st.binary(max_size=16), st.lists(st.booleans(), max_size=small.SMALL))
@example(b"\0\1", [True] * 15 + [False])
def test_a_table_that_its_batmap_contradicts_is_left_to_numpy(bits: bytes, used: list[bool]) -> None:
    entries = [8 + 2 * block if is_used else UNUSED for block, is_used in enumerate(used)]
    raw = struct.pack(f">{len(entries)}I", *entries)
    bounds = facts.Bounds(len(entries), 1024, [Span(0, 4096)], 1 << 30, 1 << 30)
    wrong = arrays.analyse(arrays.decode([raw], len(entries))[0], bounds, batmap=bits).full_unused.count
    assert (small.sound([raw], len(entries), bounds, bits) is None) == bool(wrong)


def test_a_sound_table_needs_no_numpy() -> None:
    entries = list(range(8, 8 + 2 * small.SMALL, 2))
    case = Case(entries, facts.Bounds(len(entries), 1024, [Span(0, 4096)], 1 << 30, 1 << 30))
    found = small.sound([case.raw], len(entries), case.bounds)
    assert found is not None
    assert (found.used, found.gaps, found.in_order) == (small.SMALL, 0, True)


@given(cases(), st.binary(max_size=600))
def test_decode_returns_what_follows_the_last_entry(case: Case, behind: bytes) -> None:
    table, padding = arrays.decode([case.raw + behind], len(case.entries))
    assert (table.tolist(), padding) == (case.entries, behind)


@given(st.binary(max_size=16), st.lists(st.sampled_from([UNUSED, 4, 9]), max_size=140))
def test_full_blocks_that_are_unused(bits: bytes, entries: list[int]) -> None:
    table, _ = arrays.decode([struct.pack(f">{len(entries)}I", *entries)], len(entries))
    wrong = [
        (block, UNUSED)
        for block, sector in enumerate(entries)
        if sector == UNUSED and block < 8 * len(bits) and bits[block // 8] & 0x80 >> block % 8
    ]
    bounds = facts.Bounds(len(entries), 4097 * 512, [], 1 << 40, 1 << 40)
    found = arrays.analyse(table, bounds, batmap=bits).full_unused
    assert found == facts.Hits(len(wrong), tuple(wrong[: facts.EXAMPLES]))


def test_order_is_seen_across_the_pieces_that_a_table_is_compared_in() -> None:
    """Each half ascends, and the second begins again: every block of it lies on one of the first, or on its end."""
    half = np.arange(arrays.PART, dtype=np.uint32) * 4 + 8
    size = int(half[-1] + 100) * 512
    for shift, counts in ((0, (arrays.PART, 0)), (1, (0, arrays.PART))):
        entries = np.concatenate([half, half + np.uint32(shift)])
        table = arrays.analyse(entries, facts.Bounds(len(entries), 1024, [], size, size))
        assert not table.in_order
        assert (table.duplicate.count, table.overlapping.count) == counts


@pytest.mark.parametrize(("distance", "counts"), [(0, (1, 0)), (1, (0, 1)), (2, (0, 0))])
def test_neighbours_are_compared_across_the_pieces(distance: int, counts: tuple[int, int]) -> None:
    """In order, but for the last block of one piece and the first of the next; all others touch exactly."""
    entries = np.arange(2 * arrays.PART, dtype=np.uint32) * 2 + 8
    entries[arrays.PART :] -= np.uint32(2 - distance)
    size = int(entries[-1] + 100) * 512
    table = arrays.analyse(entries, facts.Bounds(len(entries), 1024, [], size, size))
    assert table.in_order
    assert table.last_block == 2 * arrays.PART - 1
    assert (table.duplicate.count, table.overlapping.count, table.gaps) == (*counts, 0)
    found = [*table.duplicate.examples, *table.overlapping.examples]
    assert found == ([(arrays.PART, int(entries[arrays.PART]))] if distance < 2 else [])


@pytest.mark.parametrize("used", [0, 1, 9, arrays.PART, 2 * arrays.PART + 3])
@pytest.mark.parametrize("unused", [0, 1, arrays.PART])
def test_blocks_in_the_order_of_the_file(used: int, unused: int) -> None:
    entries = [4 + 9 * number for number in range(used)] + [UNUSED] * unused
    random.Random(used).shuffle(entries)
    blocks, sectors = arrays.split(arrays.by_place(np.array(entries, dtype=np.uint32)))
    expected = sorted((sector, block) for block, sector in enumerate(entries) if sector != UNUSED)
    assert list(zip(sectors.tolist(), blocks.tolist(), strict=True)) == expected
