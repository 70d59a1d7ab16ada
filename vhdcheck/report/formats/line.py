"""For grep: one line an image, with its verdict, its code, and what it is refused for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

WHOLE: Final = False
SUMMARY: Final = False


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:  # noqa: ARG001 (says the same always)
    """Write a line for each image: `a.vhd: refused: 413: VHD701 virtual-size-over-limit`."""
    yield from (f"{result}\n" for result in checked)
