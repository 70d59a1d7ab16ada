"""Write a copy with holes kept, whole or not at all.

The copy has no name until it is complete and on the disk (O_TMPFILE, where the system has it), so that whatever ends
the process leaves nothing behind; then it gets its name, or the old image's, in one step.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from vhdcheck.errors import SourceError
from vhdcheck.mend.holes import CANNOT_TELL, extents
from vhdcheck.mend.writer import write_at
from vhdcheck.sources.local import FileSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdcheck.mend.corrections import Patched

PIECE: Final = 1 << 20
"""Bytes copied at a time by a system without a call for it."""
AT_ONCE: Final = 1 << 30
"""Bytes that one call copies at the most: it cannot be interrupted meanwhile."""
_NO_COPY: Final = (*CANNOT_TELL, errno.EXDEV, errno.EPERM, errno.EBADF)


@contextmanager
def opened_for_copying(source: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> Iterator[FileSource]:
    """Open the image, once it is sure that the copy would overwrite nothing.

    Raises:
        SourceError: the image cannot be opened, or `out` exists.
    """
    reader = FileSource(source)
    try:
        if out is not None and os.path.lexists(out):
            is_same = os.path.exists(out) and os.path.samefile(source, out)  # noqa: PTH110, PTH121 (paths as given)
            what = "the image itself; --in-place mends that" if is_same else "it exists, and nothing is overwritten"
            raise SourceError(f"{os.fsdecode(out)}: {what}")
        yield reader
    finally:
        reader.close()


def write_new(reader: FileSource, out: str | os.PathLike[str], fill: Callable[[int], None]) -> None:
    """Write the mended copy under a new name, with the image's permissions.

    Args:
        reader: the image.
        out: the new name.
        fill: writes into a new file, by its descriptor, and proves what it wrote.

    Raises:
        SourceError: it cannot be written, the name is taken meanwhile, or the image changed.
    """
    path = Path(os.fsdecode(out))
    with _told(path), _Unnamed(path.parent) as copy:
        fill(copy.descriptor)
        os.fchmod(copy.descriptor, os.fstat(reader.fileno()).st_mode & 0o777)
        os.fsync(copy.descriptor)
        reader.verify()
        copy.name(path)
        _sync_folder(path.parent)


def write_over(reader: FileSource, source: str | os.PathLike[str], fill: Callable[[int], None]) -> None:
    """Put the mended copy in the image's place; a symbolic link to it stays.

    Args:
        reader: the image.
        source: its name.
        fill: writes into a new file, by its descriptor, and proves what it wrote.

    Raises:
        SourceError: it cannot be written, the image changed, is a device, or has other names, which would keep the old.
    """
    path = Path(os.path.realpath(os.fsdecode(source)))
    state = os.fstat(reader.fileno())
    with _told(path):
        if not path.is_file():
            raise SourceError(f"{path}: not a regular file, and nothing else is mended in place")
        if state.st_nlink > 1:
            raise SourceError(
                f"{path}: the file has {state.st_nlink} names (hard links); the others would keep the old image"
            )
        with _Unnamed(path.parent) as copy:
            fill(copy.descriptor)
            with suppress(PermissionError):  # only root gives files away
                os.fchown(copy.descriptor, state.st_uid, state.st_gid)
            os.fchmod(copy.descriptor, state.st_mode & 0o7777)
            os.fsync(copy.descriptor)
            reader.verify()
            if not os.path.samestat(state, path.stat()):
                raise SourceError(f"{path}: another file took the image's place meanwhile")
            beside = path.with_name(f".{secrets.token_hex(8)}.mended")
            copy.name(beside)
            try:
                beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what the system says into a SourceError that names the file."""
    try:
        yield
    except SourceError:
        raise
    except FileExistsError as error:
        raise SourceError(f"{path}: it exists, and nothing is overwritten") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot write: {error.strerror or error}") from error


class _Unnamed:
    """A new file without a name in a folder; or, where the system has no such files, with one that goes at the end."""

    def __init__(self, folder: Path) -> None:
        self.descriptor = -1
        self._folder = folder
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        if hasattr(os, "O_TMPFILE"):
            with suppress(OSError):  # not every file system has them
                self.descriptor = os.open(self._folder, flags | os.O_TMPFILE, 0o600)
                return self
        self._temporary = self._folder / f".{secrets.token_hex(8)}.mending"
        self.descriptor = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def name(self, path: Path) -> None:
        """Give it its name, never another file's."""
        if self._temporary is not None:
            os.link(self._temporary, path)
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:  # with a folder's descriptor Python calls linkat, which follows the link
            os.link(f"/proc/self/fd/{self.descriptor}", path.name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)


def copy_patched(out: int, reader: FileSource, patched: Patched) -> None:
    """Copy what the image has, leave its holes, and lay the patches over."""
    kept = min(reader.size, patched.size)
    os.ftruncate(out, patched.size)
    for start, end in extents(reader.fileno(), 0, kept):
        _copy(reader.fileno(), out, start, end)
    for offset, data in patched.patches.items():
        write_at(out, data, offset)


def _copy(source: int, out: int, start: int, end: int) -> None:
    """Copy a part; file systems that can share its blocks do."""
    while start < end:
        try:
            done = os.copy_file_range(source, out, min(end - start, AT_ONCE), start, start)
        except (OSError, AttributeError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_COPY:
                raise
            done = _copy_piece(source, out, start, min(end - start, PIECE))
        if not done:
            raise SourceError("the image became shorter while it was copied")
        start += done


def _copy_piece(source: int, out: int, start: int, length: int) -> int:
    """Copy a piece by hand; zeros become a hole."""
    data = os.pread(source, length, start)
    if data.strip(b"\0"):
        write_at(out, data, start)
    return len(data)


def _sync_folder(folder: Path) -> None:
    """Make a new name last, where folders can be synchronised."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
