"""For GitHub's code scanning: SARIF with each result at line 1, of a path relative to where it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.report.formats.sarif import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

WHOLE: Final = True
SUMMARY: Final = True


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write a log, in ASCII, with places in bytes as addresses."""
    yield log(list(checked), context, github=True) + "\n"
