"""The maps of a page as SVG: a grid of cells, read like text, each with a hover text and links to its findings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from vhdcheck.allocation import CELLS, Strip
from vhdcheck.findings import Severity
from vhdcheck.report.map import level
from vhdcheck.report.results import printable
from vhdcheck.units import count, grouped, human

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vhdcheck.findings import Finding
    from vhdcheck.model import Span
    from vhdcheck.report.regions import Region

COLUMNS: Final = 32
UNIT: Final = 10
"""A cell's side in the drawing's units; the page stretches them to its width."""
HEIGHT: Final = 16
"""A cell's height on the page, in pixels."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How a cell looks, and what it says."""

    look: str
    text: str
    has_metadata: bool = False


def place(field: str) -> int | None:
    """Read the block's number out of `table[3]` or `bitmap[3]`."""
    name, _, rest = field.partition("[")
    return int(rest[:-1]) if name in {"table", "bitmap"} and rest[:-1].isdecimal() else None


def spots(findings: Sequence[Finding], strip: Strip, position: Callable[[Span], int | None]) -> dict[int, list[int]]:
    """Say which findings are in which cell, by their place and those related to it."""
    found: dict[int, list[int]] = {}
    for index, finding in enumerate(findings):
        for span in () if finding.at is None else (finding.at, *finding.related):
            at = position(span)
            cell = None if at is None else strip.cell(at)
            if cell is not None and index not in found.setdefault(cell, []):
                found[cell].append(index)
    return found


def disk_cells(strip: Strip, block: int) -> Iterator[Cell]:
    """Describe the cells of a map by disk address.

    Args:
        strip: blocks.
        block: bytes of one.
    """
    for cell, (used, faulty) in enumerate(zip(strip.used, strip.faulty, strict=True)):
        start, end = strip.limits(cell)
        blocks = f"block {grouped(start)}" if end - start == 1 else f"blocks {grouped(start)} to {grouped(end - 1)}"
        use = "in use" if used else "not in use"
        text = f"{blocks}, from {human(start * block)}: " + (
            use if end - start == 1 else f"{grouped(used)} of {grouped(end - start)} in use"
        )
        yield Cell("x" if faulty else f"c{level(used, end - start)}", text + (f", {grouped(faulty)} faulty" if faulty else ""))


def file_strip(size: int) -> Strip:
    """Divide a file that has no blocks, or whose blocks are not known."""
    cells = min(size, CELLS)
    return Strip(size, (0,) * cells, (0,) * cells)


def file_cells(strip: Strip, parts: Sequence[Region]) -> Iterator[Cell]:
    """Describe the cells of a map by file offset.

    Args:
        strip: bytes that blocks take.
        parts: the regions of the file, by offset.
    """
    for cell, (used, faulty) in enumerate(zip(strip.used, strip.faulty, strict=True)):
        start, end = strip.limits(cell)
        here = [part for part in parts if part.offset < end and part.end > start]
        other = [part for part in here if part.name != "blocks" and part.kind in {"data", "metadata"}]
        taken = used + sum(min(part.end, end) - max(part.offset, start) for part in other)
        has_metadata = any(part.kind == "metadata" for part in other)
        if faulty:
            look = "x"
        elif not taken:
            look = "u" if any(part.kind == "unknown" for part in here) else "w"
        else:
            look = "m" if has_metadata and not used and all(part.kind == "metadata" for part in other) else f"c{level(taken, end - start)}"
        names = ", ".join(dict.fromkeys(printable(part.name) for part in here))
        text = f"0x{start:x} to 0x{end - 1:x} ({human(end - start)}): {names}"
        yield Cell(look, text + (f", {human(faulty)} faulty" if faulty else ""), has_metadata)


