"""`python -m vhdcheck.mend in.vhd -o out.vhd`: a copy that passes, or the reasons why there is none."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from vhdcheck.terminal.arguments import Parser, called
from vhdcheck.terminal.ending import exit_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.engine.parents import Parents
    from vhdcheck.mend import Change, Mending, Plan

EPILOG: Final = """\
exit status: 0 mended, or nothing to mend; 1 refused, and nothing written; 2 could not be read or written. With
--dry-run: 0 where the plan is possible, 1 where it is not.
The copy is read back, its data compared with the image's, and checked for the destination, before it gets its name.
Where the image leaves in doubt what its data is, nothing is written.
"""
SHOWN: Final = 24
"""Bytes of a range that are printed; of longer ones the first and the last few."""


def parser() -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser = Parser(
        prog=called("vhdcheck-mend", "vhdcheck.mend"),
        description="Write a copy of a VHD image that its destination accepts, with the same guest data.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", metavar="IMAGE", help="the image, a file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", "--output", metavar="FILE", help="write the copy there; FILE must not exist, or is a folder"
    )
    where.add_argument(
        "--in-place",
        action="store_true",
        help="put the copy in the image's place in one step, when it is complete; needs room for both",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and write nothing")
    parser.add_argument("--target", default="rackspace", help="destination to judge for, as in vhdcheck --help")
    parser.add_argument("--max-virtual-size", metavar="SIZE", help="limit on the disk's size, instead of the target's")
    parser.add_argument(
        "--max-physical-size", metavar="SIZE", help="limit on the file's length, instead of the target's"
    )
    parser.add_argument(
        "--to", choices=("fixed", "dynamic"), default="", help="the type of the copy, whatever the image is"
    )
    parser.add_argument(
        "--parent",
        action="append",
        default=[],
        metavar="FILE",
        help="of a differencing disk: a parent, or a parent of that; may be repeated. The copy stands alone",
    )
    parser.add_argument(
        "--parents", action="append", default=[], metavar="FOLDER", help="look for parents among the images there too"
    )
    parser.add_argument("--raw", action="store_true", help="IMAGE is a raw disk: make a VHD of it")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return exit_status("vhdcheck.mend", lambda: _run(arguments))


def _run(arguments: list[str] | None) -> int:
    declared = parser()
    options = declared.parse_args(arguments)
    if not (options.output or options.in_place or options.dry_run):
        declared.error("name a file for the copy with -o, or use --in-place or --dry-run")
    from vhdcheck.escape import printable

    lines, status = _planned(options) if options.dry_run else _done(options)
    print("\n".join(printable(line) for line in lines))
    return status


def _planned(options: argparse.Namespace) -> tuple[Iterator[str], int]:
    from vhdcheck.mend import plan

    planned = plan(
        options.image,
        target=options.target,
        max_virtual_size=options.max_virtual_size,
        max_physical_size=options.max_physical_size,
        to=options.to,
        raw=options.raw,
        parents=_parents(options),
        out=options.output or "",
        in_place=options.in_place,
    )
    return _plan_lines(planned), 0 if planned.possible else 1


def _done(options: argparse.Namespace) -> tuple[Iterator[str], int]:
    from vhdcheck.mend import mend
    from vhdcheck.terminal.progress import Progress

    with Progress(sys.stderr, lambda: "mending", total=100) as line:
        mending = mend(
            options.image,
            options.output,
            in_place=options.in_place,
            target=options.target,
            max_virtual_size=options.max_virtual_size,
            max_physical_size=options.max_physical_size,
            to=options.to,
            raw=options.raw,
            parents=_parents(options),
            progress=lambda some, whole: line.move(100 * some // whole),
        )
    status = 2 if mending.before.crashed else 0 if mending.ok else 1
    return _lines(mending), status


def _parents(options: argparse.Namespace) -> Parents | None:
    """Collect the files that are given for parents; None where none are."""
    if not (options.parent or options.parents):
        return None
    from vhdcheck.engine.parents import Parents

    parents = Parents(options.parent)
    for folder in options.parents:
        parents.add_folder(folder)
    return parents


def _plan_lines(plan: Plan) -> Iterator[str]:
    """Write what would be done; as lines."""
    from vhdcheck.mend.shell import line
    from vhdcheck.mend.words import condition_words, result_words, step_words

    if not plan.possible:
        yield f"{plan.source}: cannot be mended for {plan.target.name}:"
        yield from (f"  {reason}" for reason in plan.reasons)
        if plan.first:
            yield "  make a raw disk of it first, and an image of that:"
            yield f"    {line(plan.first)}"
            yield f"    {line(plan.command)}"
        return
    if not plan.steps:
        yield f"{plan.source}: nothing to mend"
        return
    yield f"{plan.source}: can be mended for {plan.target.name}:"
    yield from (f"  {step_words(step)}" for step in plan.steps)
    yield f"  result: {result_words(plan)}"
    yield from (f"  on the condition that {condition_words(condition)}" for condition in plan.conditions)
    yield f"  {line(plan.command)}"


def _lines(mending: Mending) -> Iterator[str]:
    """Write what was done; as lines."""
    from vhdcheck.mend.words import step_words

    name = mending.before.source
    if mending.reasons:
        yield f"{name}: not mended, and nothing written:"
        yield from (f"  {reason}" for reason in mending.reasons)
        if mending.plan.first:
            yield from list(_plan_lines(mending.plan))[-3:]
        return
    if not mending.plan.steps:
        yield f"{name}: nothing to mend" + (f"; {mending.output} is a copy of it" if mending.output else "")
        return
    yield f"{name}: mended" + (f", as {mending.output}" if mending.output else "")
    if mending.changes:
        yield from map(_line, mending.changes)
    else:
        yield from (f"  {step_words(step)}" for step in mending.plan.steps)
    what = "its data" if mending.sums_zeros else "its blocks of 2 MiB that are not all zeros"
    yield f"  SHA-256 of {what}, in the image and in the copy: {mending.sha256}"
    if mending.after is not None and mending.after.findings:
        rest = ", ".join(f"{finding.rule} {finding.slug}" for finding in mending.after.findings)
        yield f"  left as it is: {rest}"


def _line(change: Change) -> str:
    place = f"  0x{change.offset:x} {change.field}, {change.length} byte{'' if change.length == 1 else 's'}: "
    return place + f"{_hex(change.old, change.cut) or 'none'} -> {_hex(change.new) or 'cut off'}"


def _hex(data: bytes, whole: int = 0) -> str:
    if whole > len(data):
        return f"{data[:16].hex(' ')} ..."
    if len(data) > SHOWN:
        return f"{data[:8].hex(' ')} ... {data[-8:].hex(' ')}"
    return data.hex(" ")


if __name__ == "__main__":
    sys.exit(main())
