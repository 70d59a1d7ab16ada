"""Where containers are: a folder, or whatever fsspec has a driver for (`s3://`, `az://`, `swift://`).

A folder is walked one component after the other, and no symbolic link is followed, so there is no way out of it, nor
a moment between a test and its use.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from vhdcheck import check
from vhdcheck.sources.urls import is_url
from vhdcheck.tasks.settings import TENANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from vhdcheck import Report
    from vhdcheck.tasks.settings import Limits

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CHUNK: Final = 1 << 20
_READ_AHEAD: Final = 8 << 20
_NO_WAY: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO, errno.EACCES)
"""What says that there is no such object, or none that may be read."""


class NotThere(Exception):  # an answer, not a failure
    """There is no such object, or container."""


class Taken(Exception):  # an answer, not a failure
    """There is an object of that name already."""


class Stopped(Exception):  # told to
    """The work was given up half-way: the service stops, or the task is another worker's."""


@dataclass(frozen=True, slots=True)
class Try:
    """One of the tries to store an object, for its task."""

    task: str
    number: int
    going: Callable[[], bool]

    def beside(self, number: int) -> str:
        """Name the file that a try writes before it is whole: no two tries write into one."""
        return f".{self.task}.{number}.part"


class Found(Protocol):
    """An object that is there."""

    def judge(self, name: str, limits: Limits) -> Report:
        """Check it where it is, by reading its metadata alone; with what a map of it needs."""

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Read it from its beginning."""


class Objects(Protocol):
    """The containers of one tenant."""

    def find(self, container: str, name: str) -> AbstractContextManager[Found]:
        """Find an object; NotThere if there is none."""

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Store an object whole, or not at all; NotThere without the container, Taken if there is one already."""


def of(place: str, tenant: str) -> Objects:
    """Find the containers of a tenant.

    Args:
        place: a folder, or a URL of fsspec; `{tenant}` in it stands for the tenant.
        tenant: whose.
    """
    own = place.replace(TENANT, tenant)
    return Url(own) if is_url(own) and not own.startswith("file://") else Folder(own.removeprefix("file://"))


class Folder:
    """Containers are folders in a folder."""

    def __init__(self, root: str) -> None:
        """Take the folder, which need not exist."""
        self._root = root

    @contextmanager
    def find(self, container: str, name: str) -> Iterator[_File]:
        """Open an object that is a regular file."""
        *folders, last = [container, *name.split("/")]
        with self._walk(folders) as inner, _answers():
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inner)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotThere
        with os.fdopen(descriptor, "rb") as file:
            yield _File(file)

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Write a file beside, and link it to its name when it is whole."""
        beside = try_.beside(try_.number)
        with self._walk([container]) as inner:
            for number in range(1, try_.number):
                with suppress(FileNotFoundError):
                    os.unlink(try_.beside(number), dir_fd=inner)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with os.fdopen(os.open(beside, flags, 0o644, dir_fd=inner), "wb") as part:
                    copy(file, part, try_.going)
                    flushed(part)
                os.link(beside, name, src_dir_fd=inner, dst_dir_fd=inner, follow_symlinks=False)
            except FileExistsError:
                raise Taken from None
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(beside, dir_fd=inner)
            os.fsync(inner)

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


class _File:
    """An open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def judge(self, name: str, limits: Limits) -> Report:
        return check(self._file, name=name, allocation=True, **limits)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        self._file.seek(0)
        yield self._file


class Url:
    """Containers are below a URL."""

    def __init__(self, place: str) -> None:
        """Take a URL; credentials come from the environment, as the driver wants them."""
        import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]  # 130 ms

        scheme, _, inner = place.partition("://")
        self._place = f"{scheme}://{inner.strip('/')}/" if inner else place
        self._files: Any = fsspec.filesystem(place.partition("://")[0], **_options(fsspec, place))

    @contextmanager
    def find(self, container: str, name: str) -> Iterator[_Behind]:
        """Look for an object."""
        url = self._url(f"{container}/{name}")
        self._files.invalidate_cache()
        try:
            kind = self._files.info(url)["type"]
        except (FileNotFoundError, PermissionError, ValueError):
            raise NotThere from None
        if kind != "file":
            raise NotThere
        yield _Behind(self._files, url)

    def put(self, container: str, name: str, file: BinaryIO, try_: Try) -> None:
        """Upload an object: such a store shows it when it is whole."""
        self._files.invalidate_cache()
        if not self._files.exists(self._url(container)):
            raise NotThere
        url = self._url(f"{container}/{name}")
        if self._files.exists(url):
            raise Taken
        if not try_.going():
            raise Stopped
        self._files.put_file(file.name, url)

    def _url(self, name: str) -> str:
        if re.search(r"[?#*\[\]]|::", name):  # a driver may see more in these than a name
            raise NotThere
        return self._place + name


class _Behind:
    """An object behind a URL."""

    def __init__(self, files: Any, url: str) -> None:  # fsspec has no types
        self._files, self._url = files, url

    def judge(self, name: str, limits: Limits) -> Report:
        return check(self._url, name=name, allocation=True, **limits)

    def open(self) -> AbstractContextManager[BinaryIO]:
        opened: AbstractContextManager[BinaryIO] = self._files.open(self._url, "rb", block_size=_READ_AHEAD)
        return opened


def _options(fsspec: Any, place: str) -> dict[str, Any]:
    """Take what the URL itself tells its driver: the account of Azure, the host of Swift."""
    options: dict[str, Any] = fsspec.get_filesystem_class(place.partition("://")[0])._get_kwargs_from_urls(place)  # noqa: SLF001
    return options


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
