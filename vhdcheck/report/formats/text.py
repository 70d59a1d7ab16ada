"""For people: verdict first, then each finding with its place and values, what the image is, and what makes it pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.escape import printable
from vhdcheck.report.describe import paragraph
from vhdcheck.report.results import summary
from vhdcheck.report.words import repair, wrapped
from vhdcheck.units import count
from vhdcheck.verdict.finding import Severity
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.image import Image
    from vhdcheck.report.context import Context
    from vhdcheck.report.map import Signs
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report

WHOLE: Final = False
SUMMARY: Final = True
_STYLES: Final = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "refused": "1;31",
    "accepted": "1;32",
    "not checked": "1;35",
    "label": "2",
    "map": "36",
    "command": "1",
}


def part(result: Report | Failure, context: Context) -> str:
    """Write an image."""
    drawn = None
    if context.with_map:
        from vhdcheck.report.map import signs  # only where asked for

        drawn = signs(context.encoding)
    report = TextReport(colour=context.colour, columns=context.columns, brief=context.brief, drawn=drawn)
    return "".join(f"{line}\n" for line in report.image(result))


def write(parts: Iterator[str], context: Context) -> Iterator[str]:
    """Write each image when it comes, and the summary."""
    yield from parts
    yield "".join(f"{line}\n" for line in summary(context.results))


class TextReport:
    """Writes reports as text; what an image says of itself is escaped."""

    def __init__(self, *, colour: bool, columns: int = 100, brief: bool = False, drawn: Signs | None = None) -> None:
        """Choose the form.

        Args:
            colour: whether to use ANSI colours.
            columns: of the place that it is written to. Prose is wrapped there, at 110 at the most, commands never.
            brief: leave out the description of accepted images, as is fitting for many.
            drawn: signs to draw the map of each image with; none is drawn without them.
        """
        self._colour = colour
        self._columns, self._width = columns, min(columns, 110)
        self._brief = brief
        self._drawn = drawn

    def image(self, result: Report | Failure) -> Iterator[str]:
        """Write one image's report, as lines."""
        source = printable(result.source)
        if isinstance(result, Failure):
            yield f"{source}: {self._paint('not checked', 'not checked')}: {printable(result.reason)}"
            return
        verdict = "accepted" if result.ok else "refused"
        errors = sum(finding.severity == Severity.ERROR for finding in result.ignored)
        ignored = f" ({count(errors, 'error')} ignored)" if errors else ""
        yield f"{source}: {self._paint(verdict, verdict)}{ignored}" + (f": {result.message}" if result.message else "")
        for finding in result.findings:
            yield ""
            yield from self._finding(finding)
        if result.image.unexamined:
            yield ""
            yield from wrapped("Not examined: " + "; ".join(result.image.unexamined) + ".", self._width, "  ")
        text = printable(paragraph(result.image, result.chain))
        if text and not (self._brief and result.ok):
            yield ""
            yield from wrapped(text, self._width, "  ")
        if self._drawn is not None:
            yield ""
            yield from self._map(result.image, self._drawn)
        if result.repair is not None:
            yield ""
            yield from self._repair(result)
        if result.findings or self._drawn is not None or not (self._brief and result.ok):
            yield ""

    def _map(self, image: Image, drawn: Signs) -> Iterator[str]:
        from vhdcheck.report.map import map_lines  # only where asked for

        columns = max(10, self._columns - 4)
        yield from (f"  {line}".rstrip() for line in map_lines(image, columns, drawn, self._paint))

    def _finding(self, finding: Finding) -> Iterator[str]:
        word = finding.severity.word
        if not finding.fix:  # nothing need be done
            slug = f"  {self._paint(word, f'{word}[{finding.rule}]')} {finding.slug}: "
            yield from wrapped(slug + printable(finding.message), self._width + 4, "    ", "")
            return
        raised = f" (an error for {printable(finding.raised_by)})" if finding.raised_by else ""
        yield f"  {self._paint(word, f'{word}[{finding.rule}]')} {finding.slug}{raised}"
        yield from wrapped(printable(finding.message), self._width, "    ")
        if finding.at is not None:
            length = f", {count(finding.at.length, 'byte')}" if finding.at.length else ""
            yield self._labelled("at", f"0x{finding.at.offset:x} {printable(finding.at.field)}{length}")
        if finding.expected:
            yield self._labelled("expected", printable(finding.expected))
        if finding.found:
            yield self._labelled("found", printable(finding.found))
        label = f"    {self._paint('label', 'fix      ')} "
        yield from wrapped(printable(finding.fix.rstrip(".")), self._width, " " * 14, label)

    def _repair(self, report: Report) -> Iterator[str]:
        """Write what makes it pass: the commands whole, to be pasted."""
        for kind, text in repair(report):
            if kind == "prose":
                yield from wrapped(text, self._width, "  ")
            elif kind == "entry":
                yield from wrapped(text, self._width, "      ", "    - ")
            else:
                yield f"    {self._paint('command', text)}"

    def _labelled(self, label: str, text: str) -> str:
        return f"    {self._paint('label', f'{label:<9}')} {text}"

    def _paint(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colour else text
