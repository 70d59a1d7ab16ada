"""What a run of the command comes to: reports, failures, what was skipped; and the texts that all formats share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from vhdcheck.escape import as_unicode, printable
from vhdcheck.redaction import redacted
from vhdcheck.report.words import severity_words
from vhdcheck.units import count, grouped
from vhdcheck.verdict.finding import Severity, counted
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdcheck.verdict.finding import Finding
    from vhdcheck.verdict.report import Report


EXAMPLES: Final = 3
"""Images that the summary names for a code."""


class Tally(NamedTuple):
    """What one image adds to the counts of a run: little, since it comes from the process that checked it."""

    verdict: Literal["accepted", "refused", "not checked"]
    found: tuple[int, ...] = (0, 0, 0)
    """Findings by severity: errors, warnings, notes."""
    ignored: tuple[int, ...] = (0, 0, 0)
    code: int = 0
    source: str = ""
    """Of a refused image, for the summary's examples."""
    crashed: bool = False

    @classmethod
    def of(cls, result: Report | Failure) -> Tally:
        """Count one."""
        if isinstance(result, Failure):
            return _FAILED
        if not result.findings and not result.ignored:
            return _CLEAN
        found, ignored = _by_severity(result.findings), _by_severity(result.ignored)
        if not found[0]:
            return cls("accepted", found, ignored)
        return cls("refused", found, ignored, int(result.code or 0), result.source, result.crashed)

    def fails(self, fail_on: Severity) -> bool:
        """Say whether it makes the run fail, or would without `--exit-zero`."""
        return self.verdict != "accepted" or (fail_on <= Severity.WARNING and self.found[1] > 0)


_FAILED: Final = Tally("not checked")
_CLEAN: Final = Tally("accepted")


def _by_severity(findings: Iterable[Finding]) -> tuple[int, ...]:
    return tuple(counted(findings).values())


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
        verdict = self.verdicts.get(as_unicode(redacted(source))) if self.verdicts else None
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
    broken_chains: int = 0
    """Images whose chain does not end with a disk that stands alone, where the forest is drawn."""
    before: Before = field(default_factory=Before)
    by_code: dict[int, tuple[int, list[str]]] = field(default_factory=dict)
    """Refused images: how many, and the first few."""
    by_severity: dict[str, int] = field(default_factory=lambda: counted(()))
    ignored: dict[str, int] = field(default_factory=lambda: counted(()))
    """The same for findings that were ignored."""

    def add(self, result: Report | Failure) -> None:
        """Count one."""
        self.count(Tally.of(result))

    def count(self, tally: Tally) -> None:
        """Add what was counted where the image was checked."""
        if tally.verdict == "accepted":
            self.accepted += 1
            self.warned += tally.found[1] > 0
        elif tally.verdict == "refused":
            self.refused += 1
            self._count_code(tally.code, tally.source)
        else:
            self.failed += 1
        self.crashed += tally.crashed
        if any(tally.found) or any(tally.ignored):
            for counts, numbers in ((self.by_severity, tally.found), (self.ignored, tally.ignored)):
                for word, number in zip(counts, numbers, strict=True):
                    counts[word] += number

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
        fails = self.refused or self.before.refused or self.broken_chains or self.fails_by_warnings
        return 1 if fails and not self.exit_zero else 0

    @property
    def _had_work(self) -> bool:
        return bool(self.checked or self.before.skipped or (self.texts_suffice and self.skipped_texts))

    @property
    def fails_by_warnings(self) -> bool:
        """Whether accepted images fail the run for their WARNINGs."""
        return self.fail_on <= Severity.WARNING and (self.warned + self.before.warned) > 0


def summary(results: Results) -> Iterator[str]:
    """Write refused images by code, where there are several, and the census; as lines for people."""
    if results.refused > 1:
        for code, (number, examples) in sorted(results.by_code.items()):
            such = ":" if number == len(examples) else ", such as"
            yield f"  {code}: {count(number, 'image')}{such} {', '.join(map(printable, examples))}"
    yield census(results)


def census(results: Results) -> str:
    """Say in one line what a run came to; every format has it, in its way."""
    parts = [
        f"{grouped(number)} {word}"
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
        line += f"; {grouped(results.skipped_texts)} skipped: text, VHDL source?"
    if results.before.skipped:
        line += f"; {grouped(results.before.skipped)} done before"
    return line
