"""For programs that collect the results of checkers: SARIF 2.1.0.

Strictly, a place in an image is a region of bytes. GitHub shows no result without a line, and a region that states
lines and bytes must mean the same by both; so for GitHub the region is line 1, and the bytes are an address.
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.escape import as_unicode, printable
from vhdcheck.report.results import census
from vhdcheck.report.words import lines, relative, repair_lines, uri
from vhdcheck.rules import RULES
from vhdcheck.verdict.report import Failure
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vhdcheck.format.span import Span
    from vhdcheck.report.context import Context
    from vhdcheck.rules.registry import Rule
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_INDEX: Final = {number: index for index, number in enumerate(RULES)}


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write a log, in ASCII, with places in bytes."""
    yield log(list(checked), context, github=False) + "\n"


def log(reports: Sequence[Report | Failure], context: Context, *, github: bool) -> str:
    """Write a log; for `github` each result at line 1, of a path relative to where it runs."""
    results = context.results
    failures = [report for report in reports if isinstance(report, Failure)]
    notifications = [
        {
            "level": "error",
            "message": {"text": printable(each.reason)},
            "locations": [_location(each.source, github=github)],
        }
        for each in failures
    ]
    if any(results.ignored.values()) or results.skipped_texts:
        notifications.append({"level": "note", "message": {"text": census(results)}})
    run = {
        "tool": {
            "driver": {
                "name": "vhdcheck",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(each) for each in RULES.values()],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not (results.failed or results.crashed),
                "exitCode": results.exit_status,
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": [
            result
            for report in reports
            if not isinstance(report, Failure)
            for result in _results(report, github=github)
        ],
        "properties": {
            "summary": census(results),
            "ignored": results.ignored,
            "target": as_unicode(context.target.name),
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _rule(each: Rule) -> dict[str, Any]:
    return {
        "id": each.id,
        "name": each.slug,
        "shortDescription": {"text": each.title},
        "fullDescription": {"text": each.checks},
        "help": {
            "text": f"{each.title} {each.matters} {each.fix}",
            "markdown": f"{each.title}\n\n**Checks:** {each.checks}\n\n**Matters:** {each.matters}\n\n"
            f"**Fix:** {each.fix}\n\n**Source:** {each.spec}\n",
        },
        "defaultConfiguration": {"level": each.severity.word},
        "properties": {"code": int(each.code)},
    }


def _results(report: Report, *, github: bool) -> list[dict[str, Any]]:
    seen: Counter[str] = Counter()
    results = [_result(finding, report.source, seen, github=github) for finding in report.findings]
    if report.repair is not None:  # by the finding that heads the report: it is one for the image as a whole
        results[0]["message"]["text"] += as_unicode("\n\n" + "\n".join(repair_lines(report)))
        results[0]["properties"]["repair"] = report.repair.to_dict()
    return results


def _result(finding: Finding, source: str, seen: Counter[str], *, github: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": finding.severity.word,
        "message": {"text": as_unicode("\n".join(lines(finding)))},
        "locations": [_location(source, finding.at, github=github)],
        "partialFingerprints": {
            "primaryLocationLineHash" if github else "rulePlaceAndPath/v1": _fingerprint(finding, source, seen)
        },
        "properties": {"code": int(finding.code)},
    }
    if finding.related:
        result["relatedLocations"] = [
            {"id": number, **_location(source, span, github=github)} for number, span in enumerate(finding.related)
        ]
    return result


def _fingerprint(finding: Finding, source: str, seen: Counter[str]) -> str:
    """Identify a defect from run to run: by rule, field and path, whatever moved in the image."""
    parts = finding.rule, finding.at.field if finding.at else "", relative(source)
    digest = sha256("\0".join(map(as_unicode, parts)).encode()).hexdigest()[:16]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


def _location(source: str, span: Span | None = None, *, github: bool) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri(relative(source) if github else source)}}
    location: dict[str, Any] = {"physicalLocation": physical}
    if github:
        physical["region"] = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    if span is None:
        return location
    if github:
        name = {"fullyQualifiedName": span.field} if span.field else {}
        physical["address"] = {"absoluteAddress": span.offset, "length": span.length, **name}
    else:
        physical["region"] = {"byteOffset": span.offset, "byteLength": span.length}
    if span.field:
        location["logicalLocations"] = [{"fullyQualifiedName": span.field, "kind": "member"}]
    return location
