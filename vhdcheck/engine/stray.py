"""Where a footer may be that does not end its file. No I/O: these are guesses, and the plan looks at each.

Someone enlarged a fixed disk's file as if it were a raw disk (`qemu-img resize -f raw`, `truncate`), or a build
appended something to it. The footer still stands at the end of the old disk, and the size that it states is its own
offset. So every guess is a size that the disk may have had:

* what its partition table says: where GPT has its backup, where the last partition ends, and the sizes that people and
  tools round that up to;
* what is left when a power of two from 64 KiB on is taken off the file's end;
* whole MiB, GiB, ... of the file, with a unit so large that there are few of them, also as qemu-img rounds them up.

The number of guesses is bounded, and each costs a sector.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from vhdcheck.format.geometry import chs_size_up
from vhdcheck.format.layout import FOOTER_SIZE
from vhdcheck.format.limits import SEARCH
from vhdcheck.units import GIB, MIB, SECTOR, round_up

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST: Final = 192
"""Sectors looked at, at the most."""
_WHOLE: Final = 64
"""Multiples of a unit that are tried."""
_AFTER: Final = 4
"""Whole MiB behind the last partition that are tried."""


def guesses(head: bytes, size: int) -> list[int]:
    """Return offsets at which a footer may stand, ascending.

    Args:
        head: the first 4 KiB of the file.
        size: its length; what lies in its last 64 KiB is searched anyway.
    """
    found: dict[int, None] = {}
    for at in (*_by_partitions(head), *_by_what_was_appended(size), *_whole(size)):
        if 0 < at <= size - SEARCH and at % SECTOR == 0:
            found[at] = None
        if len(found) == MOST:
            break
    return sorted(found)


def _by_partitions(head: bytes) -> Iterator[int]:
    """Yield the sizes of a disk that its partition table allows for."""
    ends = [end for end in partition_ends(head) if end]
    for end in ends:
        yield end
        whole = round_up(end, MIB)
        for at in (*range(whole, whole + _AFTER * MIB, MIB), round_up(end, GIB)):
            yield at
            yield chs_size_up(at)


def partition_ends(head: bytes) -> tuple[int, ...]:
    """Return where a disk must end at the least by its partition table: by GPT, else by MBR; in bytes."""
    if head.startswith(b"EFI PART", SECTOR):
        (backup,) = struct.unpack_from("<Q", head, SECTOR + 32)
        (last_usable,) = struct.unpack_from("<Q", head, SECTOR + 48)
        return ((backup + 1) * SECTOR, (last_usable + 1) * SECTOR)
    if head[510:512] != b"\x55\xaa":
        return ()
    entries = [struct.unpack_from("<II", head, 446 + 16 * index + 8) for index in range(4)]
    return (max((first + count) * SECTOR for first, count in entries),)


def _by_what_was_appended(size: int) -> Iterator[int]:
    appended = SEARCH
    while appended < size:
        yield size - FOOTER_SIZE - appended
        appended *= 2


def _whole(size: int) -> Iterator[int]:
    unit = MIB
    while size // unit > _WHOLE:
        unit *= 2
    for at in range(unit, size, unit):
        yield at
        yield chs_size_up(at)
