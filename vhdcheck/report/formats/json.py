"""For programs: one versioned document.

The schema is `vhdcheck/report/schemas/report-v2.schema.json`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.escape import as_unicode
from vhdcheck.report.entries import INDENT, entry, filled
from vhdcheck.verdict.report import Failure
from vhdcheck.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Report

WHOLE: Final = True
SUMMARY: Final = True
SCHEMA_VERSION: Final = 2
"""Fields may be added under one version; none is removed or changes its meaning."""


def part(result: Report | Failure, context: Context) -> str:
    """Write a report as an entry of the document."""
    return entry(one(result, with_map=context.with_map), depth=2)


def write(parts: Iterator[str], context: Context) -> Iterator[str]:
    """Write all reports as one JSON document, in ASCII."""
    reports = list(parts)
    target, results = context.target, context.results
    content = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "vhdcheck", "version": __version__},
        "target": {
            "name": as_unicode(target.name),
            "max_virtual_size": target.max_virtual_size,
            "max_physical_size": target.max_physical_size,
        },
        "reports": [],
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
    yield from filled(json.dumps(content, indent=INDENT) + "\n", reports=reports)


def one(report: Report | Failure, *, with_map: bool = False) -> dict[str, Any]:
    """Make a report plain, with the map of an image that was checked with `allocation`."""
    plain = report.to_dict()
    if with_map and not isinstance(report, Failure):
        from vhdcheck.report.map import map_facts  # only where asked for

        plain["map"] = map_facts(report.image)
    return plain
