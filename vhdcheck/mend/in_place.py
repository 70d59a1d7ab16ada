"""An image that is mended where it is: some bytes corrected, or a whole new file in its place.

    with in_place("disk.vhd") as image:
        image.file.read(...)                       # nobody writes to it meanwhile
        image.correct({0: b"...", end: b"..."}, size)   # either: a few bytes, in the file that is there
        with image.replaced() as new:              # or: another file, with the same name, owner, mode and attributes
            new.file.write(...)
            new.commit()

Nobody else has the image open for writing from the beginning to the end (`holding.py`). While a few bytes are written,
nobody has it open at all; what was there is kept beside it until that is done (`journal.py`), and a run that finds what
a killed one left puts it back before anything else. A new file is written beside the image as any other (`files.py`),
and takes its name in one step: whoever opens the image, whenever the machine stops, has the old one or the new one.

What cannot be kept: the other names (hard links) of a file that is replaced would keep the old image, so that is
refused. The time of its making, the flags of `chattr`, and what is known by its inode number, are a new file's.
A symbolic link to the image stays one; the file that it leads to is mended.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from vhdcheck.errors import SourceError
from vhdcheck.mend.attributes import keep
from vhdcheck.mend.files import NewFile, sync_folder, told
from vhdcheck.mend.holding import hold_for_reading, hold_for_writing, is_held
from vhdcheck.mend.journal import MOST, Journal, journal_path, read, undo
from vhdcheck.mend.temporary import PLAIN, give_name, hold, sweep, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def in_place(source: str | os.PathLike[str]) -> Iterator[ImageInPlace]:
    """Open an image that is to be mended where it is, and keep writers away from it.

    Raises:
        SourceError: it is no regular file, cannot be read, is open for writing elsewhere, nobody can tell whether it
            is, or others wrote to it after a killed run.
    """
    path = Path(os.path.realpath(os.fsdecode(source)))
    with told(path):
        if not path.is_file():
            what = "not a regular file, and nothing else is mended in place" if path.exists() else "no such file"
            raise SourceError(f"{path}: {what}")
        sweep(path.parent)
        if os.path.lexists(journal_path(path)):
            with _open(path, os.O_RDWR) as file:
                hold_for_writing(file.fileno(), str(path))
                undo(file, path)
                sync_folder(path.parent)
        image = ImageInPlace(path)
        try:
            yield image
        finally:
            image.file.close()


def interrupted(source: str | os.PathLike[str]) -> bool:
    """Say whether a killed run left the image half corrected: `in_place` puts that back, a copy would keep it."""
    path = journal_path(Path(os.path.realpath(os.fsdecode(source))))
    try:
        return read(path) is not None
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error


class ImageInPlace:
    """An image that nobody else writes to."""

    def __init__(self, path: Path) -> None:
        """Open it for reading, and hold it."""
        self.path = path
        """The file itself, where a symbolic link was given."""
        self.file: BinaryIO = _open(path, os.O_RDONLY)
        """For reading. Have no other descriptor of the image while it is corrected: that would be somebody else."""
        try:
            hold_for_reading(self.file.fileno(), str(path))
            self._state = os.fstat(self.file.fileno())
        except BaseException:
            self.file.close()
            raise

    def correct(self, pieces: Mapping[int, bytes], size: int) -> None:
        """Write some bytes to the image, and give it another length; `file` is opened anew.

        Args:
            pieces: bytes by offset, apart from each other, and before `size`; `journal.MOST` at the most.
            size: the new length. It is cut at the end, or grows by pieces and zeros.

        Raises:
            ValueError: the pieces are too long, or lie behind the end.
            SourceError: somebody has the image open, or wrote to it, or it cannot be written; it is as it was.
        """
        if sum(map(len, pieces.values())) > MOST or any(offset + len(data) > size for offset, data in pieces.items()):
            raise ValueError("too much to be corrected in place, or behind the end")
        self.file.close()  # gives the lease back: none is given for writing while this is open
        self.file = _open(self.path, os.O_RDWR)
        hold_for_writing(self.file.fileno(), str(self.path))
        self._verify()
        journal = Journal.of(self.file, self.path.name, pieces, size)
        journal.write(journal_path(self.path))
        try:
            journal.correct(self.file)
        except BaseException as error:
            self._undo(error)
            raise
        journal_path(self.path).unlink()
        sync_folder(self.path.parent)

    def _undo(self, error: BaseException) -> None:
        try:
            undo(self.file, self.path)
        except OSError as another:
            raise SourceError(
                f"{self.path}: the image was corrected in part ({error}), and could not be put back ({another}): what"
                f" was there is in {journal_path(self.path)}, and the next run with --in-place puts it back"
            ) from error

    @contextmanager
    def replaced(self) -> Iterator[NewFile]:
        """Open a new file that takes the image's place when it is committed.

        Raises:
            SourceError: the image has other names, or is changed or opened for writing meanwhile; or owner, mode or
                attributes cannot be kept. It is as it was.
        """
        if self._state.st_nlink > 1:
            raise SourceError(
                f"{self.path}: the file has {self._state.st_nlink} names (hard links), and the others would keep the"
                " old image: write a copy with -o instead"
            )
        new = _Replacement(self)
        try:
            keep(self.file.fileno(), new.file.fileno(), str(self.path))  # a reason to refuse is told before the work
            yield new
        finally:
            new.close()

    def verify(self) -> None:
        """Make sure that nobody wrote to the image or asked to.

        Raises:
            SourceError: somebody did.
        """
        self._verify()
        if not is_held(self.file.fileno()):
            raise SourceError(
                f"{self.path}: another program opened the image for writing meanwhile: nothing is changed"
            )

    def _verify(self) -> None:
        state, named = os.fstat(self.file.fileno()), self.path.stat()
        if not os.path.samestat(self._state, named):
            raise SourceError(f"{self.path}: another file took the image's place meanwhile")
        if (state.st_size, state.st_mtime_ns) != (self._state.st_size, self._state.st_mtime_ns):
            raise SourceError(f"{self.path}: the file changed meanwhile")


class _Replacement(NewFile):
    """A new file that takes an image's place."""

    def __init__(self, image: ImageInPlace) -> None:
        super().__init__(image.path)
        self._image = image

    def _give_name(self) -> None:
        keep(self._image.file.fileno(), self.file.fileno(), str(self.path))
        os.fsync(self.file.fileno())
        if self.temporary is None:
            hold(self.file.fileno())
            beside = temporary_name(self.path)
            give_name(self.file.fileno(), beside)
            self.temporary = beside
        self._image.verify()
        self.temporary.replace(self.path)
        sync_folder(self.path.parent)


def _open(path: Path, flags: int) -> BinaryIO:
    """Open an image; for writing without a buffer, in which bytes would stay that could not be written."""
    try:
        descriptor = os.open(path, flags | PLAIN | getattr(os, "O_NONBLOCK", 0))
    except BlockingIOError as error:  # a lease is told at once, instead of being waited for
        raise SourceError(f"{path}: another program has the image open, and keeps it to itself") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot open: {error.strerror or error}") from error
    if flags == os.O_RDONLY:
        return os.fdopen(descriptor, "rb")
    return cast("BinaryIO", os.fdopen(descriptor, "r+b", buffering=0))