def drawing(
    label: str, prefix: str, cells: Sequence[Cell], marks: Mapping[int, Sequence[int]], findings: Sequence[Finding]
) -> Iterator[str]:
    """Draw cells.

    Args:
        label: what the drawing shows, for who hears it.
        prefix: of the identifiers: `i1-disk-` before a cell's number; a finding's is `i1-f0`.
        cells: in order.
        marks: findings by cell.
        findings: those that `marks` numbers.
    """
    columns = max(1, min(COLUMNS, len(cells)))
    rows = -(-len(cells) // columns)
    width, height = columns * UNIT, rows * UNIT
    yield (
        f'<svg class="map" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}"'
        f' width="100%" height="{rows * (HEIGHT if rows > 1 else 2 * HEIGHT)}" preserveAspectRatio="none">'
    )
    faults = {cell for cell, each in enumerate(cells) if each.look == "x"}
    for cell, length in _runs(cells, marks, columns):
        here = [findings[index] for index in marks.get(cell, ())]
        worst = max((finding.severity for finding in here), default=None)
        look = cells[cell].look
        if worst == Severity.ERROR:
            look = "x"
            faults.add(cell)
        yield from _rect(prefix, cell, length, columns, look, _text(cells, cell, length, here), marks.get(cell, ()))
    yield _path("grid", _grid(columns, rows))
    yield _path("dot", (f"M{x + 3.5} {y + 3.5}h3v3h-3z" for x, y in _corners(cells, columns, lambda each: each.has_metadata)))
    crossed = (divmod(cell, columns) for cell in sorted(faults))
    yield _path("cross", (f"M{column * UNIT + 2.5} {row * UNIT + 2.5}l5 5m0-5l-5 5" for row, column in crossed))
    yield "</svg>"


def _runs(cells: Sequence[Cell], marks: Mapping[int, Sequence[int]], columns: int) -> Iterator[tuple[int, int]]:
    """Join cells that look alike, stand in one row and have no findings: (the first, how many)."""
    start = 0
    for cell in range(1, len(cells) + 1):
        if (
            cell == len(cells)
            or cell % columns == 0
            or cell in marks
            or start in marks
            or cells[cell].look != cells[start].look
            or cells[start].look not in {"c0", "c4", "w", "u"}
            or cells[cell].has_metadata != cells[start].has_metadata
        ):
            yield start, cell - start
            start = cell


def _text(cells: Sequence[Cell], cell: int, length: int, here: Iterable[Finding]) -> str:
    text = cells[cell].text
    if length > 1:
        text += f"\n... {count(length, 'cell')}, the last:\n" + cells[cell + length - 1].text
    return "\n".join([text, *(f"{finding.rule} {finding.slug}" for finding in here)])


def _rect(
    prefix: str, cell: int, length: int, columns: int, look: str, text: str, marks: Sequence[int]
) -> Iterator[str]:
    row, column = divmod(cell, columns)
    mark = f' id="{prefix}{cell}"' if marks else ""
    rect = (
        f'<rect{mark} class="{look}" x="{column * UNIT}" y="{row * UNIT}" width="{length * UNIT}" height="{UNIT}">'
        f"<title>{escape(text)}</title></rect>"
    )
    finding = f"#{prefix.partition('-')[0]}-f{marks[0]}" if marks else ""
    yield f'<a href="{finding}">{rect}</a>' if marks else rect


def _corners(cells: Sequence[Cell], columns: int, is_meant: Callable[[Cell], bool]) -> Iterator[tuple[int, int]]:
    for cell, each in enumerate(cells):
        if is_meant(each):
            row, column = divmod(cell, columns)
            yield column * UNIT, row * UNIT


def _grid(columns: int, rows: int) -> Iterator[str]:
    yield from (f"M{column * UNIT} 0v{rows * UNIT}" for column in range(1, columns))
    yield from (f"M0 {row * UNIT}h{columns * UNIT}" for row in range(1, rows))


def _path(look: str, parts: Iterable[str]) -> str:
    drawn = "".join(parts)
    return f'<path class="{look}" d="{drawn}"/>' if drawn else ""
