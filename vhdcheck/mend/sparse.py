"""Copies of a file's bytes that keep its holes.

Where the system tells what is a hole, holes are passed over. Else the bytes are read, and zeros are left out.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from vhdcheck.errors import SourceError
from vhdcheck.format.span import Span
from vhdcheck.mend.holes import CANNOT_TELL, extents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from vhdcheck.sources.local import FileSource

PIECE: Final = 1 << 20
"""Bytes copied at a time by a system without a call for it."""
AT_ONCE: Final = 1 << 30
"""Bytes that one call copies at the most: it cannot be interrupted meanwhile."""
_NO_COPY: Final = (*CANNOT_TELL, errno.EXDEV, errno.EPERM, errno.EBADF)


def copy(reader: FileSource, out: BinaryIO, end: int) -> Iterator[int]:
    """Copy the bytes before `end` to the same places of another file; what is a hole there stays one.

    Args:
        reader: the file that is copied.
        out: a new file, as long as it will be.
        end: where to stop.

    Yields:
        How far the copy is, now and then.

    Raises:
        SourceError: a read failed, or the file became shorter.
        OSError: a write failed.
    """
    for start, stop in extents(reader.fileno(), 0, min(end, reader.size)):
        at = start
        while at < stop:
            at += _copied(reader, out, at, stop)
            yield at


def _copied(reader: FileSource, out: BinaryIO, start: int, end: int) -> int:
    """Copy from a part's beginning, and return how much; file systems that can share its blocks do."""
    try:
        done = os.copy_file_range(reader.fileno(), out.fileno(), min(end - start, AT_ONCE), start, start)
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_COPY:
            raise
        (data,) = reader.read([Span(start, min(end - start, PIECE))])
        if data.strip(b"\0"):
            out.seek(start)
            out.write(data)
        return len(data)
    if not done:
        raise SourceError(f"{reader.name}: the image became shorter while it was copied")
    return done
