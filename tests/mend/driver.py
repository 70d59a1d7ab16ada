"""Writes a file by one of the ways in which images are mended, for tests that end it, or fail it, from outside.

    driver.py [without=NAME,...] new IN OUT | correct IMAGE | replace IMAGE

`without` takes names away from `os`, as they are missing on other systems. The images are those of `old` and `new`.
"""

from __future__ import annotations

import os
import random
import sys

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


def main(way: str, *names: str) -> None:
    """Do it."""
    from vhdcheck.mend.files import replacing  # noqa: PLC0415 (after names were taken away)
    from vhdcheck.mend.in_place import in_place  # noqa: PLC0415

    if way == "new":
        with open(names[0], "rb") as image, replacing(names[1], source=names[0], like=image.fileno()) as copy:  # noqa: PTH123
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


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0].startswith("without="):
        for name in filter(None, arguments.pop(0).partition("=")[2].split(",")):
            delattr(os, name)
    try:
        main(*arguments)
    except SourceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
