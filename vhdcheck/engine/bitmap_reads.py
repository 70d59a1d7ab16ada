"""The sector bitmaps of blocks in use, asked for in file order, a bounded number at a time. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.blocks.bitmaps import Tally
from vhdcheck.engine.windows import Wanted
from vhdcheck.format.limits import BITMAPS_AT_ONCE, NEAR
from vhdcheck.format.span import Span
from vhdcheck.units import SECTOR

if TYPE_CHECKING:
    from collections.abc import Generator

    from vhdcheck.blocks.arrays import Entries, Places
    from vhdcheck.engine.windows import Answers
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image


def read_bitmaps(
    image: Image, table: Entries, header: DynamicHeader, disk_size: int
) -> Generator[Wanted, Answers, None]:
    """Read the sector bitmap of each used block, in file order, a bounded number at a time.

    Those that passed in a stream are taken as they were sorted then, unless by a copy that the footer contradicts.
    """
    from vhdcheck.blocks import arrays

    full = image.batmap.map if image.batmap is not None else b""
    if image.table is not None and any(room.part == "batmap_map" for room in image.table.hit_rooms):
        full = b""  # it is some block's data
    last_block = header.blocks_needed(disk_size) - 1
    last_sectors = (disk_size - last_block * header.block_size) // SECTOR
    tally = Tally(header.offset, header.block_size // SECTOR, last_block, last_sectors, full)
    if image.bitmaps is not None and image.bitmaps.basis == tally.result.basis:
        return
    length = header.bitmap_length
    near = NEAR if header.block_size <= NEAR else 0
    keys = arrays.by_place(table)
    at_once = max(1, BITMAPS_AT_ONCE // length)
    for start in range(0, len(keys), at_once):
        blocks, sectors = arrays.split(keys[start : start + at_once])
        firsts = arrays.runs(sectors, length, near)
        answers = yield _wanted_bitmaps(blocks, sectors, firsts, length)
        if None in answers and len(firsts) < len(blocks):
            near = -1  # which of a run's bitmaps is lost is not known: ask for each by itself
            firsts = arrays.runs(sectors, length, near)
            answers = yield _wanted_bitmaps(blocks, sectors, firsts, length)
        if None in answers:
            if not any(span.part == "bitmaps" for span in image.unseen):
                lost = next(number for number, data in enumerate(answers) if data is None)
                image.unseen.append(Span(int(sectors[lost]) * SECTOR, length, "bitmaps"))
            seen = [number for number, data in enumerate(answers) if data is not None]
            blocks, sectors, firsts = blocks[seen], sectors[seen], firsts[: len(seen)]
        bitmaps = arrays.cut([data for data in answers if data is not None], sectors, firsts, length)
        tally.add(blocks, sectors, bitmaps, arrays.called_full(full, blocks) if full else None)
    image.bitmaps = tally.result


def _wanted_bitmaps(blocks: Entries, sectors: Entries, firsts: Places, length: int) -> Wanted:
    """Ask for runs of bitmaps; a run of more than one is of part `bitmaps`, for what lies between them is read too."""
    if len(firsts) == len(blocks):
        places = zip(blocks.tolist(), sectors.tolist(), strict=True)
        return Wanted(tuple(Span(sector * SECTOR, length, "bitmap", block) for block, sector in places))
    begins = sectors[firsts].tolist()
    ends = [*sectors[firsts[1:] - 1].tolist(), int(sectors[-1])]
    return Wanted(
        tuple(
            Span(begin * SECTOR, (end - begin) * SECTOR + length, "bitmaps")
            for begin, end in zip(begins, ends, strict=True)
        )
    )
