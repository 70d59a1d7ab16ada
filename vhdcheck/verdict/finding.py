"""A Finding says what is wrong with an image, and where."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

from vhdcheck.values import value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vhdcheck.format.span import Span
    from vhdcheck.verdict.codes import Code


class Severity(IntEnum):
    """What a finding means for the image's owner."""

    NOTE = 1
    """Legal, but odd."""
    WARNING = 2
    """Some readers differ, or will lose something."""
    ERROR = 3
    """Refused."""

    def __str__(self) -> str:
        """Write it as a word, in a text as in `print`."""
        return self.word

    def __format__(self, format_spec: str, /) -> str:
        """Write the word in an f-string too."""
        return format(self.word, format_spec)

    @property
    def word(self) -> str:
        """The severity in lower case."""
        return self.name.lower()


Doubt: TypeAlias = Literal["", "data", "description"]
"""What a finding puts in doubt: the guest's data, what describes it, or nothing."""


@value(frozen=True, slots=True)
class Finding:
    """One defect, at one place."""

    rule: str
    """`VHD103`: never reused for another rule."""
    slug: str
    """`footer-checksum`: the defect in two to four words."""
    severity: Severity
    code: Code
    """The message code that this finding means where it is an ERROR."""
    message: str
    at: Span | None
    expected: str = ""
    found: str = ""
    fix: str = ""
    """What can be done, in words; empty where nothing need be done."""
    related: tuple[Span, ...] = ()
    raised_by: str = ""
    """The target that made an ERROR of it, where the format alone would not."""
    doubts: Doubt = ""
    """What is in doubt where this is found: "data", "description" or nothing. A repair depends on it."""


def counted(findings: Iterable[Finding]) -> dict[str, int]:
    """Count findings by severity, worst first."""
    counts = {"error": 0, "warning": 0, "note": 0}
    for finding in findings:
        counts[finding.severity.word] += 1
    return counts
