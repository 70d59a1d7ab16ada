"""The counts for a map against their twin: plain Python, a mark for every byte of a small file."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import SECTOR, dynamic
from vhdcheck import Span, check
from vhdcheck.blocks.allocation import CELLS, allocate
from vhdcheck.blocks.facts import UNUSED, Bounds
from vhdcheck.report.regions import WASTE, compacted, regions

if TYPE_CHECKING:
    from vhdcheck.blocks.strips import Allocation, Strip

Numbers = list[int]


@dataclass(frozen=True)
class Case:
    """A table, and what it is judged against."""

    entries: Numbers
    bounds: Bounds


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw tables whose blocks crowd in a file of more sectors than a map has cells, or of a few."""
    sectors = draw(st.sampled_from([2, 3, 9, 33]))
    size = draw(st.one_of(st.integers(0, 20 * SECTOR), st.integers(0, 700 * SECTOR)))
    footer = max(0, size - draw(st.sampled_from([0, 511, 512, 512, 1000])))
    entry = st.one_of(
        st.just(UNUSED),
        st.integers(0, 40).map(lambda number: 4 + number * sectors),
        st.integers(0, 40).map(lambda number: 4 + number * (sectors + 7)),
        st.integers(0, 800),
        st.sampled_from([0, 1, UNUSED - 1]),
    )
    entries = draw(st.lists(entry, max_size=30))
    if draw(st.booleans()):
        entries.sort()
    if draw(st.booleans()):
        entries += [UNUSED] * draw(st.integers(0, 3 * CELLS))
    spans = st.builds(Span, st.integers(0, max(size - 1, 0)), st.integers(1, 3 * SECTOR))
    inside = [Span(span.offset, min(span.length, size - span.offset)) for span in draw(st.lists(spans, max_size=4))]
    metadata = [span for span in inside if span.length]
    needed = draw(st.one_of(st.integers(0, len(entries) + 3), st.integers(0, 2000), st.just(1 << 60)))
    return Case(entries, Bounds(needed, sectors * SECTOR, metadata, footer, size))


class Twin:
    """What each field of an Allocation means, by its docstring."""

    def __init__(self, case: Case) -> None:
        self.case, self.bounds = case, case.bounds
        self.used = [(block, sector * SECTOR) for block, sector in enumerate(case.entries) if sector != UNUSED]
        self.faulty = [hit for hit in self.used if self.is_faulty(*hit)]
        starts = [start for _, start in self.used]
        follows = [0 <= b - (a + self.bounds.slot) <= 7 * SECTOR for a, b in pairwise(starts)]
        self.values: dict[str, Any] = {
            "used": len(self.used),
            "faulty": len(self.faulty),
            "outside": sum(start >= self.bounds.size for start in starts),
            "extents": 0 if not starts else 1 + follows.count(False),
            "in_order": 1.0 if not follows else follows.count(True) / len(follows),
            "runs": self.runs(),
        }

    def is_faulty(self, block: int, start: int) -> bool:
        """Say whether a block shares a byte with what is not its own, or is no block of the disk."""
        end = start + self.bounds.slot
        others = [(other, other + self.bounds.slot) for number, other in self.used if number != block]
        others += [(span.offset, span.end) for span in self.bounds.metadata]
        return (
            end > self.bounds.footer
            or block >= self.bounds.needed
            or any(max(start, a) < min(end, b) for a, b in others)
        )

    def marked(self, hits: list[tuple[int, int]]) -> bytearray:
        """Mark the bytes of the file that blocks take."""
        marks = bytearray(self.bounds.size)
        for _, start in hits:
            end = min(start + self.bounds.slot, self.bounds.size)
            marks[start:end] = b"\1" * max(0, end - start)
        return marks

    def runs(self) -> list[tuple[int, int, int, int]]:
        """Describe the blocks in each stretch of the file that is free of metadata."""
        free = bytearray(b"\1" * self.bounds.footer) + b"\0"
        for span in self.bounds.metadata:
            free[span.offset : span.end] = bytes(span.length)
        marks, found, at = self.marked(self.used), [], 0
        while (start := free.find(1, at)) >= 0:
            at = free.find(0, start)
            taken = [place for place in range(start, at) if marks[place]]
            blocks = sum(first < at and first + self.bounds.slot > start for _, first in self.used)
            if taken:
                found.append((taken[0], taken[-1] + 1, len(taken), blocks))
        return found


