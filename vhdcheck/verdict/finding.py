"""A Finding says what is wrong with an image, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vhdcheck.format.span import Span
    from vhdcheck.verdict.codes import Code


Doubts = Literal["data", "description", ""]
"""What a defect puts in doubt: the guest's data (a block that overlaps another, an end that is missing), or only what
the image says of itself. Data in doubt is never written anew as if it were right."""


class Severity(IntEnum):
    """What a finding means for the image's owner."""

    NOTE = 1
    """Legal, but odd."""
    WARNING = 2
    """Some readers differ, or will lose something."""
    ERROR = 3
    """Refused."""

    @property
    def word(self) -> str:
        """The severity in lower case."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
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
    """What to do. Commands stand in backquotes; `{in}` and `{out}` stand for the image and its mended copy."""
    related: tuple[Span, ...] = ()
    raised_by: str = ""
    """The target that made an ERROR of it, where the format alone would not."""
    doubts: Doubts = ""
    """What it puts in doubt; empty where nothing is: the image says what is, and that is legal, or not accepted."""
