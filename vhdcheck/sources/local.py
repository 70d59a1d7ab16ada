"""Drivers: each answers a plan's spans from a file, a buffer, or an open file object.

All of them read by absolute offset, and answer with as many bytes as were asked for or raise SourceError.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, Self, cast

from vhdcheck.errors import SourceChanged, SourceError, UsageError
from vhdcheck.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from vhdcheck.format.span import Span
    from vhdcheck.sources.source import Source

PREFETCH: Final = 8
"""From so many spans on the kernel is told first, so that it reads them in parallel (cold: five times faster)."""

PAGE: Final = 4096
"""What the kernel reads at the least: spans no further apart are told of as one."""

FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
"""How a file is opened: as bytes, not waited for, and for nobody else."""

A_FOLDER: Final = "a directory, not a regular file or block device"
A_DEVICE: Final = "a device, a pipe or a socket, not a regular file or block device"

Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def opened(source: Readable, name: str | None = None) -> AbstractContextManager[Source]:
    """Open whatever the caller has, for a context that closes what was opened here, and only that.

    Raises:
        SourceError: it cannot be opened, or is neither a regular file nor a block device.
        UsageError: it is nothing that can be read.
    """
    if isinstance(source, (str, os.PathLike)):
        return FileSource(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return nullcontext(BufferSource(source, name or "<bytes>"))
    if hasattr(source, "read") and hasattr(source, "seek"):
        return ObjectSource(source, name)
    raise UsageError(f"neither a path, nor bytes, nor an open binary file: {type(source).__name__}")


class FileSource:
    """A file by its path, read by `pread` on one descriptor."""

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Open a regular file or a block device; never wait for a FIFO's writer."""
        # A URL that is none is opened as a file, and may hold a secret all the same.
        self.name = redacted(name or (path if isinstance(path, str) else os.fsdecode(path)))
        try:
            self._descriptor = os.open(path, FLAGS)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                error.filename = self.name
            reason = A_DEVICE if getattr(error, "errno", None) == errno.ENXIO else _reason(error)
            raise SourceError(f"{self.name}: {reason}") from error
        try:
            self._identity = self._look()
        except BaseException:
            self.close()
            raise
        self.size = self._identity[0]

    def _look(self) -> tuple[int, int]:
        """Return length and time of change."""
        state = os.fstat(self._descriptor)
        if stat.S_ISREG(state.st_mode):
            return state.st_size, state.st_mtime_ns
        if stat.S_ISBLK(state.st_mode):
            return os.lseek(self._descriptor, 0, os.SEEK_END), 0
        kind = A_FOLDER if stat.S_ISDIR(state.st_mode) else A_DEVICE
        raise SourceError(f"{self.name}: {kind}")

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes, after telling the kernel about many of them."""
        if len(spans) >= PREFETCH and hasattr(os, "posix_fadvise"):
            start = end = spans[0].offset
            for span in spans:
                if not 0 <= span.offset - end <= PAGE:
                    os.posix_fadvise(self._descriptor, start, end - start, os.POSIX_FADV_WILLNEED)
                    start = span.offset
                end = span.offset + span.length
            os.posix_fadvise(self._descriptor, start, end - start, os.POSIX_FADV_WILLNEED)
        return [self._read(span.offset, span.length) for span in spans]

    def _read(self, offset: int, length: int) -> bytes:
        try:
            data = _pread(self._descriptor, length, offset)
            while len(data) < length and (more := _pread(self._descriptor, length - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise SourceError(f"{self.name}: {_reason(error)} at 0x{offset:x}") from error
        return data if len(data) == length else _shorter(self.name, offset + len(data))

    def fileno(self) -> int:
        """Return the descriptor, for what wants the file's bytes."""
        return self._descriptor

    def verify(self) -> None:
        """Compare length and time of change with those at the beginning."""
        if self._look() != self._identity:
            raise SourceChanged(f"{self.name}: the file changed while it was checked")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BufferSource:
    """An image in memory."""

    def __init__(self, buffer: bytes | bytearray | memoryview, name: str) -> None:
        """Take a buffer; it is not copied as a whole."""
        self.name = redacted(name)
        view = memoryview(buffer)
        self._view = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
        self.size = len(self._view)

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        return [bytes(self._view[span.offset : span.end]) for span in spans]

    def verify(self) -> None:
        """Do nothing: the caller holds the buffer."""


class ObjectSource:
    """An open binary file object that can seek; its position is put back."""

    def __init__(self, file: BinaryIO, name: str | None = None) -> None:
        """Learn the length."""
        self._file = file
        self.name = redacted(name or str(getattr(file, "name", "<file>")))
        if isinstance(cast("object", file), io.TextIOBase):
            raise UsageError(f"{self.name}: the file is open for text; open it in binary mode")
        try:
            self._position = file.tell()
            self.size = file.seek(0, io.SEEK_END)
            file.seek(self._position)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name}: {_reason(error)}") from error

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        """Return each span's bytes."""
        try:
            return [self._read(span.offset, span.length) for span in spans]
        except SourceError:
            raise
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name}: {_reason(error)}") from error

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(length) or b""
        while len(data) < length and (more := self._file.read(length - len(data))):
            data += more
        return data if len(data) == length else _shorter(self.name, offset + len(data))

    def verify(self) -> None:
        """Compare the length with that at the beginning."""
        try:
            size = self._file.seek(0, io.SEEK_END)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.name}: {_reason(error)}") from error
        if size != self.size:
            raise SourceChanged(f"{self.name}: the file changed while it was checked")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Put the position back to where the caller had it."""
        with suppress(OSError, ValueError):
            self._file.seek(self._position)


if sys.platform == "win32":

    def _pread(descriptor: int, length: int, offset: int) -> bytes:
        """Read at an offset, where the system has no call for it."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)
else:
    _pread = os.pread


def _shorter(name: str, end: int) -> NoReturn:
    raise SourceChanged(f"{name}: the file became shorter while it was checked (0x{end:x})")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
