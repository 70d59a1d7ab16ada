"""The two things that are raised: the caller's fault and the medium's. A bad image is a finding, never an exception."""

from __future__ import annotations


class VhdcheckError(Exception):
    """Base of everything that vhdcheck raises on purpose."""


class UsageError(VhdcheckError, ValueError):
    """The caller asked for something that cannot be done: an unknown target, a malformed size, an unknown rule."""


class SourceError(VhdcheckError, OSError):
    """The bytes could not be had: no such file, permission denied, an I/O error, a file that changed meanwhile."""


class SourceChanged(SourceError):
    """The image changed while it was read; another try may succeed."""
