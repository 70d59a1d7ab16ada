"""What is reported: a Finding says what is wrong, where, and how to mend it; a Report is all of them together.

A Failure stands where a report would, for an image that could not be checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from vhdcheck.errors import VhdcheckError
from vhdcheck.escape import as_unicode, printable
from vhdcheck.values import value
from vhdcheck.verdict.codes import PRECEDENCE, Code, message
from vhdcheck.verdict.finding import Finding, Severity

if TYPE_CHECKING:
    from vhdcheck.chain import Chain
    from vhdcheck.image import Image
    from vhdcheck.targets import Target
    from vhdcheck.verdict.repair import Repair


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be checked."""

    source: str
    reason: str

    @property
    def ok(self) -> bool:
        """False: what nobody could check is not accepted."""
        return False

    def __str__(self) -> str:
        """Say it in a line."""
        return printable(f"{self.source}: not checked: {self.reason}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what `--format json` has for it."""
        return {"source": as_unicode(self.source), "verdict": "not checked", "reason": as_unicode(self.reason)}


@value(frozen=True, slots=True)
class Report:
    """The verdict on one image."""

    source: str
    """The name that it was given by: a path, or `<bytes>`."""
    size: int
    """Length of the file, in bytes."""
    target: Target
    findings: tuple[Finding, ...]
    """All findings: ERRORs first, and of these first the ones that `code` stands for; then by place."""
    image: Image
    bytes_read: int = 0
    rounds: int = 0
    """Round trips to the source that this took."""
    requests: int = 0
    """Requests to a server that this took; 0 for what is no URL."""
    chain: Chain | None = None
    """Of a differencing disk its parents, where files were given to find them among."""
    ignored: tuple[Finding, ...] = ()
    """Findings of rules that the command was told to ignore; the library never sets any aside."""
    repair: Repair | None = None
    """What makes a refused image pass, where it was asked for (`vhdcheck.mend.with_repair`): None else."""

    @property
    def ok(self) -> bool:
        """Whether the image would be accepted."""
        return not any(finding.severity == Severity.ERROR for finding in self.findings)

    @property
    def code(self) -> Code | None:
        """The message code that heads the report; None for an accepted image."""
        codes = {finding.code for finding in self.findings if finding.severity == Severity.ERROR}
        return next((code for code in PRECEDENCE if code in codes), None)

    @property
    def message(self) -> str | None:
        """What the import task would say: `"413: The image cannot be imported. ..."`; None for an accepted image."""
        code = self.code
        if code is None:
            return None
        return message(
            code, max_virtual_size=self.target.max_virtual_size, max_physical_size=self.target.max_physical_size
        )

    @property
    def crashed(self) -> bool:
        """Whether a rule failed on this image (VHD999), so that the verdict is a refusal out of caution."""
        return any(finding.rule == "VHD999" for finding in self.findings)

    def __str__(self) -> str:
        """Say the verdict in a line, and what it is refused for: `a.vhd: refused: 413: VHD701 virtual-size-over-limit`.

        Of an accepted image the WARNINGs are named.
        """
        told = Severity.WARNING if self.ok else Severity.ERROR
        found = ", ".join(f"{each.rule} {each.slug}" for each in self.findings if each.severity == told)
        if not self.ok:
            verdict = f"refused: {int(self.code or 0)}: {found}"
        else:
            verdict = f"accepted: with warnings: {found}" if found else "accepted"
        return f"{printable(self.source)}: {verdict}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what `--format json` has for the image, but for the map."""
        from vhdcheck.verdict.plain import plain  # most have no use for it

        return plain(self)

    def count(self, severity: Severity) -> int:
        """Count the findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)


class ImageRefused(VhdcheckError):  # a verdict, not an error
    """An image that passed through a stream was refused, and the caller asked to be stopped by an exception."""

    def __init__(self, report: Report) -> None:
        """Carry the report: what was certain at that point."""
        super().__init__(report.message)
        self.report = report

    def __reduce__(self) -> tuple[type[Self], tuple[Report]]:
        """Be pickled with the report: a worker in another process may raise it."""
        return type(self), (self.report,)
