"""VHD3xx: the block allocation table, and where blocks and metadata lie."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from vhdcheck.format.span import Span
from vhdcheck.rules.parent import is_child
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import SECTOR, count, exact, round_up
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.blocks.facts import Blocks, Hits, Table
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image


def _header(image: Image) -> DynamicHeader:
    assert image.header is not None  # a table is read by a header's word
    return image.header


def _entry(image: Image, block: int) -> Span:
    return Span(_header(image).table_offset + 4 * block, 4, "table", block)


def examples(hits: Hits | Blocks) -> str:
    """Write the first few blocks of a defect: `block 3 at 0x400, block 9 at 0x200a00, ... (12 in all)`."""
    named = ", ".join(f"block {block} at 0x{sector * SECTOR:x}" for block, sector in hits.examples)
    return named + (f", ... ({hits.count} in all)" if hits.count > len(hits.examples) else "")


def _fault(image: Image, hits: Hits, message: str, expected: str, fix: str = "") -> Fault:
    """Report a defect of several entries at once, at the first of them."""
    return Fault(
        message,
        _entry(image, hits.examples[0][0]),
        expected=expected,
        found=examples(hits),
        fix=fix,
        related=tuple(_entry(image, block) for block, _ in hits.examples[1:]),
    )


def has_table(image: Image) -> bool:
    """Say whether an image's table could be read."""
    return image.table is not None


def table_of(image: Image) -> Table:
    """Return the table of an image that is known to have one."""
    assert image.table is not None
    return image.table


@rule(
    "VHD301",
    "metadata-overlap",
    part="image",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format",
)
def metadata_overlap(image: Image) -> list[Fault]:
    """Two structures of the image share bytes.

    Checks: the footer, its copy, the dynamic header, the table, the batmap's header and the texts of the parent
        locators are disjoint. The batmap has VHD411 of its own, and the rooms of parent locators have VHD518.
    Matters: writing one destroyed the other, so what one of them says is not what was meant.
    Fix: ask for the image again, made by another program.
    """
    if not image.vital:
        return []
    regions = list(image.vital)
    if image.footer is not None and image.footer is not image.copy:
        regions.append(Span(image.footer.offset, len(image.footer.raw), "footer"))
    regions.sort(key=attrgetter("offset"))
    faults, furthest, end = [], regions[0], 0
    for region in regions:
        if region.offset < end:
            faults.append(
                Fault(
                    f"the {region.words} begins inside the {furthest.words}",
                    region,
                    expected=f"from 0x{end:x} on",
                    found=f"0x{region.offset:x}",
                    related=(furthest,),
                )
            )
        if region.offset + region.length > end:
            furthest, end = region, region.end
    return faults


@rule(
    "VHD302",
    "block-in-metadata",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
)
def block_in_metadata(table: Table, image: Image) -> Fault | None:
    """A block lies over the image's own structures.

    Checks: no block of the disk shares bytes with the footer's copy, the header, the table, the batmap's header or the
        text of a parent locator.
    Matters: the guest reads metadata as its data, and a write to the block destroys the image. qemu, libvhdi and
        dissect read on without a word. A sector of the table that was overwritten with zeros looks like this.
    Fix: ask for the image again: nothing says where these blocks really are.
    """
    if table.in_metadata.count:
        many = count(table.in_metadata.count, "block")
        where = " and the ".join(region.words for region in table.hit_regions)
        floor = max(span.end for span in image.vital)
        return _fault(image, table.in_metadata, f"{many} over the {where}", f"0x{floor:x} or higher")
    return None


@rule(
    "VHD303",
    "block-past-end",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
)
def block_past_end(table: Table, image: Image) -> list[Fault]:
    """A block lies behind the end of the file.

    Checks: every block, bitmap and data, ends inside the file, also one behind the end of the disk. Sums do not wrap at
        32 bits, as vhd-util's do.
    Matters: the data is not there. Either the end of the file is missing or the table is damaged.
    Fix: transfer the image again and compare checksums of the whole file. If it is like that at its origin, the missing
        blocks are lost.
    """
    faults = []
    if spare := table.beyond_past_end.count:
        message = f"{count(spare, 'block')} behind the end of the disk and of the file: qemu and 7-Zip do not open it"
        faults.append(_fault(image, table.beyond_past_end, message, f"unused entries from {image.blocks_needed} on"))
    hits = table.past_end
    if not hits.count or image.footer is image.copy or _short_last_block(table, image):
        return faults  # without the footer at the end the file is truncated, and VHD605 says so
    missing = table.claimed_end - image.footer_offset
    message = f"{count(hits.count, 'block')} behind the end of the file, the last by {exact(missing)}"
    return [*faults, _fault(image, hits, message, f"a file of at least {table.claimed_end + SECTOR} bytes")]