def limits(strip: Strip) -> list[tuple[int, int]]:
    return [strip.limits(cell) for cell in range(len(strip.used))]


def allocated(case: Case) -> Allocation:
    return allocate(np.array(case.entries, dtype=np.uint32), case.bounds)


@given(cases())
def test_the_counts_are_those_of_plain_python(case: Case) -> None:
    found, twin = allocated(case), Twin(case)
    assert {name: getattr(found, name) for name in twin.values if name not in {"runs", "in_order"}} == {
        name: value for name, value in twin.values.items() if name not in {"runs", "in_order"}
    }
    assert abs(found.in_order - twin.values["in_order"]) < 1e-9
    assert [(run.offset, run.end, run.taken, run.blocks) for run in found.runs] == twin.values["runs"]


@given(cases(), st.integers(1, 600))
def test_the_strip_by_disk_address(case: Case, cells: int) -> None:
    strip, twin = allocated(case).by_disk, Twin(case)
    used, faulty = {block for block, _ in twin.used}, {block for block, _ in twin.faulty}
    assert strip.length == max([case.bounds.needed, *(block + 1 for block in used)])
    entries = len(case.entries)
    for each in (strip, strip.merged(cells)):
        assert list(each.used) == [sum(start <= block < end for block in used) for start, end in limits(each)]
        assert list(each.faulty) == [
            sum(start <= block < end for block in faulty) + max(0, end - max(start, entries))
            for start, end in limits(each)
        ]


@given(cases(), st.integers(1, 600))
def test_the_strip_by_file_offset(case: Case, cells: int) -> None:
    strip, twin = allocated(case).by_file, Twin(case)
    assert strip.length == case.bounds.size
    used, faulty = twin.marked(twin.used), twin.marked(twin.faulty)
    for each in (strip, strip.merged(cells)):
        assert list(each.used) == [used[start:end].count(1) for start, end in limits(each)]
        assert list(each.faulty) == [faulty[start:end].count(1) for start, end in limits(each)]


@given(cases(), st.integers(1, 600))
def test_strips_are_whole_bounded_and_can_be_merged(case: Case, cells: int) -> None:
    for strip in (allocated(case).by_disk, allocated(case).by_file):
        assert len(strip.used) == len(strip.faulty) <= CELLS
        merged = strip.merged(cells)
        assert len(merged.used) == min(cells, len(strip.used))
        assert (sum(merged.used), sum(merged.faulty)) == (sum(strip.used), sum(strip.faulty))
        for each in (strip, merged):
            edges = limits(each)
            assert [start for start, _ in edges[1:]] == [end for _, end in edges[:-1]]
            assert not edges or (edges[0][0], edges[-1][1]) == (0, strip.length)
            for cell, (start, end) in enumerate(edges):
                assert start < end
                assert each.cell(start) == each.cell(end - 1) == cell
            assert each.cell(strip.length) is each.cell(-1) is None


@given(cases())
def test_it_passes_between_processes_and_is_small(case: Case) -> None:
    found = allocated(case)
    packed = pickle.dumps(found)
    assert pickle.loads(packed) == found  # noqa: S301 (its own)
    assert len(packed) < 32 << 10


@given(
    st.permutations(range(12)).flatmap(lambda order: st.integers(0, 12).map(lambda number: order[:number])),
    st.sampled_from([None, 9, 12, 100]),
    st.integers(0, 3).map(lambda number: number * SECTOR),
    st.sampled_from([512, 4096]),
)
def test_what_compaction_leaves_is_what_belongs_to_something(
    blocks: Numbers, spacing: int | None, slack: int, align: int
) -> None:
    block_size = 4096
    image = dynamic(12 * 4096, blocks=blocks, block_size=block_size, spacing=spacing, slack=slack, align=align)
    found = check(image.tobytes(), target="generic", allocation=True).image
    assert found.allocation is not None
    metadata = 512 + 1024 + 512 + 512  # footer copy, header, table, footer
    assert compacted(found) == metadata + len(blocks) * (512 + block_size)
    parts = regions(found)
    assert [part.end for part in parts[:-1]] == [part.offset for part in parts[1:]]
    assert (parts[0].offset, parts[-1].end) == (0, image.length)
    waste = sum(part.length - (0 if part.name in WASTE else part.taken or part.length) for part in parts)
    assert compacted(found) == image.length - waste
