"""For grep: one line an image, with its verdict, its code, and what it is refused for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

WHOLE: Final = False
SUMMARY: Final = False


def part(result: Report | Failure, context: Context) -> str:  # noqa: ARG001 (says the same always)
    """Write a line: `a.vhd: refused: 413: VHD701 virtual-size-over-limit`."""
    return f"{result}\n"


def write(parts: Iterator[str], context: Context) -> Iterator[str]:  # noqa: ARG001 (as above)
    """Write the lines."""
    yield from parts
