"""Do exactly what was planned: check the conditions, write, read back, and only then give the copy its name."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from vhdcheck.engine.check import examine, with_chain
from vhdcheck.errors import UsageError
from vhdcheck.mend import plans
from vhdcheck.mend.conditions import unmet
from vhdcheck.mend.digest import Digest, digest_of, is_whole
from vhdcheck.mend.files import output_path, refuse_urls
from vhdcheck.mend.gpt import patches_for_end, read_partitions
from vhdcheck.mend.guest import Disk, Layers, Patches, RawDisk, disk_of
from vhdcheck.mend.prove import proven
from vhdcheck.mend.route import Route, routed
from vhdcheck.mend.stack import Layer, opened_parents, stack_of
from vhdcheck.mend.wish import Asked, Wish
from vhdcheck.mend.writer import write
from vhdcheck.mend.writing import copy_patched, opened_for_copying, write_new, write_over
from vhdcheck.sources.local import FileSource

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Unpack

    from vhdcheck.engine.options import MendOptions
    from vhdcheck.mend.corrections import Change
    from vhdcheck.mend.plans import Plan
    from vhdcheck.targets import Target
    from vhdcheck.verdict.report import Report


@dataclass(frozen=True, slots=True)
class Mending:
    """What was mended, or why nothing was written."""

    before: Report
    plan: Plan
    """What was to be done, and was done unless there are `reasons`."""
    after: Report | None = None
    """The verdict on the mended image; None where nothing was written."""
    reasons: tuple[str, ...] = ()
    """Why the image was refused; empty where it was not."""
    output: str = ""
    """The copy's name; empty where nothing was written, or it took the image's place."""
    sha256: str = ""
    """Of the guest's data, read from the image, and the same from the copy; empty where nothing was written."""
    sums_zeros: bool = False
    """Whether `sha256` is of the whole disk, as a raw file would hold it, or of its blocks that are not all zeros."""

    @property
    def ok(self) -> bool:
        """Whether the image is now without an ERROR for its target."""
        return not self.reasons

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every byte range that is different, by offset, where the image was only corrected; else empty."""
        is_corrected = all(step.kind in (plans.CORRECT, plans.CUT) for step in self.plan.steps)
        return self.plan.changes if self.ok and is_corrected else ()


def mend(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    in_place: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[MendOptions],
) -> Mending:
    """Write a copy of an image that its target accepts, with the same guest data; whole, proven, or not at all.

    Args:
        source: the image, a path.
        out: where the copy goes, or the folder that gets it under the image's name. It must not exist, and holds a
            plain copy where there is nothing to mend.
        in_place: put the copy in the image's place, atomically: whoever opens it, whenever the machine stops, has the
            old image or the new one. Needs room for the copy; nothing is written where there is nothing to mend.
        progress: is told now and then how much is done, and of how much: the bytes of the disk, once as they are
            written and once as they are read back.
        **options: `vhdcheck.mend.MendOptions` explains them. Times in the future are set to `now`.

    Returns:
        What was done; or the reasons for which nothing was written.

    Raises:
        UsageError: neither or both of `out` and `in_place`, an unknown target or type, a malformed limit,
            a URL.
        SourceError: the image cannot be read, or changed meanwhile; `out` exists or cannot be written.
    """
    if in_place == (out is not None):
        raise UsageError("name a file for the mended copy, or mend the image in place: one of the two")
    refuse_urls(source, out)
    asked = Asked.by(**options)
    judged_for, clock, parents = asked.judged_for(), asked.clock, asked.parents
    wish = Wish(asked.to, asked.raw, "" if out is None else str(out), in_place, target=asked.called)
    with ExitStack() as stack:
        reader = stack.enter_context(opened_for_copying(source, out))
        before = examine(reader, judged_for, now=clock)
        if parents is not None:
            before = with_chain(before, source, parents, now=clock)
        layers = stack.enter_context(opened_parents(before.chain))
        route = routed(reader, before, wish, now=clock, new_id=uuid.uuid4().bytes, parents=layers)
        if not route.plan.possible:
            return Mending(before, route.plan, reasons=route.plan.reasons)
        disk, result = _disks(reader, route)
        if reasons := tuple(unmet(route.plan.conditions, reader, disk, result)):
            return Mending(before, route.plan, reasons=reasons)
        if in_place and not route.plan.steps:
            return Mending(before, route.plan, after=before)
        name = "" if out is None else str(output_path(source, out))
        work = _Work(reader, route, result, name or before.source, clock, progress=progress)
        if name:
            write_new(reader, name, work.fill)
        else:
            write_over(reader, source, work.fill)
        return Mending(before, route.plan, work.report, output=name, sha256=work.sha256, sums_zeros=work.whole)


def mend_into(
    file: BinaryIO,
    source: str | os.PathLike[str],
    judged_for: Target,
    progress: Callable[[int, int], None] | None = None,
) -> Mending:
    """Write the mended copy into an open file, if the repair is certain (`Plan.is_certain`): for who needs no name.

    Args:
        file: binary, for reading and writing, empty, and the caller's alone. What is in it counts only if the result is
            `ok`.
        source: the image, a path.
        judged_for: what an ERROR is judged by, with its limits.
        progress: as in `mend`.

    Raises:
        SourceError: the image cannot be read, or the copy is not what it should be.
        OSError: the copy cannot be written.
    """
    now = time.time()
    with FileSource(source) as reader:
        before = examine(reader, judged_for, now=now)
        route = routed(reader, before, Wish(), now=now, new_id=uuid.uuid4().bytes)
        if not route.plan.is_certain:
            return Mending(before, route.plan, reasons=route.plan.reasons or ("the repair is not certain",))
        work = _Work(reader, route, _disks(reader, route)[1], reader.name, now, progress=progress)
        work.fill(file)
        reader.verify()
        return Mending(before, route.plan, work.report, sha256=work.sha256, sums_zeros=work.whole)


def _disks(reader: FileSource, route: Route) -> tuple[Disk, Disk]:
    """Return the guest's disk as it is, and as it will be."""
    if route.after is None:
        disk: Disk = RawDisk(reader, reader.size)
    elif route.parents:
        disk = stack_of(Layer(reader, route.after.image), route.parents)
    else:
        disk = disk_of(reader, route.after.image)
    size = route.plan.size
    if size == disk.size:
        return disk, disk
    table = read_partitions(disk)
    patches = {} if table.problem else patches_for_end(table, size)
    return disk, Layers(Patches(patches, size), disk, size)


