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


def full_table(entries: int, *, shuffled: bool, first: int) -> bytes:
    """Write a table in which every block is in use, in order or in a random (and repeatable) one."""
    sectors = [first + index * SLOT_SECTORS for index in range(entries)]
    if shuffled:
        random.Random(entries).shuffle(sectors)
    return struct.pack(f">{entries}I", *sectors)


def full(size: int, *, shuffled: bool = False) -> Image:
    """Make a dynamic disk of `size` bytes with every block of 2 MiB in use; its data and bitmaps are holes."""
    image = dynamic(size)
    footer = image.read(-SECTOR, SECTOR)
    entries = -(-size // (2 * MIB))
    first = (image.length - SECTOR) // SECTOR
    image.put(TABLE_OFFSET, full_table(entries, shuffled=shuffled, first=first))
    return image.put((first + entries * SLOT_SECTORS) * SECTOR, footer)


def write(image: Image, path: Path) -> Path:
    """Write an image sparsely, once."""
    return path if path.exists() else image.write(path)
