"""For a workflow of GitHub: an annotation a line, the worst first, since only the first ten of a step show."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
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


def part(result: Report | Failure, context: Context) -> list[tuple[int, str]]:
    """Write an annotation for an image that could not be checked, or for each finding; each with its rank."""
    name = relative(result.source, context.folder)
    if isinstance(result, Failure):
        return [(-9, _command("error", "not checked", printable(result.reason), name))]
    ranked = []
    mending = repair_lines(result)  # with the finding that heads the report: only ten annotations show
    for finding in result.findings:
        title = f"{finding.rule} {finding.slug}"
        text = "\n".join([*lines(finding), *mending])
        mending = []
        ranked.append((-finding.severity, _command(_COMMANDS[finding.severity], title, text, name)))
    return ranked


def write(parts: Iterator[list[tuple[int, str]]], context: Context) -> Iterator[str]:
    """Write the annotations, and a closing notice."""
    for _, command in sorted(chain.from_iterable(parts), key=itemgetter(0)):
        yield f"{command}\n"
    yield _command("notice", "vhdcheck", census(context.results)) + "\n"


def _command(name: str, title: str, text: str, file: str = "") -> str:
    where = f"file={printable(file).translate(_PROPERTY)}," if file else ""
    return as_unicode(f"::{name} {where}title={title.translate(_PROPERTY)}::{text.translate(_DATA)}")
