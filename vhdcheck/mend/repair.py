"""The repair that ends a report on a refused image: the plan in words, or what to ask the sender for.

    from vhdcheck import audit, check
    from vhdcheck.mend import with_repair

    report = with_repair(check("in.vhd"))
    report.repair.commands, report.repair.steps, report.repair.reasons

The plan reads metadata again, so it is made where the file lies: `audit(paths, finish=with_repair)` makes it in the
worker that checked the image. What is no file, a URL or a stream, has to be saved first: nobody downloads it twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vhdcheck.errors import VhdcheckError
from vhdcheck.format.structures import DIFFERENCING, LINK
from vhdcheck.mend.plans import CORRECT, CUT, ENLARGE, SHRINK
from vhdcheck.mend.route import plan
from vhdcheck.mend.shell import line
from vhdcheck.mend.wish import Wish, command_for
from vhdcheck.mend.words import condition_words, result_words, step_words
from vhdcheck.sources.urls import is_url
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code
from vhdcheck.verdict.repair import Command, Part, Repair

if TYPE_CHECKING:
    from vhdcheck.mend.plans import Plan
    from vhdcheck.verdict.report import Report

SAVED: Final = "in.vhd"
"""What the image is called in the command where it has no name that a file could have."""


def with_repair(report: Report, *, target: str = "", program: tuple[str, ...] = ()) -> Report:
    """Add to the report on a refused file, or on a URL, what makes it pass; an accepted image needs nothing.

    Args:
        report: on a file, which is opened again, or on a URL, which is not.
        target: the name or file that the target was given by, for the command; by default the target's own name.
        program: what to run, for the command; by default what runs here.
    """
    if report.ok:
        return report
    if is_url(report.source):
        return unsaved(report, target=target, program=program)
    try:
        repair = _repair(plan(report, called=target, program=program), report)
    except VhdcheckError as error:
        repair = Repair(None, reasons=(f"the image could not be read a second time: {error}",), ask=_AGAIN)
    except Exception as error:  # noqa: BLE001 (the verdict stands, whatever becomes of the advice)
        repair = Repair(None, reasons=(f"vhdcheck failed: {type(error).__name__}",), ask="Report it as a bug, please.")
    return replace(report, repair=repair)


def unsaved(report: Report, *, target: str = "", program: tuple[str, ...] = ()) -> Report:
    """Add to the report on what is no file, where it is refused, that it has to be saved before it can be mended.

    Args:
        report: on a stream, a URL, or an object of a store.
        target: as in `with_repair`.
        program: as in `with_repair`.
    """
    if report.ok:
        return report
    words = command_for(report.target, Wish(target=target, program=program), SAVED, raw=False)
    return replace(report, repair=Repair(None, first=_SAVE, commands=(Command(words, line(words)),)))


_SAVE: Final = (
    f"To mend it, save the image as a file, called {SAVED} here. This command then writes a copy that passes, or says"
    " why there is none:"
)
_AGAIN: Final = "Check it once more when nobody writes to it."


def _repair(planned: Plan, report: Report) -> Repair:
    commands = tuple(Command(words, line(words)) for words in (planned.first, planned.command) if words)
    if planned.first:
        return Repair(None, first=_CONVERT, commands=commands)
    if not planned.possible:
        return Repair(possible=False, reasons=planned.reasons, ask=_ask(report))
    steps = [
        Part(step.kind, step_words(step), step.before, step.after)
        if step.kind in (CUT, ENLARGE, SHRINK)
        else Part(step.kind, _corrected(planned) if step.kind == CORRECT else step_words(step))
        for step in planned.steps
    ]
    return Repair(
        possible=True,
        commands=commands,
        steps=tuple(steps),
        conditions=tuple(Part(each.kind, condition_words(each)) for each in planned.conditions),
        result=result_words(planned),
        disk_type=planned.disk_type,
        size=planned.size,
        length=planned.length,
        least_length=planned.least_length,
    )


def _corrected(planned: Plan) -> str:
    """Name what is put right."""
    fields = [change.field.rpartition(".")[2] for change in planned.changes if change.new]
    named = [field for field in dict.fromkeys(fields) if field != "checksum"]  # which follows the others
    return f"correct: {', '.join(named or ['checksum'])}".replace("_", " ")


_CONVERT: Final = (
    "To mend it, run both commands. The first makes a raw disk of it. The second makes an image of that, or says why it"
    " cannot pass:"
)


def _ask(report: Report) -> str:
    """Say what the sender has that would help."""
    image, code = report.image, report.code
    if image.footer is None and image.lookalike is not None:
        fix = image.lookalike.fix
        return f"{fix[:1].upper()}{fix[1:]}."
    if image.footer is None and any(finding.slug == "footer-killed" for finding in report.findings):
        return "Ask whoever runs the disk's host to detach the disk, and to copy the image then."
    if image.footer is None:
        raw = " If it is a raw disk, run vhdcheck.mend with --raw." if report.size >= SECTOR else ""
        return f"Ask the sender for the file again, and for its length and SHA-256, to compare them.{raw}"
    if image.footer.disk_type == DIFFERENCING:
        return "Ask the sender for one image in which the disk is merged with its parents."
    if image.footer.disk_type == LINK:
        return "Ask the sender for an image of the drive itself: this file only links to it."
    if not any(finding.doubts == "data" for finding in report.findings):
        if code in (Code.VIRTUAL_SIZE, Code.PHYSICAL_SIZE):
            return "Ask the sender for a smaller disk."
        return "Ask the sender to export the disk again, by another program if there is one."
    return "Ask the sender to export the disk again, and for the file's length and SHA-256, to compare them."
