"""Where images are kept: a folder, or a store behind a URL. An image is there whole, or not at all.

In a folder it is written under another name, flushed and renamed. For a store it is written into a temporary file and
uploaded when it is known to be good; a store shows an object when its upload is complete. That file has no name from
the moment it is made, so a worker that is killed leaves nothing of it.

A store belongs to one database: a mark in it says to which (see `mark`). What is deleted in it is only what the
database remembers to have made itself (see `remains`): no listing ever decides that.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from vhdcheck.sources.local import FileSource
from vhdcheck.sources.urls import is_url
from vhdcheck.tasks import blobs
from vhdcheck.tasks.blobs import NotThere, Taken
from vhdcheck.tasks.objects import CHUNK, PRIVATE, flushed, pieces
from vhdcheck.tasks.private import close

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from vhdcheck.tasks.blobs import Blobs
    from vhdcheck.tasks.settings import Settings

SUFFIX: Final = ".vhd"
MARK: Final = "vhdcheck-images.id"
"""The file, or object, that holds the ID of the database whose images these are."""
_PART: Final = ".part"


class Images(Protocol):
    """The images of all tenants, by id."""

    def write(self, image_id: str) -> AbstractContextManager[IO[bytes]]:
        """Take an image's bytes; it is there when this ends without an exception."""

    def open(self, image_id: str) -> AbstractContextManager[BinaryIO]:
        """Read an image, from a file that has a name under which it can be opened again; NotThere without it."""

    def read(self, image_id: str, start: int, end: int) -> Iterator[bytes]:
        """Read a part of an image, piece by piece; NotThere without it, at the first piece."""

    def delete(self, image_id: str) -> None:
        """Delete an image, and what a worker that died left of it."""

    def names(self) -> list[str]:
        """List what is there, of whatever kind."""

    def marked(self) -> str | None:
        """Read the mark."""

    def mark(self, owner: str, known: set[str]) -> None:
        """Write the mark, unless there is one; make the folder, if need be, and these images private."""


def of(settings: Settings) -> Images:
    """Open the image store."""
    place = settings.images_place
    if is_url(place) and not place.startswith("file://"):
        return Url(blobs.of(place), settings.data / "scratch")
    return Folder(place.removeprefix("file://"))


class Folder:
    """Images are files in a folder."""

    def __init__(self, root: str) -> None:
        """Take a folder; `mark` makes it."""
        self._root = Path(root)

    @contextmanager
    def write(self, image_id: str) -> Iterator[IO[bytes]]:
        """Write beside, flush, rename."""
        part = self._here() / (image_id + _PART)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(part, flags, PRIVATE), "wb") as file:
                yield file
                flushed(file)
            part.rename(self._root / (image_id + SUFFIX))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._flush()

    @contextmanager
    def open(self, image_id: str) -> Iterator[BinaryIO]:
        """Open the file."""
        path = self._here() / (image_id + SUFFIX)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise NotThere from None
        with file:
            yield file

    def read(self, image_id: str, start: int, end: int) -> Iterator[bytes]:
        """Read the file: it stays readable while it is open, whoever deletes it."""
        with self.open(image_id) as file, FileSource(f"/dev/fd/{file.fileno()}", image_id) as source:
            yield from pieces(source, start, end, CHUNK)

    def delete(self, image_id: str) -> None:
        """Remove either file."""
        for suffix in (SUFFIX, _PART):
            (self._here() / (image_id + suffix)).unlink(missing_ok=True)
        self._flush()

    def names(self) -> list[str]:
        """List the folder."""
        return [path.name for path in self._root.iterdir()] if self._root.exists() else []

    def marked(self) -> str | None:
        """Read the file."""
        try:
            return (self._root / MARK).read_text("utf-8", "replace").strip()
        except FileNotFoundError:
            return None

    def mark(self, owner: str, known: set[str]) -> None:
        """Write it beside, and link it to its name: of two servers that start at once one makes it, and whole."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        close(self._root / (image_id + SUFFIX) for image_id in known)
        with tempfile.NamedTemporaryFile("w", dir=self._root, prefix=".mark-") as file:
            file.write(owner + "\n")
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(file.name, self._root / MARK)
        self._flush()

    def _here(self) -> Path:
        """See that this is the store, and not the mount point of a disk that is not there."""
        if not (self._root / MARK).is_file():
            raise FileNotFoundError(f"{self._root} has no {MARK}: it is not the image store")
        return self._root

    def _flush(self) -> None:
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Url:
    """Images are objects below a URL."""

    def __init__(self, store: Blobs, scratch: Path) -> None:
        """Take the store, and a folder for temporary files."""
        self._blobs, self._scratch = store, scratch

    @contextmanager
    def write(self, image_id: str) -> Iterator[IO[bytes]]:
        """Write a temporary file, and upload it."""
        with self._temporary() as file:
            yield file
            file.flush()
            with suppress(Taken):  # by ourselves: the id is this attempt's alone, and an answer can get lost
                self._blobs.put(image_id + SUFFIX, file, os.fstat(file.fileno()).st_size, image_id)

    @contextmanager
    def open(self, image_id: str) -> Iterator[BinaryIO]:
        """Download into a temporary file."""
        with self._blobs.opened(image_id + SUFFIX, image_id) as source, self._temporary() as file:
            for piece in pieces(source):
                file.write(piece)
            source.verify()
            file.seek(0)
            yield file

    def read(self, image_id: str, start: int, end: int) -> Iterator[bytes]:
        """Read ranges of the object."""
        with self._blobs.opened(image_id + SUFFIX, image_id) as source:
            yield from pieces(source, start, end, CHUNK)

    def delete(self, image_id: str) -> None:
        """Remove the object."""
        self._blobs.delete(image_id + SUFFIX, image_id)

    def names(self) -> list[str]:
        """List the objects."""
        return self._blobs.names()

    def marked(self) -> str | None:
        """Read the object."""
        try:
            with self._blobs.opened(MARK, MARK) as source:
                return b"".join(pieces(source, 0, min(source.size, 1024))).decode("utf-8", "replace").strip()
        except NotThere:
            return None

    def mark(self, owner: str, known: set[str]) -> None:  # noqa: ARG002 (such a store has rights of its own)
        """Store the object; of two servers that start at once one does."""
        with self._temporary() as file, suppress(Taken):
            file.write(owner.encode() + b"\n")
            file.flush()
            self._blobs.put(MARK, file, len(owner) + 1, MARK)

    @contextmanager
    def _temporary(self) -> Iterator[BinaryIO]:
        """Make a file in the folder of data whose only name is its descriptor's."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            cast("io.FileIO", file.raw).name = f"/proc/self/fd/{file.fileno()}"
            yield cast("BinaryIO", file)
