"""A report in one of its forms, without a run of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck import report
from vhdcheck.report.context import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck import Failure, Report, Target


def written(form: str, found: Sequence[Report | Failure], target: Target) -> str:
    """Write what was found, as a run that found it would."""
    context = Context(target)
    for each in found:
        context.results.add(each)
    return report.written(report.load(form), found, context)
