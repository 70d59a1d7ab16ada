"""The regions of an image's file, in order: structures, blocks, and what belongs to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vhdcheck.format.structures import FIXED
from vhdcheck.units import count, human

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.image import Image

WASTE: Final = frozenset({"gap", "slack", "trailing bytes", "behind the disk"})
"""Regions that belong to nothing."""


@dataclass(frozen=True, slots=True)
class Region:
    """Bytes of the file with one purpose."""

    offset: int
    length: int
    name: str
    note: str = ""
    taken: int = 0
    """Of a region of blocks, the bytes that belong to blocks."""

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length

    @property
    def kind(self) -> str:
        """`data`, `waste`, `unknown` or `metadata`."""
        if self.name in {"data", "blocks"}:
            return "data"
        if self.name in WASTE:
            return "waste"
        return "unknown" if self.name == "not examined" else "metadata"


def regions(image: Image) -> list[Region]:
    """List the regions by offset. They cover the file; where an image contradicts itself they overlap or leave it."""
    found = sorted(_structures(image), key=lambda region: (region.offset, region.end))
    footer = image.footer_offset
    complete: list[Region] = []
    at = 0
    for region in found:
        if at < min(region.offset, footer):
            complete.append(_between(image, at, min(region.offset, footer)))
        complete.append(region)
        at = max(at, region.end)
    if at < footer:
        complete.append(_between(image, at, footer))
    if image.footer is not None and image.footer is not image.copy:
        end = footer + len(image.footer.raw)
        if end < image.size:
            complete.append(Region(end, image.size - end, "trailing bytes", "behind the footer"))
    return sorted(complete, key=lambda region: region.offset)


def compacted(image: Image) -> int | None:
    """Compute the file's length without what belongs to nothing; None where that is not known."""
    footer = image.footer
    if footer is None or footer is image.copy:
        return None
    parts = regions(image)
    if footer.is_sparse and (image.table is None or image.allocation is None or not image.table.is_sane):
        return None
    if not footer.is_sparse and footer.disk_type != FIXED:
        return None
    at = total = 0
    for part in parts:
        if part.offset < at or part.end > image.size:
            return None
        at = part.end
        total += 0 if part.kind == "waste" else part.taken or part.length
    return total


def _structures(image: Image) -> Iterator[Region]:
    """Yield what has a purpose."""
    size, footer = image.size, image.footer
    for span in image.metadata:
        over = min(span.end - size, span.length)
        note = f"{human(over)} of it behind the end of the file" if over > 0 else ""
        yield Region(
            span.offset, span.length, span.words, "behind the end of the file" if over == span.length else note
        )
    if image.allocation is not None:
        for run in image.allocation.runs:
            gaps = run.end - run.offset - run.taken
            note = count(run.blocks, "block") + (f", {human(gaps)} in gaps" if gaps else "")
            yield Region(run.offset, run.end - run.offset, "blocks", note, run.taken)
    if footer is None or footer is image.copy:
        return
    yield Region(footer.offset, len(footer.raw), "footer")
    if footer.disk_type == FIXED and (data := min(footer.current_size, footer.offset)):
        lost = footer.current_size - data
        yield Region(0, data, "data", f"{human(lost)} of the disk are missing" if lost else "the whole disk")


def _between(image: Image, start: int, end: int) -> Region:
    """Name what lies between structures."""
    footer = image.footer
    if footer is None or (footer.disk_type != FIXED and image.allocation is None):
        return Region(start, end - start, "not examined")
    if footer.disk_type == FIXED:
        return Region(start, end - start, "behind the disk")
    return Region(start, end - start, "slack" if end == image.footer_offset else "gap")
