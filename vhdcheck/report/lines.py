"""A finding in lines of plain text, and an image's name, for the formats that other programs show."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from vhdcheck.report.results import command_line, printable
from vhdcheck.sources.urls import is_url
from vhdcheck.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.verdict.report import Finding


def lines(finding: Finding, source: str) -> Iterator[str]:
    """Yield what is wrong, where, what was expected and found, and what to do; all of it printable."""
    yield printable(finding.message)
    if finding.at is not None:
        yield printable(f"at 0x{finding.at.offset:x} {finding.at.field}, {count(finding.at.length, 'byte')}")
    if finding.expected:
        yield f"expected: {printable(finding.expected)}"
    if finding.found:
        yield f"found: {printable(finding.found)}"
    if finding.fix:
        yield f"fix: {printable(command_line(finding.fix, source))}"


def relative(source: str) -> str:
    """Return a path below the working directory as relative to it, with "/" between; others, and URLs, unchanged."""
    if is_url(source):
        return source
    path = os.path.relpath(source) if os.path.isabs(source) else os.path.normpath(source)  # noqa: PTH117 (names stay text)
    if path.split(os.sep, 1)[0] == os.pardir:
        path = source
    return path.replace(os.sep, "/")


def uri(source: str) -> str:
    """Write a source as the reference of RFC 3986 that SARIF asks for; an absolute path becomes `file://`."""
    if is_url(source):
        return quote(source, safe="/:@[]!$&'()*+,;=-._~%?#")
    path = source.replace(os.sep, "/")
    scheme = "file://" + "/" * bool(re.match("[A-Za-z]:", path)) if os.path.isabs(source) else ""  # noqa: PTH117
    return scheme + quote(os.fsencode(path))
