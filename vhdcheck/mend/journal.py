"""The bytes of an image as they were, kept beside it while it is corrected in place.

It is the simplest that is honest about a kill, a crash of the machine or a full disk:

1. The journal is written: old and new bytes of each piece, old and new length. It reaches the disk.
2. The pieces are written to the image, and reach the disk. An image that grows, grows by them.
3. An image that gets shorter is cut. File systems do that whole or not at all, so what is cut is not in the journal.
4. The journal is removed.

Whoever finds a journal (`undo`) finds one of these: a journal that is not whole, so that nothing was written yet; an
image that is as it should become, so that nothing is left to do; or each byte of the pieces old or new, and then the
old ones are put back. Anything else was written by others in between, and is left alone.

The journal is two lines: JSON, and its SHA-256. It is found by the image's name, so an image that is renamed after a
kill is not put back; it is then an image with some pieces new and some old, to be mended like any other.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

from vhdcheck.errors import SourceError
from vhdcheck.mend.files import sync_folder
from vhdcheck.mend.temporary import PLAIN, mark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST: Final = 1 << 22
"""Bytes that are corrected in place at the most; more is a new file."""
_END: Final = (1 << 63) - 1
_LONGEST: Final = 8 * MOST
"""A longer journal is not ours: two digits a byte, old and new, and the places."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What is about to be written to an image, and what was there."""

    image: str
    """The image's name, for people."""
    old_size: int
    new_size: int
    pieces: tuple[tuple[int, bytes, bytes], ...]
    """Offset, old bytes, new bytes; the old ones end where the file did."""

    @classmethod
    def of(cls, file: BinaryIO, name: str, pieces: Mapping[int, bytes], size: int) -> Self:
        """Read what a correction is about to overwrite."""
        old_size = file.seek(0, os.SEEK_END)
        taken = tuple((offset, _read(file, offset, len(new)), new) for offset, new in sorted(pieces.items()))
        return cls(name, old_size, size, taken)

    def encode(self) -> bytes:
        """Write the two lines."""
        line = json.dumps(
            {
                "vhdcheck-mend": 1,
                "image": self.image,
                "old_size": self.old_size,
                "new_size": self.new_size,
                "pieces": [[offset, old.hex(), new.hex()] for offset, old, new in self.pieces],
            }
        ).encode()
        return b"%b\n%b\n" % (line, hashlib.sha256(line).hexdigest().encode())

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """Read the two lines; None where they are not whole."""
        line, _, digest = data.partition(b"\n")
        if digest != hashlib.sha256(line).hexdigest().encode() + b"\n":
            return None
        try:
            given: dict[str, Any] = json.loads(line)
            pieces = tuple(
                (int(offset), bytes.fromhex(old), bytes.fromhex(new)) for offset, old, new in given["pieces"]
            )
            journal = cls(str(given["image"]), int(given["old_size"]), int(given["new_size"]), pieces)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):  # a stranger's, with a right sum
            return None
        return journal if journal.is_possible() else None

    def is_possible(self) -> bool:
        """Say whether a file can have these bytes at these places."""
        return all(
            0 <= offset <= offset + len(new) <= self.new_size <= _END and len(old) <= len(new)
            for offset, old, new in self.pieces
        ) and (0 <= self.old_size <= _END)

    def write(self, path: Path) -> None:
        """Bring the journal to the disk; where that fails, nothing is left of it.

        Raises:
            OSError: it cannot be written.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.encode())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)
        except BaseException:
            path.unlink()
            raise

    def correct(self, file: BinaryIO) -> None:
        """Write what is new to the image, and bring it to the disk; what may not fit comes first."""
        for offset, _, new in sorted(self.pieces, reverse=True):
            _write(file, offset, new)
        if self.new_size > self.old_size:
            file.truncate(self.new_size)
        os.fsync(file.fileno())
        if self.new_size < self.old_size:
            file.truncate(self.new_size)
            os.fsync(file.fileno())

    def restore(self, file: BinaryIO) -> bool:
        """Put back what was there, and bring it to the disk.

        Returns:
            Whether the image is now as it was, or as it should become; False where others wrote to it.
        """
        size = file.seek(0, os.SEEK_END)
        found = [_read(file, offset, len(new)) for offset, _, new in self.pieces]
        is_new = all(data == new for data, (_, _, new) in zip(found, self.pieces, strict=True))
        if size == self.new_size and is_new:
            return True
        if not min(self.old_size, self.new_size) <= size <= max(self.old_size, self.new_size):
            return False
        if size < self.old_size or not all(map(_is_either, found, self.pieces)):
            return False
        for offset, old, _ in self.pieces:
            _write(file, offset, old)
        file.truncate(self.old_size)
        os.fsync(file.fileno())
        return True


def journal_path(image: Path) -> Path:
    """Say where the journal of an image is, if there is one."""
    return image.with_name(f"{mark(image.name)}.journal")


def read(path: Path) -> Journal | None:
    """Read a journal; None where there is none that is whole.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_LONGEST + 1)
    return None if len(data) > _LONGEST else Journal.decode(data)


def undo(file: BinaryIO, image: Path) -> None:
    """Put an image back that a killed run left half corrected; nothing where none did.

    Args:
        file: the image, open for reading and writing without a buffer, and nobody else has it open.
        image: its path.

    Raises:
        SourceError: others wrote to it since.
        OSError: it cannot be read or written.
    """
    path = journal_path(image)
    journal = read(path)
    if journal is not None and not journal.restore(file):
        raise SourceError(
            f"{image}: a run that corrected the image in place was ended before its time, and other bytes were written"
            f" to the image since. The bytes as they were are in {path}. Remove that file to go on without them"
        )
    with suppress(FileNotFoundError):
        path.unlink()


def _is_either(found: bytes, piece: tuple[int, bytes, bytes]) -> bool:
    """Say whether each byte is old or new; where nothing was before, what a file grows by is zeros until written."""
    _, old, new = piece
    return all(
        byte in pair for byte, pair in zip(found, zip(old.ljust(len(new), b"\0"), new, strict=True), strict=False)
    )


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    data = b""
    while len(data) < length and (more := file.read(length - len(data))):
        data += more
    return data


def _write(file: BinaryIO, offset: int, data: bytes) -> None:
    file.seek(offset)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