@rule(
    "VHD304",
    "block-over-footer",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
)
def block_over_footer(table: Table, image: Image) -> Fault | None:
    """A block lies over the footer.

    Checks: every block of the disk ends where the footer begins, or before.
    Matters: the guest reads the footer as its data, and a write to the block destroys the footer. qemu compares with
        the end of the file only.
    Fix: ask for the image again: 512 bytes or more of this block are lost.
    """
    if table.over_footer.count and not _short_last_block(table, image):
        return _fault(
            image,
            table.over_footer,
            f"{count(table.over_footer.count, 'block')} over the footer",
            f"at most 0x{image.footer_offset - _header(image).slot_length:x}",
        )
    return None


def _short_last_block(table: Table, image: Image) -> int:
    """Say by how many bytes the disk's last block is cut, if that is all that is wrong and only padding is missing."""
    if table.past_end.count + table.over_footer.count != 1 or image.footer is None:
        return 0
    ((block, sector),) = (table.past_end.examples or table.over_footer.examples)[:1]
    header = _header(image)
    if block != image.blocks_needed - 1 or block != table.last_block:
        return 0
    on_disk = round_up(image.footer.current_size - block * header.block_size, SECTOR)
    end = sector * SECTOR + header.bitmap_length + on_disk
    return max(0, table.claimed_end - image.footer_offset) if end <= image.footer_offset else 0


@rule(
    "VHD305",
    "last-block-short",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Block Allocation Table and Data Blocks",
)
def last_block_short(table: Table, image: Image) -> Fault | None:
    """The last block is cut off behind the end of the disk.

    Checks: the disk's last block is stored whole, even if the disk ends in the middle of it.
    Matters: nothing of the guest's is lost. qemu and 7-Zip refuse the image, XenServer, libvhdi and dissect read it.
    Fix: put the missing zeros before the footer.
    """
    if missing := _short_last_block(table, image):
        hits = table.past_end if table.past_end.count else table.over_footer
        message = f"the last block is cut off by {exact(missing)}, all of it behind the end of the disk"
        fix = f"put {exact(missing)} of zeros before the footer"
        return _fault(image, hits, message, f"a footer at 0x{table.claimed_end:x}", fix)
    return None


@rule(
    "VHD306",
    "duplicate-block",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
)
def duplicate_block(table: Table, image: Image) -> Fault | None:
    """Two blocks have the same place.

    Checks: no two entries of the disk's blocks are equal, whatever their order.
    Matters: one of the two shows the other's data, and a write to one changes both. qemu, 7-Zip, libvhdi and dissect
        read on without a word.
    Fix: ask for the image again: nothing says which of the blocks the data belongs to.
    """
    if table.duplicate.count:
        message = f"{count(table.duplicate.count, 'block')} at the same place as another"
        return _fault(image, table.duplicate, message, "a place of its own for each block")
    return None


@rule(
    "VHD307",
    "overlapping-blocks",
    part="table",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
)
def overlapping_blocks(table: Table, image: Image) -> Fault | None:
    """A block begins inside another one.

    Checks: the disk's blocks, bitmap and data, are disjoint, whatever their order.
    Matters: a write to one damages the other. Writers that forget the bitmap put a block every 4096 sectors instead of
        4097, and each overlaps the next.
    Fix: ask for the image again, made by another program.
    """
    if table.overlapping.count:
        message = f"{count(table.overlapping.count, 'block')} inside another block"
        length = _header(image).slot_length // SECTOR
        return _fault(image, table.overlapping, message, f"{length} sectors for each block: bitmap and data")
    return None


