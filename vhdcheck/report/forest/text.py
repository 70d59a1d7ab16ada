"""For people: the forest as trees, an image a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.escape import printable
from vhdcheck.report.forest.words import census, dependents, facts, grown, part, troubles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.engine.forest import Row
    from vhdcheck.report.context import Context
    from vhdcheck.report.forest.words import Part

__all__ = ["SUMMARY", "WHOLE", "part", "write"]

WHOLE: Final = True
SUMMARY: Final = True
DRAWN: Final = 40
"""Levels that are indented; of deeper ones the number is written."""
UNICODE: Final = ("├─ ", "└─ ", "│  ")
ASCII: Final = ("|- ", "`- ", "|  ")


def write(parts: Iterator[Part], context: Context) -> Iterator[str]:
    """Write the trees, what could not be checked, and the census."""
    forest, rows, counts = grown(parts)
    context.results.broken_chains = counts.broken
    lines = ASCII if not _can_encode("├└│", context.encoding) else UNICODE
    lasts: list[bool] = []
    for row in rows:
        del lasts[row.depth :]
        lasts.append(row.last)
        yield f"{_branch(row, lasts, lines)}{_line(row)}\n"
    for failure in forest.failures:
        yield f"{printable(f'{failure.source}: not checked: {failure.reason}')}\n"
    for line in census(counts):
        yield f"{line}\n"


def _can_encode(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _branch(row: Row, lasts: list[bool], lines: tuple[str, str, str]) -> str:
    if not row.depth:
        return ""
    fork, corner, stem = lines
    drawn = "".join("   " if last else stem for last in lasts[1 : min(row.depth, DRAWN)])
    level = f"[{row.depth}] " if row.depth > DRAWN else ""
    return f"{drawn}{corner if row.last else fork}{level}"


def _line(row: Row) -> str:
    notes = [*([words] if (words := dependents(row)) else []), *troubles(row)]
    return printable("; ".join([f"{row.node.source}  {facts(row)}", *notes]))
