"""Words that all formats share: prose, a finding in lines, what makes an image pass, an image's name."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import quote

from vhdcheck.escape import printable
from vhdcheck.sources.urls import is_url
from vhdcheck.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report

_GROUPED: Final = re.compile(r"(?<=\d) (?=\d{3}\b)")


def wrapped(text: str, width: int, indent: str, first: str | None = None) -> list[str]:
    """Wrap prose into lines, never inside a grouped number. What stands before the first line takes no room."""
    kept = _GROUPED.sub("\0", text)
    lines = textwrap.wrap(kept, max(40, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    return [(indent if index or first is None else first) + line.replace("\0", " ") for index, line in enumerate(lines)]


def severity_words(counts: dict[str, int]) -> str:
    """Write counts of findings: `1 error, 0 warnings, 2 notes`."""
    return ", ".join(count(number, word) for word, number in counts.items())


def lines(finding: Finding) -> Iterator[str]:
    """Yield what is wrong, where, what was expected and found, and what to do; all of it printable."""
    yield printable(finding.message)
    if finding.at is not None:
        yield printable(f"at 0x{finding.at.offset:x} {finding.at.field}, {count(finding.at.length, 'byte')}")
    if finding.expected:
        yield f"expected: {printable(finding.expected)}"
    if finding.found:
        yield f"found: {printable(finding.found)}"
    if finding.fix:
        yield f"fix: {printable(finding.fix)}"


class Line(NamedTuple):
    """A line of the section on the repair: prose, an entry under it, or a command, which is never wrapped."""

    kind: Literal["prose", "entry", "command"]
    text: str


def repair(report: Report) -> Iterator[Line]:
    """Yield what makes a refused image pass, or why nothing does; nothing where that was not asked for."""
    found, target = report.repair, report.target.name
    if found is None:
        return
    commands = [Line("command", printable(each.shell)) for each in found.commands]
    if found.possible:
        yield Line("prose", "To mend it, run:")
        yield from commands
        yield Line("prose", f"This writes a copy that {printable(target)} accepts, with the same guest data:")
        yield from (Line("entry", printable(step.text)) for step in found.steps)
        yield Line("prose", f"The copy is {found.result}.")
        if found.conditions:
            yield Line("prose", "It checks first, and writes nothing unless:")
            yield from (Line("entry", printable(each.text)) for each in found.conditions)
    elif commands:
        yield Line("prose", found.first)
        yield from commands
    else:
        sure = "It cannot be mended" if found.possible is False else "It is not known how to mend it"
        yield Line("prose", f"{sure} for {printable(target)}:")
        yield from (Line("entry", printable(reason)) for reason in found.reasons)
        yield Line("prose", printable(found.ask))


def repair_lines(report: Report) -> list[str]:
    """Write the same as plain lines."""
    return [line.text if line.kind == "prose" else f"  {line.text}" for line in repair(report)]


def relative(source: str, folder: str) -> str:
    """Return a path below a folder as relative to it, with "/" between; others, and URLs, unchanged.

    Args:
        source: a path, relative to that folder or absolute; or a URL.
        folder: the working directory of whoever reads the report.
    """
    if is_url(source):
        return source
    path = os.path.relpath(source, folder) if os.path.isabs(source) and folder else os.path.normpath(source)
    if path.split(os.sep, 1)[0] == os.pardir:
        path = source
    return path.replace(os.sep, "/")


def uri(source: str) -> str:
    """Write a source as the reference of RFC 3986 that SARIF asks for; an absolute path becomes `file://`."""
    if is_url(source):
        return quote(source, safe="/:@[]!$&'()*+,;=-._~%?#")
    path = source.replace(os.sep, "/")
    scheme = "file://" + "/" * bool(re.match("[A-Za-z]:", path)) if os.path.isabs(source) else ""
    return scheme + quote(os.fsencode(path))
