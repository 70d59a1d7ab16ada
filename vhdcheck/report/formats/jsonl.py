"""For programs that read while images are checked: a line of JSON for each image, at once.

A line is what `reports` holds in the schema of `json`. `--resume` reads these lines.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from vhdcheck.report.formats.json import one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

WHOLE: Final = False
SUMMARY: Final = False


def part(result: Report | Failure, context: Context) -> str:
    """Write a line, in ASCII."""
    return json.dumps(one(result, with_map=context.with_map)) + "\n"


def write(parts: Iterator[str], context: Context) -> Iterator[str]:  # noqa: ARG001 (the lines are all)
    """Write the lines."""
    yield from parts