class _Work:
    """The writing and the proof of one copy."""

    def __init__(
        self,
        reader: FileSource,
        route: Route,
        result: Disk,
        name: str,
        now: float,
        *,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._progress = progress
        self._reader, self._route, self._result, self._name, self._now = reader, route, result, name, now
        self.whole = is_whole(result)
        """Whether zeros are summed too."""
        self.sha256 = ""
        self.report: Report | None = None

    def fill(self, file: BinaryIO) -> None:
        """Write the copy into an empty file, and prove it.

        Raises:
            SourceError: the image cannot be read, or the copy is not what it should be.
        """
        writes: Callable[[BinaryIO], str] = self._corrected if self._route.identity is None else self._rebuilt
        self.sha256 = writes(file)
        target = self._route.plan.target
        self.report = proven(
            file.fileno(),
            self._name,
            target,
            digest=self.sha256,
            whole=self.whole,
            now=self._now,
            seen=self._seen(self._result.size),
        )

    def _seen(self, before: int) -> Callable[[int], None]:
        """Return what tells of progress, with some of the work done before."""
        return lambda done: self._progress(before + done, 2 * self._result.size) if self._progress else None

    def _corrected(self, file: BinaryIO) -> str:
        assert self._route.corrected is not None
        copy_patched(file, self._reader, self._route.corrected, self._seen(0))
        return digest_of(self._result, whole=self.whole, seen=self._seen(0))

    def _rebuilt(self, file: BinaryIO) -> str:
        assert self._route.identity is not None
        kind = next(kind for kind, name in plans.TYPES.items() if name == self._route.plan.disk_type)
        with Digest(self._result.size, whole=self.whole) as digest:
            write(file.fileno(), self._result, kind, self._route.identity, digest, seen=self._seen(0))
            digest_of_data = digest.finished()
        for parent in self._route.parents:
            parent.reader.verify()
        return digest_of_data
