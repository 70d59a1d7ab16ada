"""What would make an image pass at its destination: a plan, made of the metadata alone, that `mend` then does exactly.

    routed() ─┬─ correct (and cut): bytes of footers and header, `corrections.py`; the rest of the file is copied
              ├─ rebuild, fixed, dynamic (with enlarge or shrink): the guest's disk read and written anew
              └─ wrap: the same for a raw disk

Corrections come first: a rebuild reads by what they make of the metadata. It comes only where no finding puts the
guest's data in doubt (`Finding.doubts`). Whether the destination takes the result is not told from the limits here, but
by writing the result's structures without data and judging them by the same rules as any image.

What depends on the guest's data is a `Condition`, which `conditions.py` checks before anything is written.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from vhdcheck import targets
from vhdcheck.chain import has_parent
from vhdcheck.engine.check import examine, with_chain
from vhdcheck.engine.parents import SETTLED
from vhdcheck.errors import SourceError, UsageError
from vhdcheck.format.limits import SEARCH
from vhdcheck.format.structures import DYNAMIC, EPOCH, FIXED
from vhdcheck.mend import writer
from vhdcheck.mend.corrections import Change, Patched, changes, corrections
from vhdcheck.mend.errors import Unmendable
from vhdcheck.mend.files import refuse_urls
from vhdcheck.mend.guest import DynamicDisk, disk_of
from vhdcheck.mend.plans import (
    BEHIND_DISK,
    BEHIND_FOOTER,
    BETWEEN,
    CORRECT,
    CUT,
    ENLARGE,
    FITS,
    FLATTEN,
    PARTITIONS,
    REBUILD,
    SECTORS,
    SHRINK,
    TYPES,
    UNMARKED,
    WRAP,
    Condition,
    Plan,
    Step,
)
from vhdcheck.mend.shell import as_file
from vhdcheck.mend.stack import Layer, doubts, opened_parents, stack_of
from vhdcheck.mend.wish import Asked, Wish, command_for, free_name
from vhdcheck.mend.writer import Identity
from vhdcheck.rules import RULES
from vhdcheck.rules.parent import short
from vhdcheck.sources.local import BufferSource, opened
from vhdcheck.units import SECTOR, exact, round_up
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from typing import Unpack

    from vhdcheck.chain import Chain
    from vhdcheck.engine.options import MendOptions
    from vhdcheck.image import Image
    from vhdcheck.sources.local import Readable
    from vhdcheck.sources.source import Source
    from vhdcheck.targets import Target
    from vhdcheck.verdict.finding import Finding

_KINDS: Final = {name: kind for kind, name in TYPES.items()}
_END: Final = 4096
"""Bytes of the file's beginning that tell another format."""


@dataclass(frozen=True, slots=True)
class Route:
    """A plan, and what is needed to do it."""

    plan: Plan
    before: Report
    corrected: Patched | None = None
    """The image with its metadata corrected; None for a raw disk."""
    after: Report | None = None
    """The verdict on that."""
    identity: Identity | None = None
    """Of the new image; None where the corrected one is copied."""
    parents: tuple[Layer, ...] = ()
    """Of a differencing disk that is put together with them, the nearest first."""


def plan(
    source: Readable | Report,
    *,
    out: str = "",
    in_place: bool = False,
    called: str = "",
    program: tuple[str, ...] = (),
    **options: Unpack[MendOptions],
) -> Plan:
    """Say what would make an image pass, from its metadata alone.

    Args:
        source: the image: a path, bytes, or an open binary file; or the report on a file, which is then opened again.
        out: the copy's name, for the command.
        in_place: write the command for mending in place.
        called: what the target was given by, for the command, where `target` is none or a Target.
        program: what to run, for the command; what runs here by default.
        **options: `vhdcheck.mend.MendOptions` explains them. By default the target is the report's, or `rackspace`; a
            report that knows its chain needs no parents.

    Raises:
        UsageError: an unknown target or type, a malformed limit, a report on what is no file.
        SourceError: the image cannot be read.
    """
    report = source if isinstance(source, Report) else None
    asked = Asked.by(**options)
    judged_for = asked.judged_for(report.target if report else targets.DEFAULT)
    wish = Wish(asked.to, asked.raw, out, in_place, target=asked.called or called, program=program)
    clock, parents = asked.clock, asked.parents
    path = report.source if report else cast("Readable", source)
    refuse_urls(path, out)
    with opened(path) as reader:
        before = report if report and report.target == judged_for else examine(reader, judged_for, now=clock)
        if parents is not None:
            before = with_chain(before, path, parents, now=clock)
        elif report is not None:
            before = replace(before, chain=report.chain)
        with opened_parents(before.chain) as layers:
            return routed(reader, before, wish, now=clock, new_id=uuid.uuid4().bytes, parents=layers).plan


