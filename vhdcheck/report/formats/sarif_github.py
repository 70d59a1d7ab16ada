"""For GitHub's code scanning: SARIF with each result at line 1, of a path relative to where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.report.formats.sarif import File, Part, entries, write

if TYPE_CHECKING:
    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

__all__ = ["SUMMARY", "WHOLE", "part", "write"]

WHOLE: Final = True
SUMMARY: Final = True


def part(result: Report | Failure, context: Context) -> Part:
    """Write an image's results, or the notification that it could not be checked; with bytes as addresses."""
    return entries(result, File.of(result, context, github=True))
