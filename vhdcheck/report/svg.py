"""The maps of a page as SVG: a grid of cells, read like text, each with a hover text and links to its findings."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from vhdcheck.blocks.allocation import CELLS
from vhdcheck.blocks.strips import Strip
from vhdcheck.escape import printable
from vhdcheck.report.map import level
from vhdcheck.units import SECTOR, count, grouped, human
from vhdcheck.verdict.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vhdcheck.format.span import Span
    from vhdcheck.report.regions import Region
    from vhdcheck.verdict.finding import Finding

COLUMNS: Final = 32
UNIT: Final = 10
"""A cell's side in the drawing's units; the page stretches them to its width. Fewer cells than columns are wider."""
HEIGHT: Final = 16
"""A cell's height on the page, in pixels."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How a cell looks, and what it says."""

    look: str
    text: str
    has_metadata: bool = False


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
        look = "x" if faulty else f"c{level(used, end - start)}"
        yield Cell(look, text + (f", {grouped(faulty)} faulty" if faulty else ""))


def file_strip(size: int) -> Strip:
    """Divide a file that has no blocks, or whose blocks are not known."""
    cells = min(-(-size // SECTOR), CELLS)
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
        look = "x" if faulty else _look(here, used, start, end)
        names = ", ".join(dict.fromkeys(printable(part.name) for part in here))
        text = f"0x{start:x} to 0x{end - 1:x} ({human(end - start)}): {names}"
        has_metadata = any(part.kind == "metadata" for part in here)
        yield Cell(look, text + (f", {human(faulty)} faulty" if faulty else ""), has_metadata)


def _look(here: Sequence[Region], used: int, start: int, end: int) -> str:
    """Choose a cell's look by what is there: `used` bytes of blocks, and regions."""
    other = [part for part in here if part.name != "blocks" and part.kind in {"data", "metadata"}]
    taken = used + sum(min(part.end, end) - max(part.offset, start) for part in other)
    if not taken:
        return "u" if any(part.kind == "unknown" for part in here) else "w"
    if not used and all(part.kind == "metadata" for part in other):
        return "m"
    return f"c{level(taken, end - start)}"


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
    size = COLUMNS * UNIT / columns
    yield (
        f'<svg class="map" role="group" aria-label="{escape(label)}" viewBox="0 0 {COLUMNS * UNIT} {rows * UNIT}"'
        f' width="100%" height="{rows * (HEIGHT if rows > 1 else 2 * HEIGHT)}" preserveAspectRatio="none">'
    )
    linked = []  # drawn over the others and their lines, so that nothing covers the ring of one that is shown
    faults = {cell for cell, each in enumerate(cells) if each.look == "x"}
    for cell, length in _runs(cells, marks, columns):
        here = [(index, findings[index]) for index in marks.get(cell, ())]
        look = cells[cell].look
        if any(finding.severity == Severity.ERROR for _, finding in here):
            look = "x"
            faults.add(cell)
        text = "\n".join([_text(cells, cell, length), *(f"{finding.rule} {finding.slug}" for _, finding in here)])
        row, column = divmod(cell, columns)
        box = f'class="{look}" x="{column * size:g}" y="{row * UNIT}" width="{length * size:g}" height="{UNIT}"'
        rect = f"{box}><title>{escape(text)}</title></rect>"
        if here:
            finding = f"{prefix.partition('-')[0]}-f{here[0][0]}"
            linked.append(f'<a href="#{finding}"><rect id="{prefix}{cell}" {rect}</a>')
        else:
            yield f"<rect {rect}"
    yield _path(
        "grid",
        [
            *(f"M{column * size:g} 0v{rows * UNIT}" for column in range(1, columns)),
            *(f"M0 {row * UNIT}h{COLUMNS * UNIT}" for row in range(1, rows)),
        ],
    )
    yield from linked
    dotted = (cell for cell, each in enumerate(cells) if each.has_metadata and cell not in faults)
    yield _path("dot", (f"M{x - 2:g} {y - 2}h4v4h-4z" for x, y in _middles(dotted, columns)))
    yield _path("cross", (f"M{x - 2.5:g} {y - 2.5}l5 5m0-5l-5 5" for x, y in _middles(sorted(faults), columns)))
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


def _text(cells: Sequence[Cell], cell: int, length: int) -> str:
    text = cells[cell].text
    return text if length == 1 else f"{text}\n... {count(length, 'cell')}, the last:\n{cells[cell + length - 1].text}"


def _middles(cells: Iterable[int], columns: int) -> Iterator[tuple[float, int]]:
    for cell in cells:
        row, column = divmod(cell, columns)
        yield (column + 0.5) * COLUMNS * UNIT / columns, row * UNIT + UNIT // 2


def _path(look: str, parts: Iterable[str]) -> str:
    drawn = "".join(parts)
    return f'<path class="{look}" vector-effect="non-scaling-stroke" d="{drawn}"/>' if drawn else ""
