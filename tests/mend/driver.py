"""Writes a file by one of the ways in which images are mended, for tests that end it, or fail it, from outside.

Each line of standard input is an order, in JSON: `words` (new IN OUT | correct IMAGE | replace IMAGE), `folder`,
`without` (names to take away from `os`, as other systems lack them) and `environment`. A child carries it out;
it has everything imported already, and is a process of its own to whoever kills it. The answer, a line too, is the
child's status and what it wrote to standard error. The images are those of `old` and `new`.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

from vhdcheck.errors import SourceError

SIZE = 200_000
PIECES = {0: b"head" * 200, 150_000: bytes(range(256)) * 8}


def old() -> bytes:
    """Return what the image is before."""
    return random.Random(1).randbytes(SIZE)


def new(cut: int = 0) -> bytes:
    """Return what it shall be, longer or shorter by some bytes."""
    data = bytearray(old())
    for offset, piece in PIECES.items():
        data[offset : offset + len(piece)] = piece
    return bytes(data) + grown(cut) if cut < 0 else bytes(data[: SIZE - cut])


def grown(cut: int) -> bytes:
    """Return what it becomes longer by."""
    return bytes(-cut - 1) + b"!"


def pieces(cut: int = 0) -> dict[int, bytes]:
    """Return the bytes that are corrected for that."""
    return {**PIECES, SIZE: grown(cut)} if cut < 0 else PIECES


def write(way: str, *names: str) -> None:
    """Write."""
    from vhdcheck.mend.files import replacing  # not for the tests, which import what stands above
    from vhdcheck.mend.in_place import in_place

    if way == "new":
        with open(names[0], "rb") as image, replacing(names[1], source=names[0], like=image.fileno()) as copy:
            copy.file.write(new())
            copy.commit()
        return
    with in_place(names[0]) as image_in_place:
        if way == "replace":
            with image_in_place.replaced() as copy:
                copy.file.write(new())
                copy.commit()
        else:
            cut = int(way.removeprefix("correct"))
            image_in_place.correct(pieces(cut), SIZE - cut)


def carried_out(order: dict[str, Any]) -> int:
    """Carry an order out, in a child; return the exit status."""
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    for name in order["without"]:
        delattr(os, name)
    try:
        write(*order["words"])
    except SourceError as error:
        os.write(2, f"{error}\n".encode())
        return 2
    return 0


def main() -> None:
    """Take orders."""
    import vhdcheck.mend.files
    import vhdcheck.mend.in_place  # noqa: F401 (so that no child has to)

    for line in sys.stdin:
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(ours)
            os.dup2(theirs, 2)
            os._exit(carried_out(json.loads(line)))
        os.close(theirs)
        with open(ours, encoding="utf-8") as errors:
            written = errors.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, written]), flush=True)


if __name__ == "__main__":
    main()
