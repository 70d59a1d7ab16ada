"""The disk of a chain: a differencing disk over its parents, each sector from the uppermost image that has it.

    child   ──▶ pieces ┐
    parent  ──▶ pieces ├─ Stack.pieces(): one sweep from the start of the disk to its end
    ...     ──▶ pieces ┘

Each image is swept once, side by side with the others, so that a chain costs what its images cost, however finely they
are interlaced. An image is cut where one above it ends: what a disk does not reach, its parent cannot show through it.
Parents that are longer or shorter than their children are all right but for one case, which `doubts` tells: an image
that is longer than its parent and shorter than its grandparent. Readers differ there.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from vhdcheck import targets
from vhdcheck.engine.check import examine
from vhdcheck.engine.parents import modified
from vhdcheck.errors import SourceError
from vhdcheck.mend.guest import WINDOW, DynamicDisk, disk_of
from vhdcheck.sources.local import opened
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.chain import Chain, Parent
    from vhdcheck.image import Image
    from vhdcheck.mend.guest import Disk, Piece
    from vhdcheck.sources.source import Source


class Layer(NamedTuple):
    """An image of a chain, open."""

    reader: Source
    image: Image


class Stack:
    """Disks one over another, the uppermost first; as long as that one."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        """Lay them over one another."""
        self.size = disks[0].size
        self._disks = tuple(disks)
        self._ends = tuple(accumulate((disk.size for disk in disks), min))

    @property
    def base(self) -> Disk:
        """The disk at the bottom, which stands alone."""
        return self._disks[-1]

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        """Yield what any of them has between two places, each place from the uppermost that has it."""
        end = self.size if end is None else min(end, self.size)
        layers = [disk.pieces(start, min(end, limit)) for disk, limit in zip(self._disks, self._ends, strict=True)]
        heads = [next(pieces, None) for pieces in layers]
        at = start
        while at < end:
            limit = end
            for number, pieces in enumerate(layers):
                piece = heads[number]
                while piece is not None and piece.end <= at:
                    piece = heads[number] = next(pieces, None)
                if piece is None:
                    continue
                if piece.at <= at:
                    found = piece.cut(at, limit)
                    yield found
                    at = found.end
                    break
                limit = min(limit, piece.at)
            else:
                at = limit

    def windows_used(self) -> int:
        """Count the windows of which some block of some image is in use: the blocks that a copy takes at the most."""
        marks = bytearray(-(-self.size // WINDOW))
        for disk, limit in zip(self._disks, self._ends, strict=True):
            if not isinstance(disk, DynamicDisk):
                marks[: -(-limit // WINDOW)] = b"\1" * -(-limit // WINDOW)
                continue
            for start, end in disk.ranges_used():
                first, behind = start // WINDOW, -(-min(end, limit) // WINDOW)
                if first < behind:
                    marks[first:behind] = b"\1" * (behind - first)
        return sum(marks)


@contextmanager
def opened_parents(chain: Chain | None) -> Iterator[tuple[Layer, ...]]:
    """Open the parents of a chain, the nearest first; none where it is not whole.

    Raises:
        SourceError: one cannot be opened.
    """
    with ExitStack() as stack:
        parents = chain.parents if chain is not None and chain.is_whole else ()
        yield tuple(_opened(each, stack) for each in parents)


def _opened(parent: Parent, stack: ExitStack) -> Layer:
    """Open a parent, as it was when it was examined."""
    reader = stack.enter_context(opened(parent.source))
    if parent.modified is not None and modified(reader) != parent.modified:
        raise SourceError(f"{parent.name}: the file changed while it was checked")
    return Layer(reader, parent.image)


def stack_of(child: Layer, parents: Sequence[Layer]) -> Stack:
    """Return the disk of a chain.

    Raises:
        SourceError: an image has no disk that could be read.
    """
    return Stack([disk_of(layer.reader, layer.image) for layer in (child, *parents)])


def doubts(child: Layer, parents: Sequence[Layer]) -> Iterator[str]:
    """Say what puts the data of a whole chain in doubt, beyond what the rules found in each image.

    Raises:
        SourceError: an image cannot be read.
    """
    layers = (child, *parents)
    sizes = [layer.image.footer.current_size for layer in layers if layer.image.footer is not None]
    least = sizes[0]
    for size, layer in zip(sizes, layers, strict=True):
        if least < size and least < sizes[0]:
            yield f"{layer.reader.name}: longer than an image above it, and that one is shorter than the disk itself"
        least = min(least, size)
    for layer in layers:
        footer = layer.image.footer
        if layer.image.batmap is not None and layer.image.batmap.map_offset and _contradicts(layer):
            yield f"{layer.reader.name}: the batmap calls blocks full, and their bitmaps do not"
        if footer is not None and not footer.is_sparse and footer.offset > footer.current_size:
            yield f"{layer.reader.name}: its footer does not stand where the fixed disk ends"
        if footer is not None and footer.current_size % SECTOR:
            yield f"{layer.reader.name}: its disk does not end with a sector"


def _contradicts(layer: Layer) -> bool:
    """Say whether XenServer, which goes by the batmap, reads other sectors from an image than all others do."""
    bitmaps = examine(layer.reader, targets.load("generic"), deep=True).image.bitmaps
    return bitmaps is None or bitmaps.contradicted.count > 0
