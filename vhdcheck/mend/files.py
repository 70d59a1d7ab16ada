"""A new file that gets its name when it is whole and on the disk, or not at all.

    with replacing("out.vhd", source="in.vhd") as new:
        new.file.write(...)
        new.commit()

Without `commit` nothing is left, whatever ended the block. How a file without its name is kept from being found: see
`temporary.py`.

No name is ever taken from another file. A hard link gives the name where the file system has such links; the system
then refuses a name that exists. Elsewhere (FAT, exFAT, some servers) an empty file is made under the name, which the
system refuses too where the name exists, and the whole file replaces it at once. Of two runs that write to the same
name one wins, and the other is told that the name exists.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from vhdcheck.errors import SourceError, UsageError
from vhdcheck.mend.temporary import can_hold, give_name, mark, named, sweep, unnamed
from vhdcheck.redaction import redacted
from vhdcheck.sources.urls import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_BROKEN: Final = (errno.EIO, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS)
"""What a folder reports that could not be written; anything else says that folders cannot be synchronised there."""


@contextmanager
def replacing(
    out: str | os.PathLike[str], *, source: str | os.PathLike[str], like: int | None = None
) -> Iterator[NewFile]:
    """Open a new file for the copy of an image.

    Args:
        out: its name, which nothing has yet; or a folder, where it gets the image's name.
        source: the image, which is never overwritten.
        like: a descriptor of the image, whose permissions the new file gets; by default only its owner may read it.

    Yields:
        The file, at its beginning. `OSError`s of the block are taken for those of writing; what the block's reading
        raises should be a `SourceError` already.

    Raises:
        SourceError: the name is taken, or the file cannot be written.
    """
    path = output_path(source, out)
    with told(path):
        refuse_existing(path, source)
        new = NewFile(path)
        try:
            if like is not None and hasattr(os, "fchmod"):
                with suppress(OSError):  # FAT has none, and says so in several ways
                    os.fchmod(new.file.fileno(), os.fstat(like).st_mode & 0o777)
            yield new
        finally:
            new.close()


def _sweep(path: Path) -> None:
    """Remove what killed runs left, and the empty file that took the name for one of them (`_take_name`)."""
    if any(name.startswith(mark(path.name)) for name in sweep(path.parent)) and os.path.lexists(path):
        state = path.lstat()
        if stat.S_ISREG(state.st_mode) and state.st_size == 0:
            path.unlink()


def refuse_urls(source: object, out: object) -> None:
    """Refuse an image or a copy on a server: both are files of this machine.

    Raises:
        UsageError: one of them is a URL.
    """
    if is_url(source):
        raise UsageError(f"{redacted(source)}: only a file of this machine can be mended: download the image first")
    if is_url(out):
        raise UsageError(f"{redacted(out)}: the copy is a file of this machine: upload it afterwards")


def output_path(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> Path:
    """Return the name of the copy: in a folder, the image's own.

    Raises:
        SourceError: there is no such folder.
    """
    text = os.fsdecode(out)
    path = Path(text)
    is_folder = path.is_dir()
    if not is_folder and (not text or text.endswith(("/", os.sep))):
        raise SourceError(f"{text or 'the name of the copy is empty'}: no such folder")
    return path / Path(os.fsdecode(source)).name if is_folder else path


def refuse_existing(path: Path, source: str | os.PathLike[str]) -> None:
    """Refuse a name that something has, once what killed runs left there is gone.

    Raises:
        SourceError: something has it, or it is the image.
    """
    with told(path):
        _sweep(path)
    if os.path.lexists(path):
        is_same = path.exists() and path.samefile(source)
        what = "it is the image itself; --in-place mends that" if is_same else "it exists, and nothing is overwritten"
        raise SourceError(f"{path}: {what}")


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system says into a SourceError that names the file."""
    try:
        yield
    except SourceError:
        raise
    except FileExistsError as error:
        raise SourceError(f"{path}: it exists, and nothing is overwritten") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror or error}") from error


class NewFile:
    """A file that is being written, and has no name yet that anybody would look for."""

    def __init__(self, path: Path) -> None:
        """Open it beside `path`."""
        self.path = path
        """The name that it gets."""
        descriptor = unnamed(path.parent)
        self.temporary: Path | None = None
        """Its name until then; None where it has none."""
        if descriptor is None:
            descriptor, self.temporary = named(path)
        self.file: BinaryIO = os.fdopen(descriptor, "r+b")
        """The file: binary, for reading and writing, at its beginning. What is left out is a hole."""

    def commit(self) -> None:
        """Bring the file to the disk, give it its name, and bring the name to the disk; then it is closed.

        Raises:
            SourceError: one of these failed, or the name is taken meanwhile.
        """
        with told(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            if self.temporary is not None and not can_hold():
                self.file.close()  # Windows does not rename a file that is open
            self._give_name()
        self.close()

    def _give_name(self) -> None:
        if self.temporary is None:
            give_name(self.file.fileno(), self.path)
        else:
            _take_name(self.temporary, self.path)
        try:
            sync_folder(self.path.parent)
        except OSError:
            self.path.unlink()
            raise

    def close(self) -> None:
        """Close the file; without `commit` nothing is left of it."""
        with suppress(OSError):  # what did not fit does not fit now either
            self.file.close()
        if self.temporary is not None:
            with suppress(OSError):  # the next run sweeps it
                self.temporary.unlink(missing_ok=True)


def _take_name(temporary: Path, path: Path) -> None:
    """Give a file with a temporary name its own, never another file's."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # no hard links: FAT, exFAT, some servers
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            temporary.replace(path)
        except BaseException:
            path.unlink()
            raise


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where folders can be synchronised."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders; and who may write into one need not be able to read it
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _BROKEN:
            raise
    finally:
        os.close(descriptor)
