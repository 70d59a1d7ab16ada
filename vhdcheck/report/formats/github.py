"""For a workflow of GitHub: an annotation a line, the worst first, since only the first ten of a step show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.escape import as_unicode, printable
from vhdcheck.report.results import census
from vhdcheck.report.words import lines, relative, repair_lines
from vhdcheck.verdict.finding import Severity
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
_COMMANDS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write an annotation for each image that could not be checked and for each finding, and a closing notice."""
    ranked: list[tuple[int, str]] = []
    for report in checked:
        if isinstance(report, Failure):
            ranked.append((-9, _command("error", "not checked", printable(report.reason), report.source)))
            continue
        mending = repair_lines(report)  # with the finding that heads the report: only ten annotations show
        for finding in report.findings:
            title = f"{finding.rule} {finding.slug}"
            text = "\n".join([*lines(finding), *mending])
            mending = []
            ranked.append((-finding.severity, _command(_COMMANDS[finding.severity], title, text, report.source)))
    ranked.sort(key=lambda pair: pair[0])
    yield from (f"{command}\n" for _, command in ranked)
    yield _command("notice", "vhdcheck", census(context.results)) + "\n"


def _command(name: str, title: str, text: str, source: str = "") -> str:
    where = f"file={printable(relative(source)).translate(_PROPERTY)}," if source else ""
    return as_unicode(f"::{name} {where}title={title.translate(_PROPERTY)}::{text.translate(_DATA)}")
