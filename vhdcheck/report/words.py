"""Words that all formats share: commands with file names in them, prose, a finding in lines, an image's name."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from vhdcheck.escape import printable
from vhdcheck.sources.urls import is_url
from vhdcheck.units import count
from vhdcheck.verdict.commands import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.verdict.finding import Finding

_COMMAND: Final = re.compile(r"`([^`]+)`")
_GROUPED: Final = re.compile(r"(?<=\d) (?=\d{3}\b)")


def wrapped(text: str, width: int, indent: str, first: str | None = None) -> list[str]:
    """Wrap prose into lines, never inside a grouped number. What stands before the first line takes no room."""
    kept = _GROUPED.sub("\0", text)
    lines = textwrap.wrap(kept, max(40, width - len(indent)), break_long_words=False, break_on_hyphens=False)
    return [(indent if index or first is None else first) + line.replace("\0", " ") for index, line in enumerate(lines)]


def fix_parts(fix: str, source: str) -> Iterator[tuple[bool, str]]:
    """Split a remedy into prose and commands that name the file: (whether it is such a command, the text)."""
    plain = _COMMAND.sub(lambda match: match[0] if "{" in match[1] else match[1], fix)
    for index, part in enumerate(_COMMAND.split(plain)):
        if index % 2:
            yield True, command_line(part, source)
        elif text := part.strip(" .:;,"):
            yield False, text


def remedy(fix: str, source: str, width: int, indent: str, first: str) -> list[str]:
    """Write a remedy as lines; each command that names the file stands alone on its own, to be pasted."""
    lines: list[str] = []
    for is_command, text in fix_parts(fix, source):
        if is_command:
            lines.append((indent if lines else first) + printable(text))
        else:
            lines += wrapped(printable(text), width, indent, None if lines else first)
    return lines


def severity_words(counts: dict[str, int]) -> str:
    """Write counts of findings: `1 error, 0 warnings, 2 notes`."""
    return ", ".join(count(number, word) for word, number in counts.items())


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
    path = os.path.relpath(source) if os.path.isabs(source) else os.path.normpath(source)  # names stay text
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
