"""Which parts of a file are holes, where the system can tell."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

CANNOT_TELL: Final = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
WORTH_ASKING: Final = 64 << 10
"""Bytes below which the two calls cost more than to read zeros."""


def data_extents(source: Any, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the parts of a range of a file that are not holes; all of it where nothing can tell."""
    descriptor = getattr(source, "fileno", None)
    if descriptor is None or length < WORTH_ASKING:
        yield offset, offset + length
        return
    yield from extents(descriptor(), offset, offset + length)


def extents(descriptor: int, start: int, behind: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the parts of an open file that are not holes, between two places."""
    while start < behind:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE) if start < behind else behind
        except (OSError, AttributeError) as error:
            if getattr(error, "errno", None) == errno.ENXIO:  # the rest is a hole
                return
            if isinstance(error, OSError) and error.errno not in CANNOT_TELL:
                raise
            end = behind
        if start < behind:
            yield start, min(end, behind)
        start = end
