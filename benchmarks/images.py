"""Images to measure on: sparse, valid for every reader, of any size."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

from fixtures.writer import MIB, SECTOR, Image, dynamic

if TYPE_CHECKING:
    from pathlib import Path

TABLE_OFFSET = 1536
SLOT_SECTORS = 4097


def full_table(entries: int, *, shuffled: bool, first: int, slot: int = SLOT_SECTORS) -> bytes:
    """Write a table in which every block is in use, in order or in a random (and repeatable) one."""
    sectors = [first + index * slot for index in range(entries)]
    if shuffled:
        random.Random(entries).shuffle(sectors)
    return struct.pack(f">{entries}I", *sectors)


def full(size: int, *, shuffled: bool = False, block: int = 2 * MIB) -> Image:
    """Make a dynamic disk of `size` bytes with every block in use; its data and bitmaps are holes.

    `block` is 256 KiB or more, up to 2 MiB: the bitmap takes one sector.
    """
    image = dynamic(size, block_size=block)
    footer = image.read(-SECTOR, SECTOR)
    entries, slot = -(-size // block), 1 + block // SECTOR
    first = (image.length - SECTOR) // SECTOR
    image.put(TABLE_OFFSET, full_table(entries, shuffled=shuffled, first=first, slot=slot))
    return image.put((first + entries * slot) * SECTOR, footer)


def write(image: Image, path: Path) -> Path:
    """Write an image sparsely, once."""
    return path if path.exists() else image.write(path)
