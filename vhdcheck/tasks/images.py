"""Where images are kept: a folder, or a store of fsspec. An image is there whole, or not at all.

In a folder it is written under another name, flushed and renamed. For a store it is written into a temporary file and
uploaded when it is known to be good; a store shows an object when its upload is complete.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol

from vhdcheck.sources.urls import is_url
from vhdcheck.tasks.objects import flushed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

SUFFIX = ".vhd"
_PART = ".part"


class Images(Protocol):
    """The images of all tenants, by id."""

    def write(self, image_id: str) -> AbstractContextManager[IO[bytes]]:
        """Take an image's bytes; it is there when this ends without an exception."""

    def open(self, image_id: str) -> AbstractContextManager[BinaryIO]:
        """Read an image; the file has a name that others can open."""

    def delete(self, image_id: str) -> None:
        """Delete an image, and what a worker that died left of it."""

    def ids(self) -> set[str]:
        """List what is there, also in part."""


def of(place: str) -> Images:
    """Open the image store; a folder is made if need be."""
    return Url(place) if is_url(place) and not place.startswith("file://") else Folder(place.removeprefix("file://"))


class Folder:
    """Images are files in a folder."""

    def __init__(self, root: str) -> None:
        """Take a folder."""
        self._root = Path(root)
        self._root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def write(self, image_id: str) -> Iterator[IO[bytes]]:
        """Write beside, flush, rename."""
        part = self._root / (image_id + _PART)
        try:
            with part.open("wb") as file:
                yield file
                flushed(file)
            part.replace(self._root / (image_id + SUFFIX))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def open(self, image_id: str) -> Iterator[BinaryIO]:
        """Open the file."""
        with (self._root / (image_id + SUFFIX)).open("rb") as file:
            yield file

    def delete(self, image_id: str) -> None:
        """Remove either file."""
        for suffix in (SUFFIX, _PART):
            (self._root / (image_id + suffix)).unlink(missing_ok=True)

    def ids(self) -> set[str]:
        """List the folder."""
        return {path.stem for path in self._root.iterdir() if path.suffix in (SUFFIX, _PART)}


class Url:
    """Images are objects below a URL."""

    def __init__(self, place: str) -> None:
        """Take a URL; credentials come from the environment, as the driver wants them."""
        import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]  # 130 ms

        self._files: Any
        self._files, self._root = fsspec.core.url_to_fs(place.rstrip("/"))

    @contextmanager
    def write(self, image_id: str) -> Iterator[IO[bytes]]:
        """Write a temporary file, and upload it."""
        with tempfile.NamedTemporaryFile(prefix="vhdcheck-", suffix=_PART) as file:
            yield file
            file.flush()
            self._files.put_file(file.name, self._path(image_id))

    @contextmanager
    def open(self, image_id: str) -> Iterator[BinaryIO]:
        """Download into a temporary file."""
        with tempfile.NamedTemporaryFile(prefix="vhdcheck-", suffix=SUFFIX) as file:
            self._files.get_file(self._path(image_id), file.name)
            with Path(file.name).open("rb") as copy:
                yield copy

    def delete(self, image_id: str) -> None:
        """Remove the object."""
        self._files.invalidate_cache()
        if self._files.exists(self._path(image_id)):
            self._files.rm_file(self._path(image_id))

    def ids(self) -> set[str]:
        """List the objects."""
        self._files.invalidate_cache()
        try:
            return {Path(path).stem for path in self._files.ls(self._root, detail=False) if path.endswith(SUFFIX)}
        except FileNotFoundError:
            return set()

    def _path(self, image_id: str) -> str:
        return f"{self._root}/{image_id}{SUFFIX}"
