"""The map of an image for a terminal: a strip of its blocks, its regions, how scattered it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.chain import has_parent
from vhdcheck.escape import printable
from vhdcheck.report.regions import compacted, regions
from vhdcheck.units import count, grouped, human

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vhdcheck.blocks.strips import Allocation, Strip
    from vhdcheck.image import Image

    Paint = Callable[[str, str], str]

LEVELS: Final = 3
"""Shades between nothing and all of a cell in use."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a strip is drawn with: none, a little, half, most and all of a cell in use; a fault."""

    levels: str
    fault: str = "!"


UNICODE: Final = Signs("·░▒▓█")
ASCII: Final = Signs(".:+%#")


def signs(encoding: str | None) -> Signs:
    """Choose signs that an encoding has."""
    try:
        UNICODE.levels.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def level(used: int, length: int) -> int:
    """Say how full a cell is: 0 nothing, 4 all of it, between them thirds."""
    if not used:
        return 0
    return LEVELS + 1 if used >= length else 1 + min(used * LEVELS // length, LEVELS - 1)


def map_lines(image: Image, width: int, drawn: Signs, paint: Paint) -> Iterator[str]:
    """Draw an image as lines.

    Args:
        image: checked with `allocation`.
        width: columns to fill at the most.
        drawn: the signs to draw with.
        paint: colours a text in a style. The text says the same without it.
    """
    if (allocation := image.allocation) is not None:
        yield from _strip_lines(image, allocation, width, drawn, paint)
        yield ""
    yield from _region_lines(image, width, paint)
    yield ""
    yield from _joined(summary(image), "; ", width)


def _region_lines(image: Image, width: int, paint: Paint) -> Iterator[str]:
    rows = [(f"0x{r.offset:x}", size_words(r.length), printable(r.name), r.note) for r in regions(image)]
    rows.insert(0, ("offset", "size", "region", ""))
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    for row in rows:
        line = f"{row[0]:<{first}}  {row[1]:>{second}}  {row[2]:<{third}}"
        fits = len(line) + 2 + len(row[3]) <= width
        yield paint("label", line) if row is rows[0] else f"{line}  {row[3]}" if fits else line
        if not fits and row[3]:
            yield f"{row[3]:>{width}}"


def _joined(parts: Iterable[str], mark: str, width: int) -> Iterator[str]:
    """Join parts into lines, as many on each as fit."""
    line = ""
    for part in parts:
        if line and len(line) + len(mark) + len(part) > width:
            yield line + mark.rstrip()
            line = part
        else:
            line += (mark if line else "") + part
    yield line


def share_of(strip: Strip, noun: str) -> str:
    """Say how much of its axis a cell stands for: `4 blocks`, `up to 5 blocks`."""
    sizes = {end - start for start, end in map(strip.limits, range(len(strip.used)))}
    return ("" if len(sizes) == 1 else "up to ") + count(max(sizes), noun)


def size_words(size: int) -> str:
    """Write a size for a column."""
    return human(size).replace(" bytes", " B").replace(" byte", " B")


def _strip_lines(image: Image, allocation: Allocation, width: int, drawn: Signs, paint: Paint) -> Iterator[str]:
    strip = allocation.by_disk.merged(width)
    cells = len(strip.used)
    if not cells:
        yield "The disk has no blocks."
        return
    total, block = strip.length, image.header.block_size if image.header else 0
    end = human(total * block)
    each = f"a sign is {share_of(strip, 'block')}"
    yield from _joined([f"{count(total, 'block')} of {human(block)} by disk address", each], "; ", width)
    signs = (_sign(strip, cell, drawn) for cell in range(cells))
    yield "".join(paint(style, "".join(sign for _, sign in run)) for style, run in groupby(signs, itemgetter(0)))
    yield f"0{end:>{cells - 1}}" if cells > len(end) + 1 else f"0 to {end}"
    none, some, full = drawn.levels[0], drawn.levels[1:-1], drawn.levels[-1]
    legend = [
        f"{none} not in use: {grouped(total - min(allocation.used, total))}",
        f"{some} in part, {full} all in use: {grouped(allocation.used)}",
        f"{drawn.fault} fault: {grouped(sum(strip.faulty))}",
    ]
    yield from _joined(legend, "   ", width)


def _sign(strip: Strip, cell: int, drawn: Signs) -> tuple[str, str]:
    """Choose a cell's style and sign."""
    if strip.faulty[cell]:
        return "error", drawn.fault
    start, end = strip.limits(cell)
    found = level(strip.used[cell], end - start)
    return "map" if found else "label", drawn.levels[found]


def summary(image: Image) -> list[str]:
    """Say how scattered an image is, and how small it could be, in a few phrases."""
    parts = []
    if (allocation := image.allocation) is not None and allocation.used:
        parts += [count(allocation.extents, "extent"), f"{share_words(allocation.in_order)} of the blocks in order"]
    if allocation is not None and allocation.outside:
        parts.append(f"{count(allocation.outside, 'block')} behind the end of the file")
    parts.append(f"after compaction: {compaction_words(image) or 'size not known'}")
    return parts


def compaction_words(image: Image) -> str | None:
    """Say what compaction would leave: `492 MiB, 1.7 MiB less`; None where that is not known."""
    smaller = compacted(image)
    if smaller is None:
        return None
    saved = image.size - smaller
    return human(smaller) + (f", {human(saved)} less" if saved > 0 else ", as it is")


def share_words(share: float) -> str:
    """Write a share as a percentage that says 0 or 100 only of none and all."""
    percent = f"{100 * share:.1f}"
    if share not in (0.0, 1.0) and percent in ("0.0", "100.0"):
        return "less than 0.1 %" if percent == "0.0" else "more than 99.9 %"
    return f"{percent.removesuffix('.0')} %"


def map_facts(image: Image) -> dict[str, Any]:
    """Describe a map to a program. Offsets, lengths and sizes are bytes; strips as in `vhdcheck.blocks.allocation`."""
    allocation = image.allocation
    return {
        "regions": [
            {"offset": r.offset, "length": r.length, "name": r.name, "kind": r.kind, "taken": r.taken or r.length}
            for r in regions(image)
        ],
        "compacted_size": compacted(image),
        "changed": _changed(image),
        "blocks": None
        if allocation is None
        else {
            "used": allocation.used,
            "faulty": allocation.faulty,
            "outside": allocation.outside,
            "extents": allocation.extents,
            "in_order": allocation.in_order,
            "by_disk": _strip_facts(allocation.by_disk),
            "by_file": _strip_facts(allocation.by_file),
        },
    }


def _changed(image: Image) -> list[dict[str, int]] | None:
    """List the ranges of a differencing disk whose blocks it has itself; all else is as in its parent."""
    footer, header, allocation = image.footer, image.header, image.allocation
    if footer is None or header is None or allocation is None or not has_parent(image):
        return None
    block, size = header.block_size, footer.current_size
    ranges = ((first * block, min(behind * block, size)) for first, behind in allocation.changed)
    return [{"offset": start, "length": end - start} for start, end in ranges]


def _strip_facts(strip: Strip) -> dict[str, Any]:
    return {"length": strip.length, "used": list(strip.used), "faulty": list(strip.faulty)}
