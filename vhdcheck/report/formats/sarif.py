"""For programs that collect the results of checkers: SARIF 2.1.0.

Strictly, a place in an image is a region of bytes. GitHub shows no result without a line, and a region that states
lines and bytes must mean the same by both; so for GitHub the region is line 1, and the bytes are an address.
"""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from vhdcheck.escape import as_unicode, printable
from vhdcheck.report.entries import INDENT, entry, filled
from vhdcheck.report.results import census
from vhdcheck.report.words import lines, relative, repair_lines, uri
from vhdcheck.rules import RULES
from vhdcheck.verdict.report import Failure
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.format.span import Span
    from vhdcheck.report.context import Context
    from vhdcheck.rules.registry import Rule
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_NOTIFICATIONS: Final = 6
_RESULTS: Final = 4
"""How deep these lists lie in the document."""
_INDEX: Final = {number: index for index, number in enumerate(RULES)}


def part(result: Report | Failure, context: Context) -> Part:
    """Write an image's results, or the notification that it could not be checked; with places in bytes."""
    return entries(result, File.of(result, context, github=False))


def write(parts: Iterator[Part], context: Context) -> Iterator[str]:
    """Write a log, in ASCII."""
    notifications, results = [], []
    for each in parts:
        notifications += each.notifications
        results += each.results
    counts = context.results
    if any(counts.ignored.values()) or counts.skipped_texts:
        notifications.append(entry({"level": "note", "message": {"text": census(counts)}}, _NOTIFICATIONS))
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
                "executionSuccessful": not (counts.failed or counts.crashed),
                "exitCode": counts.exit_status,
                "toolExecutionNotifications": [],
            }
        ],
        "results": [],
        "properties": {
            "summary": census(counts),
            "ignored": counts.ignored,
            "target": as_unicode(context.target.name),
        },
    }
    document = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=INDENT) + "\n"
    yield from filled(document, toolExecutionNotifications=notifications, results=results)


class Part(NamedTuple):
    """What an image adds to the log, as entries of its lists."""

    notifications: list[str]
    results: list[str]


class File(NamedTuple):
    """How the log names an image."""

    uri: str
    relative: str
    github: bool
    """Whether each result is at line 1, of a path relative to where it runs."""

    @classmethod
    def of(cls, result: Report | Failure, context: Context, *, github: bool) -> Self:
        """Name an image."""
        name = relative(result.source, context.folder)
        return cls(uri(name if github else result.source), name, github)


def entries(result: Report | Failure, file: File) -> Part:
    """Write an image's entries."""
    if isinstance(result, Failure):
        told = {"level": "error", "message": {"text": printable(result.reason)}, "locations": [_location(file)]}
        return Part([entry(told, _NOTIFICATIONS)], [])
    return Part([], [entry(each, _RESULTS) for each in _results(result, file)])


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


def _results(report: Report, file: File) -> list[dict[str, Any]]:
    seen: Counter[str] = Counter()
    results = [_result(finding, file, seen) for finding in report.findings]
    if report.repair is not None:  # by the finding that heads the report: it is one for the image as a whole
        results[0]["message"]["text"] += as_unicode("\n\n" + "\n".join(repair_lines(report)))
        results[0]["properties"]["repair"] = report.repair.to_dict()
    return results


def _result(finding: Finding, file: File, seen: Counter[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": _INDEX[finding.rule],
        "level": finding.severity.word,
        "message": {"text": as_unicode("\n".join(lines(finding)))},
        "locations": [_location(file, finding.at)],
        "partialFingerprints": {
            "primaryLocationLineHash" if file.github else "rulePlaceAndPath/v1": _fingerprint(finding, file, seen)
        },
        "properties": {"code": int(finding.code)},
    }
    if finding.related:
        result["relatedLocations"] = [
            {"id": number, **_location(file, span)} for number, span in enumerate(finding.related)
        ]
    return result


def _fingerprint(finding: Finding, file: File, seen: Counter[str]) -> str:
    """Identify a defect from run to run: by rule, field and path, whatever moved in the image."""
    parts = finding.rule, finding.at.field if finding.at else "", file.relative
    digest = sha256("\0".join(map(as_unicode, parts)).encode()).hexdigest()[:16]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


def _location(file: File, span: Span | None = None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": file.uri}}
    location: dict[str, Any] = {"physicalLocation": physical}
    if file.github:
        physical["region"] = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    if span is None:
        return location
    if file.github:
        name = {"fullyQualifiedName": span.field} if span.field else {}
        physical["address"] = {"absoluteAddress": span.offset, "length": span.length, **name}
    else:
        physical["region"] = {"byteOffset": span.offset, "byteLength": span.length}
    if span.field:
        location["logicalLocations"] = [{"fullyQualifiedName": span.field, "kind": "member"}]
    return location