def routed(
    reader: Source, before: Report, wish: Wish, *, now: float, new_id: bytes, parents: tuple[Layer, ...] = ()
) -> Route:
    """Plan, and keep what is needed to do it.

    Args:
        reader: the image.
        before: the verdict on it, for the target.
        wish: what the caller wants.
        now: the time, in Unix seconds.
        new_id: a unique ID for an image without one.
        parents: of the chain that `before` knows, open; none where that is not whole.
    """
    if wish.to not in ("", *_KINDS):
        raise UsageError(f"no disk type to make: {wish.to!r} (fixed or dynamic)")
    if before.chain is not None:
        wish = replace(wish, parents=tuple(parent.name for parent in before.chain.parents))
    maker = _Maker(reader, before, wish, now=now, new_id=new_id, parents=parents)
    if before.image.footer is None:
        return maker.without_footer()
    if wish.raw:
        return maker.impossible(("it is no raw disk: it has the footer of a VHD. Leave --raw out",))
    return maker.of_image()


def refusals(report: Report) -> tuple[str, ...]:
    """Write what an image is refused for."""
    return tuple(_words(finding) for finding in report.findings if finding.severity.word == "error")


def _in_doubt(report: Report) -> tuple[str, ...]:
    """Write what puts the guest's data in doubt."""
    return tuple(_words(finding) for finding in report.findings if finding.doubts == "data")


def _words(finding: Finding) -> str:
    return f"{finding.rule} {finding.slug}: {finding.message}"


class _Old(NamedTuple):
    """A disk that is written anew: its size, the types to try, and the blocks of a copy that it takes at the most."""

    size: int
    kinds: tuple[int, ...]
    used: int


