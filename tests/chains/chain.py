"""Chains by the second writer, with the data that a guest sees at each level."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NamedTuple

from fixtures.writer import KIB, MIB, SECTOR, Locator, differencing, dynamic, fixed

if TYPE_CHECKING:
    from pathlib import Path

BLOCKS = (16 * KIB, 64 * KIB, 512 * KIB, MIB, 2 * MIB)
SIZES = (4 * MIB, 5 * MIB + 3 * SECTOR, 7 * MIB + 8 * SECTOR)  # a last block in part, and whole ones


class Chain(NamedTuple):
    """Files, the base first, and what the last of them shows."""

    paths: list[Path]
    data: bytes


def identity(number: int) -> bytes:
    """Make a unique ID."""
    return b"\x5e" * 12 + number.to_bytes(4, "big")


def written(folder: Path, depth: int, seed: int, *, whole_bytes: bool = False) -> Chain:
    """Write a chain of a base and `depth` children, each of its own block size, with random blocks and bits.

    Args:
        folder: where.
        depth: differencing disks.
        seed: of what is random.
        whole_bytes: set the bits of a bitmap in eights only.
    """
    chance = random.Random(seed)
    size = chance.choice(SIZES)
    seen, paths = bytearray(size), []
    for level in range(depth + 1):
        block_size = chance.choice(BLOCKS)
        blocks = chance.sample(range(-(-size // block_size)), chance.randint(0, -(-size // block_size)))
        content, bitmap = {}, {}
        for block in blocks:
            sectors = block_size // SECTOR
            content[block] = chance.randbytes(block_size)
            bitmap[block] = _bits(chance, sectors // 8, whole_bytes=whole_bytes) if level else b"\xff" * (sectors // 8)
            for sector in range(sectors):
                at = block * block_size + sector * SECTOR
                if bitmap[block][sector // 8] >> (7 - sector % 8) & 1 and at < size:
                    seen[at : at + SECTOR] = content[block][sector * SECTOR : (sector + 1) * SECTOR]
        options: dict[str, Any] = {"blocks": blocks, "block_size": block_size, "content": content, "bitmap": bitmap}
        if level:
            name = f"{level - 1}.vhd"
            options |= {"parent_id": identity(level), "parent_timestamp": 0}
            options |= {"parent_name": name, "locators": [Locator(b"W2ru", f".\\{name}")]}
            image = differencing(size, unique_id=identity(level + 1), **options)
        elif chance.random() < 0.3:
            seen[:] = chance.randbytes(size)
            image = fixed(size, content=bytes(seen), unique_id=identity(1))
        else:
            image = dynamic(size, unique_id=identity(1), **options)
        folder.mkdir(exist_ok=True, parents=True)
        paths.append(image.write(folder / f"{level}.vhd"))
    return Chain(paths, bytes(seen))


def _bits(chance: random.Random, length: int, *, whole_bytes: bool) -> bytes:
    if chance.random() < 0.3:
        return b"\xff" * length
    return bytes(chance.choices([0, 255], k=length)) if whole_bytes else chance.randbytes(length)
