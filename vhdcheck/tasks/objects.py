"""Where containers are: a folder, or a store behind a URL (`blobs`).

A folder is walked one component after the other, and no symbolic link is followed, so there is no way out of it, or
a moment between a test and its use.

What is read is one state of an object, or nothing: its source knows the size, the times or the version that were found
first, and says so at the end if they are others by then.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, Final, Protocol

from vhdcheck.engine.check import examine, resolve
from vhdcheck.errors import SourceChanged
from vhdcheck.format.span import Span
from vhdcheck.sources.local import FileSource
from vhdcheck.sources.urls import is_url
from vhdcheck.tasks import blobs
from vhdcheck.tasks.blobs import NotThere, Taken
from vhdcheck.tasks.settings import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from vhdcheck import Report
    from vhdcheck.sources.source import Source
    from vhdcheck.tasks.blobs import Blobs, VersionedSource
    from vhdcheck.tasks.settings import Limits

__all__ = ["Found", "NotThere", "Objects", "Stopped", "Taken", "Try", "copy", "flushed", "of", "pieces"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PRIVATE: Final = 0o600
CHUNK: Final = 1 << 20
_SPAN: Final = 5 << 20
"""Bytes of one request to a store. Two are under way at a time: together they are more than is merged into one."""
_TICK: Final = 0.05
"""Seconds. A file system's clock advances in steps of up to 10 ms: what is written within the step of the last change
goes unnoticed, so a step has to pass between the look at a file and its first byte."""
_COARSE_TICK: Final = 2.1
"""The same where times are whole seconds, or two."""
_NO_WAY: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO, errno.EACCES)
"""What says that there is no such object, or none that may be read."""


class Stopped(Exception):
    """The work was given up half-way: the service stops, or the task is another worker's."""


@dataclass(frozen=True, slots=True)
class Try:
    """One of the tries to store an object, for its task."""

    task: str
    number: int
    going: Callable[[], bool]

    @property
    def owner(self) -> str:
        """Name the try: no two write to the same place before what they write is whole."""
        return f"{self.task}.{self.number}"

    @property
    def beside(self) -> str:
        """Name the file that it writes first."""
        return f".{self.owner}.part"


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there."""

    source: VersionedSource

    def judge(self, limits: Limits) -> Report:
        """Check it where it is, by reading its metadata alone; with what a map of it needs."""
        return examine(self.source, resolve(**limits), allocation=True)

    def pieces(self) -> Iterator[bytes]:
        """Read it from its beginning.

        Raises:
            SourceChanged: at the end, or before it: this was not one state of the object.
        """
        yield from pieces(self.source)
        self.source.verify()

    def confirm(self, digest: bytes, going: Callable[[], bool]) -> None:
        """See that it has the same bytes once more, where its store cannot tell when it changed.

        Raises:
            SourceChanged: it has others.
            Stopped: `going` said no.
        """
        if self.source.versioned:
            return
        again = hashlib.sha256()
        for piece in self.pieces():
            if not going():
                raise Stopped
            again.update(piece)
        if again.digest() != digest:
            raise SourceChanged(f"{self.source.name}: other bytes at the second reading")


class Objects(Protocol):
    """The containers of one tenant."""

    def find(self, container: str, name: str, shown: str) -> AbstractContextManager[Found]:
        """Find an object, and call it as `shown`; NotThere if there is none."""

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Store an object whole, or not at all; NotThere without the container, Taken if there is one already."""

    def discard(self, container: str, try_: Try) -> None:
        """Delete what a try, whose worker died, left of an object."""


def of(place: str, tenant: str) -> Objects:
    """Find the containers of a tenant.

    Args:
        place: a folder, or a URL of fsspec; `{tenant}` in it stands for the tenant.
        tenant: whose.
    """
    own = place.replace(TENANT, tenant)
    if is_url(own) and not own.startswith("file://"):
        return Url(blobs.of(own))
    return Folder(own.removeprefix("file://"))


