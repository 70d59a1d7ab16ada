"""The two things that are raised: the caller's fault and the medium's. A bad image is a finding, never an exception."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would cost a third of what --help costs
if TYPE_CHECKING:
    from vhdcheck.verdict.report import Report


class VhdcheckError(Exception):
    """Base of everything that vhdcheck raises on purpose."""


class UsageError(VhdcheckError, ValueError):
    """The caller asked for something that cannot be done: an unknown target, a malformed size, an unknown rule."""


class ImageRefused(VhdcheckError):  # noqa: N818 (a verdict, not an error)
    """An image that passed through a stream was refused, and the caller asked to be stopped by an exception."""

    def __init__(self, report: Report) -> None:
        """Carry the report: what was certain at that point."""
        super().__init__(report.message)
        self.report = report


class SourceError(VhdcheckError, OSError):
    """The bytes could not be had: no such file, permission denied, an I/O error, a file that changed meanwhile."""
