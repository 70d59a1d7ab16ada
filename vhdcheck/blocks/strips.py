"""Where blocks lie, counted in few enough cells to draw. Plain values, which `allocation` counts for a map."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Strip:
    """Counts along an axis: cell `i` of `n` stands for `[i * length // n, (i + 1) * length // n)`."""

    length: int
    """Of the axis: blocks of the disk, or bytes of the file."""
    used: tuple[int, ...] = ()
    """Of each cell, how much is in use: blocks in the file, or bytes that blocks take."""
    faulty: tuple[int, ...] = ()
    """Of each cell, how much of that cannot be right."""
    merged_from: int = 0
    """Cells that these were merged from, each of `[i * merged_from // n, (i + 1) * merged_from // n)` of them."""

    def _limit(self, cell: int) -> int:
        cells, finer = len(self.used), self.merged_from or len(self.used)
        return cell * finer // cells * self.length // finer

    def limits(self, cell: int) -> tuple[int, int]:
        """Say where a cell begins and ends."""
        return self._limit(cell), self._limit(cell + 1)

    def cell(self, position: int) -> int | None:
        """Say which cell a position is in; None behind the axis."""
        if not 0 <= position < self.length:
            return None
        cells, finer = len(self.used), self.merged_from or len(self.used)
        first = ((position + 1) * finer - 1) // self.length
        return ((first + 1) * cells - 1) // finer

    def merged(self, cells: int) -> Strip:
        """Return the counts of a strip that was not merged yet in at most `cells` cells."""
        old = len(self.used)
        if old <= cells:
            return self
        ranges = list(pairwise(index * old // cells for index in range(cells + 1)))
        used, faulty = (tuple(sum(counts[a:b]) for a, b in ranges) for counts in (self.used, self.faulty))
        return Strip(self.length, used, faulty, old)


@dataclass(frozen=True, slots=True)
class Run:
    """The blocks between two metadata regions, or between one and the end of the file. Offsets are bytes."""

    offset: int
    end: int
    taken: int
    """Bytes that belong to blocks; the rest are gaps between them."""
    blocks: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where the blocks lie. Its size is bounded, whatever the table's."""

    by_disk: Strip
    """Blocks in use and faulty ones, by disk address. A block without an entry in the table is faulty too."""
    by_file: Strip
    """Bytes that blocks and faulty blocks take, by file offset."""
    runs: tuple[Run, ...]
    """What blocks take of the file, in order; metadata and the footer lie between the runs."""
    used: int
    faulty: int
    """Used blocks that share bytes with another, metadata or the footer, leave the file, or lie behind the disk."""
    outside: int
    """Used blocks that begin behind the end of the file."""
    extents: int
    """Pieces in which the blocks lie when they are read in the order of the disk."""

    changed: tuple[tuple[int, int], ...] = ()
    """Runs of the disk's blocks that are in the file, as (first, behind the last). Where there are too many of them,
    runs that lie close together are one, so that all that is in the file is in them still."""

    @property
    def in_order(self) -> float:
        """Of the blocks that follow another one, the share that lie directly behind it in the file."""
        return 1.0 if self.used < 2 else (self.used - self.extents) / (self.used - 1)  # noqa: PLR2004 (a pair)
