"""What ends the report on a refused image. An accepted one does not even load what would plan it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck.command.options import Options
    from vhdcheck.verdict.report import Report


def finish(options: Options) -> Callable[[Report], Report] | None:
    """Return what adds the repair to a report, here or in a worker; None where the form has no room for it."""
    if options.format == "line":
        return None
    program: tuple[str, ...] = ()
    if options.jobs > 1 or options.executor is not None:  # a worker was started by another command
        from vhdcheck.mend.wish import running

        program = running()
    return partial(_finished, target=options.target_name, program=program, is_file=not options.is_stdin)


def _finished(report: Report, *, target: str, program: tuple[str, ...], is_file: bool) -> Report:
    if report.ok:
        return report
    from vhdcheck.mend.repair import unsaved, with_repair

    return (with_repair if is_file else unsaved)(report, target=target, program=program)
