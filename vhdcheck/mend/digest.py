"""SHA-256 of a guest's data, computed beside the reading of it.

Of a disk with few zeros it is what `qemu-img convert -O raw image.vhd /dev/stdout | sha256sum` prints. A disk of 2 TiB
with next to nothing on it would take half an hour that way, so that of a disk with many zeros only what is not zero is
summed: each window of 2 MiB that is not all zeros, in order, its number before it, as 8 bytes, most significant first,
and the last one filled up with zeros. What that says of the data is the same, wherever the disk ends.

One thread reads, one writes and one sums: Python lets go of its lock meanwhile. The windows go from one to the other in
a few buffers, so that none can run away from the others.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Self

from vhdcheck.mend.guest import WINDOW, ZEROS, extents_of, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from vhdcheck.mend.guest import Disk, Window

    Seen = Callable[[int], None]

BUFFERS: Final = 4
MANY_ZEROS: Final = 1 << 30
"""Bytes of zeros that are summed whatever the data: less than a second with a processor that has SHA."""


def is_whole(disk: Disk) -> bool:
    """Say whether all of a disk is summed: where it has no more zeros than data, or few. Told by metadata alone."""
    if disk.size <= MANY_ZEROS:
        return True
    data = 0
    for length in extents_of(disk):
        data += length
        if disk.size - data <= max(data, MANY_ZEROS):
            return True
    return False


class Digest:
    """The sum, as it grows."""

    def __init__(self, size: int, *, whole: bool) -> None:
        """Begin.

        Args:
            size: of the disk.
            whole: sum the zeros too.
        """
        self._sum = hashlib.sha256()
        self._size, self._whole, self._next = size, whole, 0
        self._thread = ThreadPoolExecutor(1)
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(bytearray(WINDOW))

    def buffers(self) -> Iterator[bytearray]:
        """Yield buffers that nobody needs any more, for `windows`."""
        while True:
            yield self._free.get()

    def add(self, window: Window, *, writing: Future[None] | None = None) -> None:
        """Take a window; its buffer belongs to the sum and to who writes it until `buffers` yields it again."""
        self._thread.submit(self._add, window.number, window.data, writing)

    def _add(self, number: int, data: bytearray, writing: Future[None] | None) -> None:
        self._update(number, data)
        if writing is not None:
            wait([writing])
        self._free.put(data)

    def _update(self, number: int, data: bytearray) -> None:
        if self._whole:
            self._zeros(number)
            self._sum.update(memoryview(data)[: self._size - number * WINDOW])
            self._next = number + 1
        else:
            self._sum.update(number.to_bytes(8, "big"))
            self._sum.update(data)

    def _zeros(self, number: int) -> None:
        """Sum the zeros before a window."""
        for skipped in range(self._next, number):
            self._sum.update(memoryview(ZEROS)[: self._size - skipped * WINDOW])

    def finished(self) -> str:
        """Wait for the sum, and return it in hexadecimal."""
        self._thread.shutdown()
        if self._whole:
            self._zeros(-(-self._size // WINDOW))
        return self._sum.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)


def digest_of(disk: Disk, *, whole: bool, seen: Seen | None = None) -> str:
    """Sum a disk.

    Args:
        disk: the disk.
        whole: sum the zeros too.
        seen: is told now and then how far the disk is read, in bytes.

    Raises:
        SourceError: it cannot be read.
    """
    with Digest(disk.size, whole=whole) as digest:
        for window in windows(disk, buffers=digest.buffers()):
            digest.add(window)
            if seen is not None:
                seen(window.number * WINDOW)
        return digest.finished()
