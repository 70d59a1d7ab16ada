"""`python -m vhdcheck.mend in.vhd -o out.vhd`: a mended copy, or the reasons why there is none."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from vhdcheck.terminal.arguments import Parser, called
from vhdcheck.terminal.ending import exit_status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.mend import Change, Mending

EPILOG: Final = """\
exit status: 0 mended, or nothing to mend; 1 refused, and nothing written; 2 could not be read or written.
Mended is what the image's own data decides: a missing or damaged footer with a sound copy, checksums and fields of
which one value only can be right, an ID of zeros, bytes behind the footer. Guest data is never changed.
"""
SHOWN: Final = 24
"""Bytes of a range that are printed; of longer ones the first and the last few."""


def parser() -> argparse.ArgumentParser:
    """Declare the arguments."""
    parser = Parser(
        prog=called("vhdcheck-mend", "vhdcheck.mend"),
        description="Write a mended copy of a VHD image, and print each byte range that is different.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", metavar="IMAGE", help="the image, a file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", metavar="FILE", help="write the copy there; FILE must not exist")
    where.add_argument(
        "--in-place",
        action="store_true",
        help="put the copy in the image's place in one step, when it is complete; needs room for both",
    )
    parser.add_argument("--target", default="rackspace", help="destination to judge for, as in vhdcheck --help")
    parser.add_argument("--max-virtual-size", metavar="SIZE", help="limit on the disk's size, instead of the target's")
    parser.add_argument(
        "--max-physical-size", metavar="SIZE", help="limit on the file's length, instead of the target's"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    return exit_status("vhdcheck.mend", lambda: _run(parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    from vhdcheck.escape import printable  # not needed for --help
    from vhdcheck.mend import mend

    mending = mend(
        options.image,
        options.output,
        in_place=options.in_place,
        target=options.target,
        max_virtual_size=options.max_virtual_size,
        max_physical_size=options.max_physical_size,
    )
    print("\n".join(printable(line) for line in _lines(mending, options.output)))
    if mending.before.crashed:
        return 2
    return 0 if mending.ok else 1


def _lines(mending: Mending, out: str | None) -> Iterator[str]:
    """Write what was done; as lines."""
    name = mending.before.source
    if mending.reasons:
        yield f"{name}: not mended, and nothing written:"
        yield from (f"  {reason}" for reason in mending.reasons)
        return
    if not mending.changes:
        yield f"{name}: nothing to mend" + ("" if out is None else f"; {out} is a copy of it")
        return
    yield f"{name}: mended" + ("" if out is None else f", as {out}")
    yield from map(_line, mending.changes)
    if mending.after is not None and mending.after.findings:
        rest = ", ".join(f"{finding.rule} {finding.slug}" for finding in mending.after.findings)
        yield f"  left as it is: {rest}"


def _line(change: Change) -> str:
    place = f"  0x{change.offset:x} {change.field}, {change.length} byte{'' if change.length == 1 else 's'}: "
    return place + f"{_hex(change.old) or 'none'} -> {_hex(change.new) or 'cut off'}"


def _hex(data: bytes) -> str:
    if len(data) > SHOWN:
        return f"{data[:8].hex(' ')} ... {data[-8:].hex(' ')}"
    return data.hex(" ")


if __name__ == "__main__":
    raise SystemExit(main())