class Folder:
    """Containers are folders in a folder."""

    def __init__(self, root: str) -> None:
        """Take the folder, which need not exist."""
        self._root = root

    @contextmanager
    def find(self, container: str, name: str, shown: str) -> Iterator[Found]:
        """Open an object that is a regular file."""
        *folders, last = [container, *name.split("/")]
        with self._walk(folders) as inner, _answers():
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inner)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotThere
            with _File(descriptor, shown) as source:
                yield Found(source)
        finally:
            os.close(descriptor)

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Write a file beside, and link it to its name when it is whole."""
        beside = try_.beside
        with self._walk([container]) as inner:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with os.fdopen(os.open(beside, flags, PRIVATE, dir_fd=inner), "wb") as part:
                    copy(file, part, try_.going)
                    flushed(part)
                os.link(beside, name, src_dir_fd=inner, dst_dir_fd=inner, follow_symlinks=False)
            except FileExistsError:
                raise Taken from None
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=inner)
            os.fsync(inner)

    def discard(self, container: str, try_: Try) -> None:
        """Unlink the file beside."""
        with suppress(NotThere, FileNotFoundError), self._walk([container]) as inner:
            os.unlink(try_.beside, dir_fd=inner)

    @contextmanager
    def _walk(self, folders: list[str]) -> Iterator[int]:
        """Open the last of these folders, each in the one before."""
        with _answers():
            inner = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                with _answers():
                    deeper = os.open(folder, _FOLDER, dir_fd=inner)
                os.close(inner)
                inner = deeper
            yield inner
        finally:
            os.close(inner)


class _File(FileSource):
    """An open file whose changes are noticed, also those whose writer sets the time back."""

    versioned = True

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(f"/dev/fd/{descriptor}", name)
        state = os.fstat(self.fileno())
        self._changed = state.st_ctime_ns
        tick = _TICK if state.st_mtime_ns % 1_000_000_000 else _COARSE_TICK
        if abs(time.time() - state.st_ctime_ns / 1e9) < tick:
            time.sleep(tick)

    def verify(self) -> None:
        """Compare length and times with those at the beginning."""
        super().verify()
        if os.fstat(self.fileno()).st_ctime_ns != self._changed:
            raise SourceChanged(f"{self.name}: the file changed while it was checked")


class Url:
    """Containers are below a URL."""

    def __init__(self, store: Blobs) -> None:
        """Take the store."""
        self._blobs = store

    @contextmanager
    def find(self, container: str, name: str, shown: str) -> Iterator[Found]:
        """Look for an object."""
        with self._blobs.opened(f"{container}/{name}", shown) as source:
            yield Found(source)

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Upload an object."""
        if not self._blobs.is_container(container):
            raise NotThere
        if not try_.going():
            raise Stopped
        self._blobs.put(f"{container}/{name}", file, os.fstat(file.fileno()).st_size, try_.owner)

    def discard(self, container: str, try_: Try) -> None:
        """Delete what a store keeps of it."""
        self._blobs.discard(f"{container}/x", try_.owner)


def pieces(source: Source, start: int = 0, end: int | None = None, span: int = _SPAN) -> Iterator[bytes]:
    """Read a source's bytes from `start` to `end`, or to its own end, two spans at a time."""
    stop = source.size if end is None else end
    for offset in range(start, stop, 2 * span):
        middle = min(offset + span, stop)
        wanted = [Span(offset, middle - offset), Span(middle, min(middle + span, stop) - middle)]
        yield from (data for data in source.read([each for each in wanted if each.length]) if data)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_WAY:
            raise NotThere from None
        raise


def copy(source: BinaryIO, to: IO[bytes], going: Callable[[], bool]) -> None:
    """Copy the rest of a file.

    Raises:
        Stopped: `going` said no.
    """
    while piece := source.read(CHUNK):
        if not going():
            raise Stopped
        to.write(piece)


def flushed(file: IO[bytes]) -> None:
    """Have a file's bytes on the disk."""
    file.flush()
    os.fsync(file.fileno())
