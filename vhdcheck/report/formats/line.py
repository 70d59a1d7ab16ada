"""For grep: one line an image, with its verdict, its code, and what it is refused for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.escape import printable
from vhdcheck.verdict.finding import Severity
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Report

WHOLE: Final = False
SUMMARY: Final = False


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:  # noqa: ARG001 (says the same always)
    """Write a line for each image: `a.vhd: refused: 413: VHD701 virtual-size-over-limit`."""
    for result in checked:
        yield f"{printable(result.source)}: {words(result)}\n"


def words(result: Report | Failure) -> str:
    """Say a verdict with what led to it: of a refused image its ERRORs, of an accepted one its WARNINGs."""
    if isinstance(result, Failure):
        return f"not checked: {printable(result.reason)}"
    told = Severity.WARNING if result.ok else Severity.ERROR
    found = ", ".join(f"{each.rule} {each.slug}" for each in result.findings if each.severity == told)
    if not result.ok:
        return f"refused: {int(result.code or 0)}: {found}"
    return f"accepted: with warnings: {found}" if found else "accepted"
