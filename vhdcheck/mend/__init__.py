"""Write a corrected copy of an image, where its own data says beyond doubt what is right.

    from vhdcheck.mend import mend

    result = mend("in.vhd", "out.vhd")
    result.ok, result.reasons, result.changes

What is mended, from the image's own data alone:

- the footer at the end from its copy, or the copy from the footer, where one is missing or damaged and the other sound;
- footers that differ, where it makes no difference once each is mended by itself, or where one of them is provably
  stale: taken for the truth, it contradicts the rest of the file, and the other does not (`footers.py`);
- the checksum of a footer or header of which everything else is sound, and confirmed (`footers.py`, `headers.py`);
- fields of which the specification leaves one value only, and a unique ID of zeros (`fields.py`);
- bytes behind the footer, and a last byte that was cut off.

Guest data, bitmaps and the block allocation table are never touched. What leaves an ERROR for the target is refused.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vhdcheck import targets
from vhdcheck.engine.check import examine, resolve
from vhdcheck.errors import UsageError
from vhdcheck.mend.corrections import Change, changes, corrections
from vhdcheck.mend.errors import Unmendable
from vhdcheck.mend.writing import opened_for_copying, write_new, write_over

if TYPE_CHECKING:
    import os

    from vhdcheck.image import Image
    from vhdcheck.targets import Target
    from vhdcheck.verdict.report import Report

__all__ = ["Change", "Mending", "mend"]

HIDDEN_BLOCKS: Final = (
    "the footer and its copy differ in size, and by the one that is sound, blocks in use would lie behind the end of"
    " the disk: ask who made the image how large it is"
)


@dataclass(frozen=True, slots=True)
class Mending:
    """What was mended, or why nothing was written."""

    before: Report
    after: Report | None = None
    """The verdict on the mended image; None where nothing was written."""
    changes: tuple[Change, ...] = ()
    """Every byte range that is different, by offset; empty where there was nothing to mend."""
    reasons: tuple[str, ...] = ()
    """Why the image was refused; empty where it was not."""

    @property
    def ok(self) -> bool:
        """Whether the image is now without an ERROR for its target."""
        return not self.reasons


def mend(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    in_place: bool = False,
    target: str | Target = targets.DEFAULT,
    max_virtual_size: str | int | None = None,
    max_physical_size: str | int | None = None,
    now: float | None = None,
) -> Mending:
    """Write a mended copy of an image, whole or not at all.

    Args:
        source: the image, a path.
        out: where the copy goes. It must not exist, and holds a plain copy where there is nothing to mend.
        in_place: put the copy in the image's place, atomically: whoever opens it, whenever the machine stops, has the
            old image or the new one. Needs room for the copy; nothing is written where there is nothing to mend.
        target: what an ERROR is judged by, as in `check`.
        max_virtual_size: the target's limit on the disk's size, overridden: bytes, or `"160GiB"`.
        max_physical_size: the target's limit on the file's length, overridden.
        now: the time to judge creation times by, and to set those in the future to, in Unix seconds; the clock's by
            default.

    Returns:
        What was changed, byte range by byte range; or the reasons for which nothing was written.

    Raises:
        UsageError: neither or both of `out` and `in_place`, an unknown target, a malformed limit.
        SourceError: the image cannot be read, or changed meanwhile; `out` exists or cannot be written.
    """
    if in_place == (out is not None):
        raise UsageError("name a file for the mended copy, or mend the image in place: one of the two")
    judged_for = resolve(target, max_virtual_size, max_physical_size)
    clock = time.time() if now is None else now
    with opened_for_copying(source, out) as reader:
        before = examine(reader, judged_for, now=clock)
        try:
            patched = corrections(reader, before.image, now=clock, new_id=uuid.uuid4().bytes)
        except Unmendable as problem:
            return Mending(before, reasons=(str(problem), *_errors(before)))
        after = examine(patched, judged_for, now=clock)
        if not after.ok:
            return Mending(before, reasons=_errors(after))
        if _hides_blocks(before.image, after.image):
            return Mending(before, reasons=(HIDDEN_BLOCKS, *_errors(before)))
        made = changes(reader, before.image, patched)
        if out is not None:
            write_new(reader, patched, out)
        elif made:
            write_over(reader, patched, source)
        return Mending(before, after, made)


def _hides_blocks(old: Image, new: Image) -> bool:
    """Say whether of two sizes the smaller one was taken, and blocks are in use behind it."""
    sizes = {footer.current_size for footer in (old.footer, old.copy) if footer is not None}
    return len(sizes) > 1 and new.table is not None and new.table.beyond_disk.count > 0


def _errors(report: Report) -> tuple[str, ...]:
    """Write what an image is refused for."""
    return tuple(
        f"{finding.rule} {finding.slug}: {finding.message}"
        for finding in report.findings
        if finding.severity.word == "error"
    )
