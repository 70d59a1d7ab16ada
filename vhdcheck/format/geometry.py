"""Disk sizes and the geometries that span them: what qemu-img rounds to, and when a geometry loses the disk's end."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vhdcheck.format import creators
from vhdcheck.units import SECTOR, round_up

if TYPE_CHECKING:
    from vhdcheck.format.structures import Footer

_SHAPES = [(heads, 17) for heads in range(4, 17)] + [(16, 31), (16, 63), (16, 255)]
"""Heads and sectors per track that the specification's algorithm can choose."""
MAX_GEOMETRY: Final = (65535, 16, 255)
_LARGEST = 65535 * 16 * 255
_STEPS = [17 * (1024 * heads + more) for heads in range(4, 17) for more in (0, 1)] + [31 * 16 * 1024, 65535 * 16 * 63]
"""Disk sizes, in sectors, at which it chooses others."""


@lru_cache(maxsize=64)
def geometry(size: int) -> tuple[int, int, int]:
    """Compute (cylinders, heads, sectors per track) for a disk of `size` bytes.

    Source: specification, appendix "CHS Calculation". Their product is at most `size`, by less than one cylinder.
    """
    sectors = min(size // SECTOR, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        per_track, heads, tracks = 255, 16, sectors // 255
    else:
        per_track, tracks = 17, sectors // 17
        heads = max(-(-tracks // 1024), 4)
        if tracks >= heads * 1024 or heads > 16:  # noqa: PLR2004 (heads have four bits)
            per_track, heads, tracks = 31, 16, sectors // 31
        if tracks >= heads * 1024:
            per_track, heads, tracks = 63, 16, sectors // 63
    return tracks // heads, heads, per_track


def _spanned(sectors: int) -> int:
    """Return how many of so many sectors the geometry computed for them spans."""
    cylinders, heads, per_track = geometry(sectors * SECTOR)
    return cylinders * heads * per_track


def chs_size_up(size: int) -> int:
    """Return what qemu-img rounds a disk size up to, so that a geometry spans it.

    It tries one sector more and more (block/vpc.c) until the geometry computed for that many spans the disk. That can
    only come true at a whole number of cylinders, or where the algorithm chooses other ones. With the largest geometry
    it keeps the size.
    """
    sectors = -(-size // SECTOR)
    if not 0 < sectors < _LARGEST:
        return sectors * SECTOR
    tries = [round_up(sectors, heads * per_track) for heads, per_track in _SHAPES]
    tries += [step for step in _STEPS if step >= sectors]
    spanned = next(_spanned(more) for more in sorted(tries) if _spanned(more) >= sectors)
    return (spanned if spanned < _LARGEST else sectors) * SECTOR


def chs_size_down(size: int) -> int:
    """Return the largest disk size up to `size` that its own geometry spans, so that qemu-img keeps it."""
    sectors = size // SECTOR
    ends = [sectors, *(step - 1 for step in _STEPS if step <= sectors), *(step for step in _STEPS if step <= sectors)]
    tries = {end // (heads * per_track) * heads * per_track for end in ends for heads, per_track in _SHAPES}
    return max((less for less in tries if _spanned(less) == less), default=0) * SECTOR


def size_by_geometry(footer: Footer, chs: tuple[int, int, int] | None = None) -> int | None:
    """Return the size that some qemu takes for the disk's, from the geometry; None where every qemu takes the current.

    Args:
        footer: the footer.
        chs: another geometry to try in the place of its own.

    Source: qemu block/vpc.c. As many sectors as the largest geometry spans mean "larger than a geometry can say".
    """
    cylinders, heads, per_track = footer.geometry if chs is None else chs
    sectors = cylinders * heads * per_track
    if footer.creator_application in creators.CURRENT_SIZE_ALWAYS or sectors == _LARGEST:
        return None
    return sectors * SECTOR


def is_cut_by_readers(footer: Footer, chs: tuple[int, int, int]) -> bool:
    """Say whether some qemu would cut off the end of a footer's disk if its geometry were this one."""
    size = size_by_geometry(footer, chs)
    return size is not None and size < footer.current_size


def is_mended_by_its_own(footer: Footer) -> bool:
    """Say whether the specification's geometry can take the place of another without a reader losing anything."""
    return not is_cut_by_readers(footer, geometry(footer.current_size))
