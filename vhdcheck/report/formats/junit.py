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
_TALLIES: Final = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write what fails the run as failures, what could not be checked as errors, other findings as cases that pass.

    An image without findings is one case that passes. What was ignored or skipped is a case that was skipped.
    """
    root, results = Element("testsuites", name="vhdcheck"), context.results
    for report in checked:  # no control character survives `printable`: XML has no way to write most of them
        suite = SubElement(root, "testsuite", name=printable(report.source))
        if isinstance(report, Failure):
            SubElement(_case(suite, "checked"), "error", type="not checked", message=printable(report.reason))
        else:
            _image(suite, report, results)
    if results.skipped_texts:
        suite = SubElement(root, "testsuite", name="skipped")
        words = count(results.skipped_texts, "text file")
        SubElement(_case(suite, words), "skipped", message=f"{words}, VHDL source?")
    summary = SubElement(root, "testsuite", name="summary")
    properties = SubElement(summary, "properties")
    SubElement(properties, "property", name="summary", value=census(results))
    SubElement(properties, "property", name="target", value=printable(context.target.name))
    for each in (*root, root):
        _count(each)
    indent(root)
    text: bytes = tostring(root, encoding="us-ascii", xml_declaration=True)
    yield text.decode("ascii") + "\n"


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


def _count(element: Element) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    for attribute, tag in _TALLIES.items():
        element.set(attribute, str(len(element.findall(f".//testcase/{tag}"))))