class _Maker:
    """What every route needs."""

    def __init__(
        self, reader: Source, before: Report, wish: Wish, *, now: float, new_id: bytes, parents: tuple[Layer, ...]
    ) -> None:
        self._reader, self._before, self._wish, self._now, self._new_id = reader, before, wish, now, new_id
        self._parents = parents
        self._target = before.target

    def impossible(self, reasons: tuple[str, ...], *, first: tuple[str, ...] = ()) -> Route:
        """Say why nothing makes it pass."""
        command = command_for(self._target, self._wish, first[-1], raw=True) if first else ()
        reasons = tuple(dict.fromkeys(reasons)) or refusals(self._before)
        return Route(
            Plan(self._before.source, self._target, possible=False, reasons=reasons, command=command, first=first),
            self._before,
        )

    def without_footer(self) -> Route:
        """Wrap a raw disk; of another format, name the command that makes one."""
        size = self._reader.size
        found = self._before.image.lookalike
        if found is not None and found.driver and not found.is_raw:
            source = as_file(self._before.source)
            made = free_name(Path(self._before.source).with_suffix(".raw"))
            return self.impossible(
                (), first=("qemu-img", "convert", "-f", found.driver, "-O", "raw", source, as_file(made))
            )
        if found is not None and not found.is_raw:
            return self.impossible(())
        if not (self._wish.raw or found is not None):
            return self.impossible(())
        if not size:
            return self.impossible(("the file is empty",))
        identity = Identity(self._new_id, max(0, int(self._now) - EPOCH))
        old = _Old(size, (DYNAMIC, FIXED), writer.blocks(size))
        return self._rebuilt(identity, old, [Step(WRAP, size, size)], [])

    def of_image(self) -> Route:
        """Correct an image, and rebuild it where that is not enough."""
        image = self._before.image
        try:
            corrected = corrections(self._reader, image, now=self._now, new_id=self._new_id)
        except Unmendable as problem:
            return self.impossible((str(problem), *_in_doubt(self._before)))
        after = examine(corrected, self._target, now=self._now)
        made = changes(self._reader, image, corrected)
        steps, conditions = self._first_steps(corrected, made)
        footer = after.image.footer
        assert footer is not None
        if self._before.chain is not None:
            route = self._flattened(after, self._before.chain, steps, conditions)
            if not route.plan.possible:
                return route
            return replace(route, corrected=corrected, after=after, plan=replace(route.plan, changes=made))
        if after.ok and self._wish.to in ("", TYPES.get(footer.disk_type, "")):
            plan = self._possible(steps, conditions, footer.current_size, TYPES.get(footer.disk_type, "differencing"))
            plan = replace(plan, changes=made, length=corrected.size, least_length=corrected.size)
            return Route(plan, self._before, corrected, after)
        in_doubt = (*_in_doubt(after), *_parent_wanted(after))
        if in_doubt or footer.disk_type not in TYPES:
            return self.impossible(in_doubt or refusals(after))
        try:
            used, more = _used_blocks(self._reader, after.image)
        except SourceError as problem:
            return self.impossible((str(problem),))
        other = DYNAMIC if footer.disk_type == FIXED else FIXED
        kinds = (footer.disk_type, other)
        identity = Identity(footer.unique_id, footer.timestamp)
        route = self._rebuilt(identity, _Old(footer.current_size, kinds, used), steps, [*conditions, *more])
        if not route.plan.possible:
            return route
        return replace(route, corrected=corrected, after=after, plan=replace(route.plan, changes=made))

    def _flattened(self, after: Report, chain: Chain, steps: list[Step], conditions: list[Condition]) -> Route:
        """Put a differencing disk together with its parents."""
        if reasons := _doubts_of_chain(self._before, after, chain):
            return self.impossible(reasons)
        child, footer = Layer(self._reader, after.image), after.image.footer
        assert footer is not None
        try:
            if reasons := tuple(doubts(child, self._parents)):
                return self.impossible(reasons)
            disk = stack_of(child, self._parents)
        except SourceError as problem:
            return self.impossible((str(problem),))
        if isinstance(disk.base, DynamicDisk):
            conditions = [*conditions, Condition(UNMARKED)]
        own_id = footer.unique_id
        if any(parent.image.footer is not None and parent.image.footer.unique_id == own_id for parent in self._parents):
            own_id = self._new_id
        old = _Old(footer.current_size, (DYNAMIC, FIXED), disk.windows_used())
        steps = [*steps, Step(FLATTEN, len(self._parents))]
        return replace(self._rebuilt(Identity(own_id, footer.timestamp), old, steps, conditions), parents=self._parents)

    def _first_steps(self, corrected: Patched, made: tuple[Change, ...]) -> tuple[list[Step], list[Condition]]:
        cut = [change for change in made if not change.new]
        steps = [Step(CORRECT)] if len(made) > len(cut) else []
        conditions = []
        if cut:
            steps.append(Step(CUT, self._reader.size, corrected.size))
            if self._reader.size - corrected.size > SEARCH:
                conditions.append(Condition(BEHIND_FOOTER, corrected.size, self._reader.size))
        return steps, conditions

    def _rebuilt(self, identity: Identity, old: _Old, steps: list[Step], conditions: list[Condition]) -> Route:
        """Write a disk anew, as the first of some types that the target accepts."""
        size = _size_for(old.size, self._target)
        if size > writer.MAX_SIZE:
            most = exact(writer.MAX_SIZE)
            return self.impossible((f"the disk has {exact(size)}, and qemu opens none of more than {most}",))
        used = min(old.used + 2 * (size > old.size), writer.blocks(size))  # a GPT's backup may take two blocks more
        kinds = (_KINDS[self._wish.to],) if self._wish.to else old.kinds
        verdicts = {kind: self._verdict(identity, size, kind, used) for kind in kinds}
        chosen = next((kind for kind, verdict in verdicts.items() if verdict.ok), None)
        if chosen is None and DYNAMIC in kinds and self._verdict(identity, size, DYNAMIC, 0).ok:
            chosen, used = DYNAMIC, _room(size, self._target)
            conditions = [*conditions, Condition(FITS, limit=used)]
        if chosen is None:
            return self.impossible(tuple(reason for verdict in verdicts.values() for reason in refusals(verdict)))
        if not steps or steps[-1].kind not in (WRAP, FLATTEN):
            steps = [*steps, Step(REBUILD if chosen == old.kinds[0] else TYPES[chosen])]
        if size > old.size:
            steps = [*steps, Step(ENLARGE, old.size, size)]
            conditions = [*conditions, Condition(PARTITIONS)]
        elif size < old.size:
            steps = [*steps, Step(SHRINK, old.size, size)]
            conditions = [*conditions, Condition(BEHIND_DISK, size, old.size)]
        elif steps[-1].kind == WRAP:
            conditions = [*conditions, Condition(SECTORS)]
        plan = self._possible(steps, conditions, size, TYPES[chosen])
        least = writer.length(size, chosen, 0)
        return Route(
            replace(plan, length=writer.length(size, chosen, used), least_length=least), self._before, identity=identity
        )

    def _possible(self, steps: list[Step], conditions: list[Condition], size: int, disk_type: str) -> Plan:
        command = command_for(self._target, self._wish, self._before.source, raw=self._wish.raw) if steps else ()
        return Plan(
            self._before.source,
            self._target,
            possible=True,
            steps=tuple(steps),
            conditions=tuple(conditions),
            command=command,
            size=size,
            disk_type=disk_type,
        )

    def _verdict(self, identity: Identity, size: int, kind: int, used: int) -> Report:
        """Judge the copy by its structures alone: with so many blocks in use, all of zeros."""
        structures = writer.structures(size, kind, identity, range(used))
        made = Patched(BufferSource(b"", "the copy"), structures, writer.length(size, kind, used))
        return examine(made, self._target, now=self._now)


