"""What a run of the command comes to: reports, failures, what was skipped; and the texts that all formats share."""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vhdcheck.sources.urls import is_url, redacted
from vhdcheck.units import count, grouped
from vhdcheck.verdict.report import Failure, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdcheck.verdict.report import Finding, Report

_COMMAND: Final = re.compile(r"`([^`]+)`")
_PLACE: Final = re.compile(r"\{(?:in|in_option|out)\}")
_GROUPED: Final = re.compile(r"(?<=\d) (?=\d{3}\b)")


EXAMPLES: Final = 3
"""Images that the summary names for a code."""


@dataclass(slots=True)
class Before:
    """What an earlier run came to, which this one resumes."""

    verdicts: dict[str, str] = field(default_factory=dict)
    """By source: `accepted`, `accepted with warnings`, `refused` or `not checked`."""
    torn: bool = False
    """Whether the earlier run was ended within its last line."""
    skipped: int = 0
    """Sources of this run that were done before; and how these were judged:"""
    refused: int = 0
    warned: int = 0
    failed: int = 0

    def has(self, source: str) -> bool:
        """Say whether a source was done before, and count it."""
        verdict = self.verdicts.get(as_unicode(redacted(source)))
        if verdict is None:
            return False
        self.skipped += 1
        self.refused += verdict == "refused"
        self.warned += verdict == "accepted with warnings"
        self.failed += verdict == "not checked"
        return True


@dataclass(slots=True)
class Results:
    """Counts of a run, added up as it goes; and what makes it fail."""

    fail_on: Severity = Severity.ERROR
    """The least severity that makes the exit status 1."""
    exit_zero: bool = False
    """Whether a refused image leaves the exit status at 0."""
    texts_suffice: bool = False
    """Whether a run that skipped texts, and found nothing else, is a success."""
    accepted: int = 0
    warned: int = 0
    """Of the accepted: how many with a WARNING."""
    refused: int = 0
    failed: int = 0
    crashed: int = 0
    skipped_texts: int = 0
    before: Before = field(default_factory=Before)
    by_code: dict[int, tuple[int, list[str]]] = field(default_factory=dict)
    """Refused images: how many, and the first few."""
    by_severity: dict[str, int] = field(default_factory=lambda: counted(()))
    ignored: dict[str, int] = field(default_factory=lambda: counted(()))
    """The same for findings that were ignored."""

    def add(self, result: Report | Failure) -> None:
        """Count one."""
        if isinstance(result, Failure):
            self.failed += 1
            return
        if result.ok:
            self.accepted += 1
            self.warned += result.count(Severity.WARNING) > 0
        else:
            self.refused += 1
            self._count_code(int(result.code or 0), result.source)
        self.crashed += result.crashed
        for finding in result.findings:
            self.by_severity[finding.severity.word] += 1
        for finding in result.ignored:
            self.ignored[finding.severity.word] += 1

    def _count_code(self, code: int, source: str) -> None:
        number, examples = self.by_code.get(code, (0, []))
        self.by_code[code] = number + 1, examples if number >= EXAMPLES else [*examples, source]

    @property
    def checked(self) -> int:
        """How many images have a verdict."""
        return self.accepted + self.refused

    @property
    def exit_status(self) -> int:
        """0 all accepted, 1 some not, 2 some could not be checked, or none was there; by an earlier run too.

        What was not checked is 2 whatever is ignored or forgiven: nobody knows what is wrong with it.
        """
        if self.failed or self.crashed or self.before.failed or not self._had_work:
            return 2
        return 1 if (self.refused or self.before.refused or self.fails_by_warnings) and not self.exit_zero else 0

    @property
    def _had_work(self) -> bool:
        return bool(self.checked or self.before.skipped or (self.texts_suffice and self.skipped_texts))

    @property
    def fails_by_warnings(self) -> bool:
        """Whether accepted images fail the run for their WARNINGs."""
        return self.fail_on <= Severity.WARNING and (self.warned + self.before.warned) > 0


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Count findings by severity, worst first."""
    counts = {"error": 0, "warning": 0, "note": 0}
    for finding in findings:
        counts[finding.severity.word] += 1
    return counts


def census(results: Results) -> str:
    """Say in one line what a run came to; every format has it, in its way."""
    parts = [
        f"{number} {word}"
        for word, number in (
            ("accepted", results.accepted),
            ("refused", results.refused),
            ("not checked", results.failed),
        )
        if number
    ]
    total = count(results.checked + results.failed, "image")
    line = f"{total}: {', '.join(parts)}; {severity_words(results.by_severity)}" if parts else "no images"
    if any(results.ignored.values()):
        line += f"; ignored: {severity_words(results.ignored)}"
    if results.fails_by_warnings and not results.exit_zero:
        line += "; a warning fails, as asked"
    if results.skipped_texts:
        line += f"; {results.skipped_texts} skipped: text, VHDL source?"
    if results.before.skipped:
        line += f"; {grouped(results.before.skipped)} done before"
    return line


def as_unicode(text: str) -> str:
    """Keep what JSON cannot carry, such as bytes of a file name that are no UTF-8, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def printable(text: str) -> str:
    """Escape whatever could move a cursor, colour a terminal, turn text around, or is no character at all."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def command_line(fix: str, source: str) -> str:
    """Put file names into a remedy, quoted for a shell. What is no file, a URL or `<stdin>`, is `in.vhd` once saved."""
    if is_url(source) or source in {"<stdin>", "<stream>", "<bytes>", "<file>"}:
        source = "in.vhd"
    # A dash would begin an option, a colon end a protocol of qemu's: `nbd:...`.
    name = f"./{source}" if source.startswith("-") or ":" in source.partition("/")[0] else source
    # In an option of qemu-img a comma is written twice. A shell empties what `>` names before it reads anything.
    places = {
        "{in}": _quoted(name),
        "{in_option}": _quoted(name.replace(",", ",,")),
        "{out}": "mended.vhd" if Path(source).name.lower() == "out.vhd" else "out.vhd",
    }
    return _PLACE.sub(lambda match: places[match[0]], fix)


def _quoted(name: str) -> str:
    r"""Quote for a POSIX shell; what cannot be printed as bash, zsh, ksh and POSIX 2024 read it: `$'a\012b'`."""
    if name.isprintable():
        return shlex.quote(name)
    safe = [
        ("\\" if char in "\\'" else "") + char
        if char.isprintable()
        else "".join(f"\\{byte:03o}" for byte in os.fsencode(char))
        for char in name
    ]
    return f"$'{''.join(safe)}'"


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
    return ", ".join(f"{number} {word}" + ("" if number == 1 else "s") for word, number in counts.items())
