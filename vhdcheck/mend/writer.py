"""Images written from nothing but a disk's size and data: fixed ones, and dynamic ones in the plainest layout.

    dynamic:  footer copy · header · table, padded with 0xff · block · block · ... · footer
    fixed:    data · footer

Blocks have 2 MiB, lie in the order of the disk, one directly behind the other, and all bits of their bitmaps are set:
that is what Virtual PC and qemu write, and every reader knows it. A block of zeros is left out.

The creator application decides which size others see, and `README.md` here says why it is `win `. The structures are
written last, so that a file whose writing was interrupted is no image.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vhdcheck.blocks.facts import UNUSED
from vhdcheck.format.geometry import geometry
from vhdcheck.format.structures import BLOCK_SIZE, COOKIE, FIXED, FORMAT_VERSION, HEADER_COOKIE, NO_OFFSET
from vhdcheck.mend.fields import FOOTER_SUM, HEADER_SUM, signed
from vhdcheck.mend.guest import WINDOW, windows
from vhdcheck.units import SECTOR, round_up

if TYPE_CHECKING:
    from concurrent.futures import Future

    from vhdcheck.mend.digest import Digest, Seen
    from vhdcheck.mend.guest import Disk, Window

CREATOR: Final = b"win "
CREATOR_VERSION: Final = 0x000A_0000
CREATOR_HOST: Final = b"Wi2k"
MAX_SIZE: Final = 2040 << 30
"""Bytes of the largest disk, of either type: qemu opens none that is larger."""
HEADER_AT: Final = 512
TABLE_AT: Final = 1536
BITMAP: Final = b"\xff" * SECTOR
"""The sector bitmap of a block of 2 MiB, all sectors marked."""
SLOT: Final = len(BITMAP) + BLOCK_SIZE
_FOOTER: Final = struct.Struct(">8sIIQI4sI4sQQHBBII16s")
_HEADER: Final = struct.Struct(">8sQQIII")


@dataclass(frozen=True, slots=True)
class Identity:
    """What of an image is its own, and not given by its disk."""

    unique_id: bytes
    timestamp: int
    """Seconds since 2000."""


def footer(size: int, disk_type: int, identity: Identity) -> bytes:
    """Write the footer of a fixed or dynamic disk of `size` bytes."""
    raw = _FOOTER.pack(
        COOKIE,
        2,
        FORMAT_VERSION,
        NO_OFFSET if disk_type == FIXED else HEADER_AT,
        identity.timestamp,
        CREATOR,
        CREATOR_VERSION,
        CREATOR_HOST,
        size,
        size,
        *geometry(size),
        disk_type,
        0,
        identity.unique_id,
    )
    return signed(raw.ljust(SECTOR, b"\0"), FOOTER_SUM)


def header(size: int) -> bytes:
    """Write the dynamic header for a disk of `size` bytes."""
    raw = _HEADER.pack(HEADER_COOKIE, NO_OFFSET, TABLE_AT, FORMAT_VERSION, blocks(size), BLOCK_SIZE)
    return signed(raw.ljust(2 * SECTOR, b"\0"), HEADER_SUM)


def blocks(size: int) -> int:
    """Count the blocks of a disk."""
    return -(-size // BLOCK_SIZE)


def first_block(size: int) -> int:
    """Return where the blocks begin, in bytes."""
    return TABLE_AT + round_up(4 * blocks(size), SECTOR)


def length(size: int, disk_type: int, used: int) -> int:
    """Return how long a file is, in bytes, with so many blocks in use."""
    return size + SECTOR if disk_type == FIXED else first_block(size) + used * SLOT + SECTOR


def structures(size: int, disk_type: int, identity: Identity, used: list[int] | range) -> dict[int, bytes]:
    """Write all of an image but its blocks, as offset -> bytes.

    Args:
        size: of the disk.
        disk_type: fixed or dynamic.
        identity: of the image.
        used: the blocks in use, in order.
    """
    end = footer(size, disk_type, identity)
    at_end = length(size, disk_type, len(used)) - SECTOR
    if disk_type == FIXED:
        return {at_end: end}
    table = array("I", [UNUSED]) * (round_up(4 * blocks(size), SECTOR) // 4)
    for place, block in enumerate(used):
        table[block] = (first_block(size) + place * SLOT) // SECTOR
    return {0: end, HEADER_AT: header(size), TABLE_AT: _big_endian(table), at_end: end}


def _big_endian(table: array[int]) -> bytes:
    if struct.pack("=H", 1) == struct.pack("<H", 1):
        table.byteswap()
    return table.tobytes()


def write(
    descriptor: int, disk: Disk, disk_type: int, identity: Identity, digest: Digest, *, seen: Seen | None = None
) -> int:
    """Write an image into an empty file.

    Args:
        descriptor: the file's.
        disk: what it is to hold.
        disk_type: fixed or dynamic.
        identity: of the image.
        digest: is told of the data.
        seen: is told now and then how far the disk is written, in bytes.

    Returns:
        How long the file is.

    Raises:
        SourceError: the disk cannot be read.
        OSError: the file cannot be written.
    """
    used: list[int] = []
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for window in windows(disk, buffers=digest.buffers()):
            place = window.number * WINDOW if disk_type == FIXED else first_block(disk.size) + len(used) * SLOT
            writing = thread.submit(_write_window, descriptor, window, place, bitmap=disk_type != FIXED)
            digest.add(window, writing=writing)
            used.append(window.number)
            pending.append(writing)
            if len(pending) > 1:
                pending.popleft().result()  # raises what it raised
            if seen is not None:
                seen(window.number * WINDOW)
        for writing in pending:
            writing.result()
    whole = length(disk.size, disk_type, len(used))
    os.ftruncate(descriptor, whole)
    for at, raw in structures(disk.size, disk_type, identity, used).items():
        write_at(descriptor, raw, at)
    return whole


def _write_window(descriptor: int, window: Window, place: int, *, bitmap: bool) -> None:
    """Write a window to its place, behind a bitmap or without one; what it has not stays a hole."""
    data = memoryview(window.data)
    if not bitmap:
        write_at(descriptor, data[window.first : window.end], place + window.first)
    elif window.first:
        write_at(descriptor, BITMAP, place)
        write_at(descriptor, data[window.first : window.end], place + SECTOR + window.first)
    else:
        write_both(descriptor, BITMAP, data[: window.end], place)


def write_both(descriptor: int, first: bytes, second: memoryview, offset: int) -> None:
    """Write one behind the other, by one call where the system has one for that."""
    if hasattr(os, "pwritev"):
        done = os.pwritev(descriptor, [first, second], offset)
        if done >= len(first):
            write_at(descriptor, second[done - len(first) :], offset + done)
            return
    write_at(descriptor, first, offset)
    write_at(descriptor, second, offset + len(first))


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of some bytes at a place of a file."""
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            done = os.pwrite(descriptor, view, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            done = os.write(descriptor, view)
        view, offset = view[done:], offset + done