def _doubts_of_chain(before: Report, after: Report, chain: Chain) -> tuple[str, ...]:
    """Write what puts the data of a chain in doubt, by the rules."""
    own = [each for each in after.findings if each.doubts == "data" and each.slug not in SETTLED]
    of_chain = [each for each in before.findings if each.doubts == "data" and RULES[each.rule].part == "chain"]
    of_parents = [f"{parent.name}: {words}" for parent in chain.parents for words in parent.in_doubt]
    return (*map(_words, (*own, *of_chain)), *of_parents)


def _parent_wanted(report: Report) -> tuple[str, ...]:
    """Say which parent a differencing disk is to be put together with."""
    header = report.image.header
    if header is None or not has_parent(report.image):
        return ()
    named = f', named "{short(header.parent_name)}"' if header.parent_name else ""
    return (
        f"give its parent, and the parents of that, with --parent: {uuid.UUID(bytes=header.parent_unique_id)}{named}",
    )


def _used_blocks(reader: Source, image: Image) -> tuple[int, list[Condition]]:
    """Count the blocks of a copy at the most, and say what must hold of the data that is read."""
    disk = disk_of(reader, image)
    if isinstance(disk, DynamicDisk):
        return disk.windows_used(), [Condition(UNMARKED)]
    footer = image.footer
    assert footer is not None
    between = [Condition(BETWEEN, footer.current_size, footer.offset)] if footer.offset > footer.current_size else []
    return writer.blocks(disk.size), between


def _size_for(size: int, target: Target) -> int:
    """Return the disk size nearest to another one that a target accepts: larger, unless that is over its limit."""
    multiple = math.lcm(target.virtual_size_multiple, SECTOR)
    wanted = round_up(max(size, target.min_virtual_size or 0), multiple)
    if target.max_virtual_size is None or wanted <= target.max_virtual_size:
        return wanted
    return target.max_virtual_size // multiple * multiple


def _room(size: int, target: Target) -> int:
    """Count the blocks that a dynamic disk's file has room for."""
    if target.max_physical_size is None:
        return 0
    return max(0, (target.max_physical_size - SECTOR - writer.first_block(size)) // writer.SLOT)
