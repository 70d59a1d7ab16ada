"""Read a copy back, before it gets its name: the same data as the source's, and accepted by the target."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vhdcheck.engine.check import examine
from vhdcheck.errors import SourceError
from vhdcheck.mend.digest import digest_of
from vhdcheck.mend.guest import disk_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vhdcheck.format.span import Span
    from vhdcheck.mend.digest import Seen
    from vhdcheck.targets import Target
    from vhdcheck.verdict.report import Report


class WrittenFile:
    """The copy, read by its descriptor: it has no name yet."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Learn its length."""
        self.name = name
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        return [self._read(span) for span in spans]

    def _read(self, span: Span) -> bytes:
        data = b""
        try:
            while len(data) < span.length and (more := self._some(span.length - len(data), span.offset + len(data))):
                data += more
        except OSError as error:
            raise SourceError(f"{self.name}: cannot read it back: {error.strerror or error}") from error
        if len(data) < span.length:
            raise SourceError(f"{self.name}: it became shorter while it was read back")
        return data

    def _some(self, length: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, offset)
        os.lseek(self._descriptor, offset, os.SEEK_SET)
        return os.read(self._descriptor, length)

    def verify(self) -> None:
        """Do nothing: nobody else has it."""


def proven(
    descriptor: int,
    name: str,
    target: Target,
    *,
    digest: str,
    whole: bool,
    now: float,
    seen: Seen | None = None,
) -> Report:
    """Prove a copy.

    Args:
        descriptor: the copy's.
        name: the name that it is to have.
        target: what it has to pass.
        digest: SHA-256 of the data that it has to hold.
        whole: whether zeros were summed too.
        now: the time, in Unix seconds.
        seen: is told now and then how far the copy is read, in bytes of its disk.

    Returns:
        The verdict on it, which is good.

    Raises:
        SourceError: it cannot be read, holds other data, or is not accepted: nothing is written then.
    """
    copy = WrittenFile(descriptor, name)
    report = examine(copy, target, now=now)
    if not report.ok:
        found = "; ".join(f"{finding.rule}: {finding.message}" for finding in report.findings[:3])
        raise SourceError(f"{name}: the copy would not be accepted, so that it was not kept ({found})")
    if digest_of(disk_of(copy, report.image), whole=whole, seen=seen) != digest:
        raise SourceError(f"{name}: the copy does not hold the same data, so that it was not kept")
    return report