@rule(
    "VHD308",
    "entry-beyond-disk",
    part="table",
    severity=WARNING,
    doubts="description",
    spec="Block Allocation Table and Data Blocks",
)
def entry_beyond_disk(table: Table, image: Image) -> Fault | None:
    """The table has blocks behind the end of the disk.

    Checks: entries from the current size divided by the block size on are unused.
    Matters: no reader shows these blocks. If they lie over other things in the file, none of the guest's data is in
        doubt. They take space, and may be what is left of a larger disk.
    Fix: write the disk into a new image, which leaves them out.
    """
    if table.beyond_disk.count:
        message = f"{count(table.beyond_disk.count, 'block')} behind the end of the disk"
        if over := table.beyond_faulty.count - table.beyond_past_end.count:
            message += f"; {over} over other things, which puts no data of the disk in doubt"
        return _fault(image, table.beyond_disk, message, f"unused entries from {image.blocks_needed} on")
    return None


@rule(
    "VHD309",
    "table-padding",
    part="table",
    severity=NOTE,
    doubts="description",
    spec="Block Allocation Table and Data Blocks; DiscUtils",
)
def table_padding(table: Table, image: Image) -> Fault | None:
    """The rest of the table's last sector holds something.

    Checks: what follows the last entry in its sector is all zeros or all ones.
    Matters: nobody reads it. It may be leaked memory, or entries that a wrong count of entries leaves out.
    Fix: fill it with ones.
    """
    padding = table.padding
    if padding not in (bytes(len(padding)), b"\xff" * len(padding)):
        header = _header(image)
        return Fault(
            "the rest of the table's last sector is neither zeros nor ones",
            Span(header.table_offset + 4 * table.entries, len(padding), "table", name="padding"),
            expected="zeros or ones",
            found=padding[:16].hex(" "),
        )
    return None


@rule(
    "VHD310",
    "metadata-behind-blocks",
    part="image",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check; ocaml-vhd",
    when=has_table,
)
def metadata_behind_blocks(image: Image) -> Fault | None:
    """A structure of the image lies behind its blocks.

    Checks: header, table, batmap and parent locators come before the first block.
    Matters: the specification allows it. XenServer refuses the image ("clobbers headers"), and importers that read a
        stream need the table before the blocks.
    Fix: write the disk into a new image, which puts its parts in order.
    """
    table = table_of(image)
    if not table.data_end:
        return None
    late = [
        span
        for span in image.metadata
        if table.data_start <= span.offset < image.footer_offset and span not in table.hit_rooms
    ]
    if late and not table.in_metadata.count:
        return Fault(
            f"the {late[-1].words} lies behind the first block",
            late[-1],
            expected=f"before 0x{table.data_start:x}",
            found=f"0x{late[-1].offset:x}",
        )
    return None


@rule("VHD311", "no-blocks", part="table", severity=NOTE, spec="Block Allocation Table and Data Blocks")
def no_blocks(table: Table, image: Image) -> Fault | None:
    """The image holds no data: no block is in use.

    Checks: the table has a used entry. A differencing disk may have none, as its parent may hold everything.
    Matters: it is an empty disk. If it should hold a system, its conversion or export failed without a word.
    Fix: if that was not meant, convert or export the disk again and compare the file's size.
    """
    if not table.used and not is_child(image):
        return Fault(
            "the disk is empty: no block is in use", Span(_header(image).table_offset, 4 * table.entries, "table")
        )
    return None


@rule("VHD312", "first-block-unused", part="table", severity=NOTE, spec="Block Allocation Table and Data Blocks")
def first_block_unused(table: Table, image: Image) -> Fault | None:
    """The disk's first block is not in use: it has no boot sector and no partition table.

    Checks: entry 0 of the table.
    Matters: no machine boots from it.
    Fix: if it should boot, convert or export the disk again.
    """
    if table.used and not table.first_block_used and not is_child(image):
        return Fault("the first block, where a boot sector would be, is not in use", _entry(image, 0))
    return None


@rule(
    "VHD313",
    "block-in-locator-room",
    part="table",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
)
def block_in_locator_room(table: Table, image: Image) -> Fault | None:
    """A block lies in the room of a parent locator, behind its text.

    Checks: no block of the disk shares bytes with the room that is set apart for a parent locator. Its text has VHD302.
    Matters: the block's data and the text are both intact. A longer path that is written there would destroy the block.
        XenServer refuses the image ("clobbers headers").
    Fix: make the room smaller, or write the disk into a new image.
    """
    rooms = [room for room in table.hit_rooms if room.part == "parent_locator_data"]
    if rooms:
        where = " and ".join(room.words for room in rooms)
        message = f"{count(table.in_rooms.count, 'block')} in the room of {where}, behind its text"
        return _fault(image, table.in_rooms, message, f"0x{max(room.end for room in rooms):x} or higher")
    return None
