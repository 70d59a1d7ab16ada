"""For programs: one versioned document.

The schema is `vhdcheck/report/schemas/report-v1.schema.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.escape import as_unicode
from vhdcheck.report.describe import facts, other_sizes
from vhdcheck.report.results import counted
from vhdcheck.report.words import command_line
from vhdcheck.verdict.report import Failure
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.format.span import Span
    from vhdcheck.report.context import Context
    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
SCHEMA_VERSION: Final = 1
"""Fields may be added under one version; none is removed or changes its meaning."""


def write(checked: Iterator[Report | Failure], context: Context) -> Iterator[str]:
    """Write all reports as one JSON document, in ASCII."""
    reports = [one(report, with_map=context.with_map) for report in checked]
    target, results = context.target, context.results
    content = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "vhdcheck", "version": __version__},
        "target": {
            "name": as_unicode(target.name),
            "max_virtual_size": target.max_virtual_size,
            "max_physical_size": target.max_physical_size,
        },
        "reports": reports,
        "summary": {
            "accepted": results.accepted,
            "refused": results.refused,
            "not_checked": results.failed,
            "skipped_texts": results.skipped_texts,
            "findings": results.by_severity,
            "ignored": results.ignored,
            "exit_status": results.exit_status,
        },
    }
    yield json.dumps(content, indent=2) + "\n"


def one(report: Report | Failure, *, with_map: bool = False) -> dict[str, Any]:
    """Make a report plain, with the map of an image that was checked with `allocation`."""
    if isinstance(report, Failure):
        return {"source": as_unicode(report.source), "verdict": "not checked", "reason": as_unicode(report.reason)}
    return {
        "source": as_unicode(report.source),
        "verdict": "accepted" if report.ok else "refused",
        "code": None if report.code is None else int(report.code),
        "message": report.message,
        "size": report.size,
        "bytes_read": report.bytes_read,
        "rounds": report.rounds,
        "requests": report.requests,
        "image": _image(report),
        "unexamined": list(report.image.unexamined),
        "findings": [_finding(finding, report.source) for finding in report.findings],
        "map": _map(report) if with_map else None,
        "ignored": counted(report.ignored),
    }


def _map(report: Report) -> dict[str, Any]:
    from vhdcheck.report.map import map_facts  # only where asked for

    return map_facts(report.image)


def _image(report: Report) -> dict[str, Any] | None:
    described = facts(report.image)
    if described is not None:
        described["other_sizes"] = [{"reader": why, "size": size} for why, size in other_sizes(report.image)]
    return described


def _finding(finding: Finding, source: str) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "slug": finding.slug,
        "severity": finding.severity.word,
        "code": int(finding.code),
        "message": as_unicode(finding.message),
        "location": None if finding.at is None else _span(finding.at),
        "expected": as_unicode(finding.expected),
        "found": as_unicode(finding.found),
        "fix": as_unicode(command_line(finding.fix, source)),
        "related": [_span(span) for span in finding.related],
        "raised_by": as_unicode(finding.raised_by) or None,
    }


def _span(span: Span) -> dict[str, Any]:
    return {"offset": span.offset, "length": span.length, "field": span.field}
