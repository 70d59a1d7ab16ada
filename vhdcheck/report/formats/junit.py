"""For Jenkins, GitLab and Azure DevOps: JUnit's XML, a suite for each image, a case for each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vhdcheck.escape import printable
from vhdcheck.report.results import census
from vhdcheck.report.words import lines, repair_lines, severity_words
from vhdcheck.units import count
from vhdcheck.verdict.finding import counted
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.report.results import Results
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
_TALLIES: Final = {
    "tests": "testcase",
    "failures": "testcase/failure",
    "errors": "testcase/error",
    "skipped": "testcase/skipped",
}
"""Attributes of a suite, and which elements each counts."""


def part(result: Report | Failure, context: Context) -> tuple[str, tuple[int, ...]]:
    """Write an image's suite; with its tallies.

    What fails the run is a failure, what could not be checked an error; other findings are cases that pass. An image
    without findings is one case that passes. What was ignored or skipped is a case that was skipped.
    """
    # No control character survives `printable`: XML has no way to write most of them.
    suite = Element("testsuite", name=printable(result.source))
    if isinstance(result, Failure):
        SubElement(_case(suite, "checked"), "error", type="not checked", message=printable(result.reason))
    else:
        _image(suite, result, context.results)
    return _written(suite)


def write(parts: Iterator[tuple[str, tuple[int, ...]]], context: Context) -> Iterator[str]:
    """Write the suites, and around them how many cases they have in all."""
    results = context.results
    suites = list(parts)
    if results.skipped_texts:
        suite = Element("testsuite", name="skipped")
        words = count(results.skipped_texts, "text file")
        SubElement(_case(suite, words), "skipped", message=f"{words}, VHDL source?")
        suites.append(_written(suite))
    summary = Element("testsuite", name="summary")
    properties = SubElement(summary, "properties")
    SubElement(properties, "property", name="summary", value=census(results))
    SubElement(properties, "property", name="target", value=printable(context.target.name))
    suites.append(_written(summary))
    tallies = map(sum, zip(*(numbers for _, numbers in suites), strict=True))
    attributes = "".join(f' {name}="{number}"' for name, number in zip(_TALLIES, tallies, strict=True))
    yield f"<?xml version='1.0' encoding='us-ascii'?>\n<testsuites name=\"vhdcheck\"{attributes}>\n"
    for text, _ in suites:
        yield text
    yield "</testsuites>\n"


def _image(suite: Element, report: Report, results: Results) -> None:
    for finding in report.findings:
        place = f" ({finding.at.field})" if finding.at else ""
        case = _case(suite, f"{finding.rule} {finding.slug}{place}")
        fails = finding.severity >= results.fail_on
        text = "\n".join(lines(finding))
        if fails:
            message = printable(f"{finding.severity.word}: {finding.message}")
            SubElement(case, "failure", type=finding.rule, message=message).text = text
        else:
            SubElement(case, "system-out").text = f"{finding.severity.word}: {text}"
    if not report.findings:
        _case(suite, "accepted")
    if report.ignored:
        SubElement(_case(suite, "ignored"), "skipped", message=severity_words(counted(report.ignored)))
    if report.repair is not None:
        SubElement(suite, "system-out").text = "\n".join(repair_lines(report))


def _case(suite: Element, name: str) -> Element:
    return SubElement(suite, "testcase", classname=suite.get("name", ""), name=printable(name))


def _written(suite: Element) -> tuple[str, tuple[int, ...]]:
    """Write a suite as an entry of the document, with its tallies as attributes; return them too."""
    tallies = tuple(len(suite.findall(path)) for path in _TALLIES.values())
    for name, number in zip(_TALLIES, tallies, strict=True):
        suite.set(name, str(number))
    indent(suite, level=1)
    text: bytes = tostring(suite, encoding="us-ascii")
    return f"  {text.decode('ascii')}\n", tallies
