"""What is done to each image, in this process or in a worker of it: it is checked, counted and written down.

    path ─ check ─▶ Report ─ no text? ─ repair ─ which rules count ─▶ Told: a tally, and the image's part of the report

A Report is thousands of objects, and a million of them would pass through one process. So a report does not leave the
process that made it. What it says in the chosen form does, as text where the form allows it, with what it adds to the
counts. Two kinds of reports come back whole: those of differencing disks where parents were given, since each parent is
read once for all its children; and those of `--format html`, which draws few of them, and at the end knows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from vhdcheck import report
from vhdcheck.chain import has_parent
from vhdcheck.command.inputs import is_text
from vhdcheck.engine.audit import checked, failure, finished
from vhdcheck.redaction import redacted
from vhdcheck.report.results import Tally
from vhdcheck.verdict.report import Failure, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vhdcheck.command.config import Selection
    from vhdcheck.command.inputs import Item
    from vhdcheck.engine.audit import Finish
    from vhdcheck.engine.check import Settled
    from vhdcheck.report.context import Context
    from vhdcheck.sources.source import Source


class Told(NamedTuple):
    """What is left of an image when it was checked."""

    tally: Tally
    part: Any
    """What the form made of it; None where it is not to be shown."""


class Skipped(NamedTuple):
    """A text, which is no image."""

    place: int
    """Where it was found: `Walk.skip` takes it."""


Outcome: TypeAlias = Told | Skipped | Report
"""A report where parents are to be found first."""


@dataclass(frozen=True, slots=True)
class Work:
    """How images are checked, counted and written; for an executor it can be pickled."""

    settled: Settled
    finish: Finish | None
    """What adds the repair."""
    selected: Selection
    quiet: bool
    """Whether images that do not fail the run are left out."""
    form: str
    folder: str
    """Where the form is: `formats` or `forest`."""
    context: Context
    has_family: bool = False
    """Whether parents were given."""
    watch: Callable[[Source], Source] | None = None
    """Put around the driver, to see what is read; without an executor only."""

    def __call__(self, items: Sequence[Item]) -> list[Outcome]:
        """Do a batch."""
        return [self._one(path, place) for path, place in items]

    def _one(self, path: str, place: int | None) -> Outcome:
        result = checked(path, self.settled, self.watch)
        if place is not None and _may_be_text(result) and is_text(path):
            return Skipped(place)
        if self.has_family and not isinstance(result, Failure) and has_parent(result.image):
            return result
        return self.told(finished(result, self.finish))

    def told(self, result: Report | Failure) -> Told:
        """Count and write an image. A defect in that costs no more than one in checking it."""
        try:
            return self._told(self.selected.of(result))
        except Exception as error:  # noqa: BLE001 (it must not end a run of a million images)
            return self._told(failure(result.source, error))

    def _told(self, result: Report | Failure) -> Told:
        tally = Tally.of(result)
        if self.quiet and not tally.fails(self.context.results.fail_on):
            return Told(tally, None)
        return Told(tally, report.load(self.form, self.folder).part(result, self.context))

    def lost(self, item: Item, reason: str) -> Told:
        """Say of an image that it ended its worker."""
        return self.told(Failure(redacted(item[0]), reason))


def _may_be_text(result: Report | Failure) -> bool:
    """Say whether it is worth looking: what ends in a footer is none."""
    return isinstance(result, Failure) or result.image.tail is None
