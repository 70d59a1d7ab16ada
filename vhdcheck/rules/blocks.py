"""VHD4xx: space in the file, sector bitmaps (when deep), and XenServer's batmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format.layout import BATMAP_HEADER_SIZE
from vhdcheck.format.span import Span
from vhdcheck.format.structures import BATMAP_1_2, BATMAP_COOKIE, COOKIE, DIFFERENCING, Batmap
from vhdcheck.rules.registry import NOTE, WARNING, Fault, rule
from vhdcheck.rules.table import examples, has_table
from vhdcheck.units import MIB, SECTOR, count, exact, human, round_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.blocks.facts import Bitmaps, Blocks, Table
    from vhdcheck.image import Image, Slack

WINDOWS_SLACK = 3584
"""Zero bytes that Windows leaves before the footer, so that the next block's data begins at a multiple of 4 KiB."""


@rule("VHD401", "dead-space", part="slack", severity=NOTE, spec="Block Allocation Table and Data Blocks")
def dead_space(slack: Slack) -> Fault | None:
    """There is unused space between the last block and the footer.

    Checks: the footer follows the last block, or the metadata, leaving out what Windows pads to 4 KiB (up to 3584
        bytes, after a table that it pads likewise) and the single sector of old empty images.
    Matters: it is uploaded and stored for nothing.
    Fix: write the disk into a new image, which leaves it out.
    """
    end = slack.offset + slack.length
    if end - round_up(slack.offset, 4096) > WINDOWS_SLACK:
        return Fault(
            f"{human(slack.length)} before the footer belong to nothing",
            Span(slack.offset, slack.length, "slack"),
            expected=f"a footer at 0x{slack.offset:x}",
            found=f"0x{end:x}",
        )
    return None


@rule(
    "VHD402",
    "leftover-data",
    part="slack",
    severity=WARNING,
    doubts="description",
    spec="Block Allocation Table and Data Blocks",
)
def leftover_data(slack: Slack, image: Image) -> Fault | None:
    """The unused space before the footer holds data.

    Checks: up to 64 KiB of it. Zeros are none, and neither are the ones that writers put behind a table: Windows up to
        the next 4 KiB, FATtools as many as a table for the largest disk has.
    Matters: it may be what is left of deleted or moved blocks: another customer's, perhaps.
    Fix: write the disk into a new image, which leaves it out.
    """
    filler = round_up(slack.offset, 4096) - slack.offset
    if image.header is not None and slack.offset == image.header.table_end:
        filler = max(filler, len(slack.data) - len(slack.data.lstrip(b"\xff")))
    left = (slack.data[:filler].replace(b"\xff", b"\0") + slack.data[filler:]).lstrip(b"\0")
    if left and image.footer is not image.copy:  # else a damaged footer is part of it
        first = len(slack.data) - len(left)
        return Fault(
            "the unused space before the footer is not empty",
            Span(slack.offset + first, slack.length - first, "slack"),
            expected="zeros",
            found=slack.data[first : first + 16].hex(" "),
            doubts="data" if COOKIE in slack.data else None,  # the footer of another image
        )
    return None


@rule("VHD403", "space-between-blocks", part="table", severity=NOTE, spec="Block Allocation Table and Data Blocks")
def space_between_blocks(table: Table, image: Image) -> Fault | None:
    """There is unused space between blocks.

    Checks: gaps between blocks, leaving out those of up to 7 sectors with which Windows and XenServer align data to 4
        KiB; 1 MiB or more in all.
    Matters: it is uploaded and stored for nothing. Gaps as large as a block were blocks once: deleted, or lost because
        the table was not written.
    Fix: write the disk into a new image, which closes them.
    """
    wasted = table.gaps - WINDOWS_SLACK * max(0, table.used - 1)
    if wasted < MIB:
        return None
    assert image.header is not None  # a table is read by a header's word
    lost = "; the largest has room for whole blocks" if table.largest_gap >= image.header.slot_length else ""
    return Fault(
        f"{human(table.gaps)} between blocks belong to nothing{lost}",
        Span(table.data_start, table.data_end - table.data_start, "blocks"),
        expected=f"{exact(table.data_end - table.data_start - table.gaps)} for {count(table.used, 'block')}",
        found=exact(table.data_end - table.data_start),
    )


@rule(
    "VHD404",
    "file-longer-than-full",
    part="image",
    severity=WARNING,
    spec="Block Allocation Table and Data Blocks",
    when=has_table,
)
def file_longer_than_full(image: Image) -> Fault | None:
    """The file is longer than it would be with every block in use.

    Checks: the file's length against all metadata, all blocks aligned to 4 KiB, and the footer.
    Matters: the file holds things that belong to no disk.
    Fix: write the disk into a new image, which leaves them out.
    """
    header = image.header
    assert header is not None  # a table is read by a header's word
    metadata = max([span.offset + span.length for span in image.metadata])
    full = round_up(metadata, 4096) + image.blocks_needed * (header.slot_length + WINDOWS_SLACK) + 2 * 4096
    if image.size > full + MIB:
        return Fault(
            "the file is longer than the disk can fill",
            Span(full, image.size - full, "file"),
            expected=f"at most {exact(full)}",
            found=exact(image.size),
        )
    return None


def has_batmap(image: Image) -> bool:
    """Say whether libvhd insists on a batmap: creator "tap" from version 1.2 on."""
    footer = image.footer
    return footer is not None and footer.is_tap and footer.creator_version >= BATMAP_1_2


@rule("VHD410", "batmap-missing", part="batmap", severity=WARNING, doubts="description", spec="blktap: libvhd")
def batmap_missing(batmap: Batmap | None, image: Image) -> Fault | None:
    """A XenServer image has no batmap behind its table.

    Checks: images of creator "tap" from version 1.2 on have "tdbatmap" behind the block allocation table.
    Matters: XenServer refuses the image ("error calculating end of metadata"). qemu destroys the batmap when it writes
        to such an image, because it does not know of it.
    Fix: write the disk into a new image.
    """
    if has_batmap(image) and (batmap is None or batmap.cookie != BATMAP_COOKIE) and image.header is not None:
        return Fault(
            "the batmap that XenServer expects behind the table is missing",
            Span(min(image.header.table_end, image.size), BATMAP_HEADER_SIZE, "batmap"),
            expected="tdbatmap",
            found=batmap.cookie.decode("ascii", "backslashreplace") if batmap else "the end of the file",
        )
    return None


def _is_batmap(batmap: Batmap | None) -> bool:
    return batmap is not None and batmap.cookie == BATMAP_COOKIE


@rule("VHD411", "batmap-header", part="batmap", severity=WARNING, doubts="description", spec="blktap: libvhd")
def batmap_header(batmap: Batmap, image: Image) -> Iterator[Fault]:
    """The batmap's header makes no sense.

    Checks: its version is at most 1.2. Its map begins at a sector, lies in the file and over nothing else, and has a
        bit for each entry of the table. In images of blktap 1.1 a newer version means that there is no batmap.
    Matters: XenServer refuses the image. All other readers leave the batmap alone and read all data.
    Fix: write the disk into a new image.
    """
    if not _is_batmap(batmap) or image.header is None:
        return
    entries = image.header.max_table_entries
    if batmap.version > BATMAP_1_2:
        yield Fault(
            "XenServer does not know this version of the batmap",
            batmap.span("version"),
            expected="at most 0x00010002",
            found=f"0x{batmap.version:08x}",
        )
    if problem := _misplaced(batmap, image):
        yield Fault(
            f"the batmap {problem}",
            batmap.span("offset"),
            expected=f"a multiple of 512, and at most 0x{max(0, image.footer_offset - batmap.length):x}",
            found=f"0x{batmap.map_offset:x}, {count(batmap.size, 'sector')}",
        )
    if batmap.length * 8 < entries:
        needed = -(-entries // (8 * SECTOR))
        yield Fault(
            "the batmap is too short for the table", batmap.span("size"), f"at least {needed} sectors", str(batmap.size)
        )


def _misplaced(batmap: Batmap, image: Image) -> str:
    """Say what is wrong with the place of the batmap's map."""
    end = batmap.map_offset + batmap.length
    if batmap.map_offset % SECTOR:
        return "does not begin at a sector"
    if not batmap.map_offset or end > image.footer_offset:
        return "does not lie inside the file"
    others = [span.words for span in image.vital if span.offset < end and batmap.map_offset < span.end]
    if batmap.size and others:
        return f"lies over the {' and the '.join(others)}"
    table = image.table
    if table is not None and any(room.part == "batmap_map" for room in table.hit_rooms):
        return f"lies over {count(table.in_rooms.count, 'block')}"
    return ""


@rule(
    "VHD412",
    "batmap-checksum",
    part="batmap",
    severity=WARNING,
    doubts="description",
    spec="blktap: vhd_checksum_batmap",
)
def batmap_checksum(batmap: Batmap, image: Image) -> Fault | None:
    """The batmap's checksum does not match its bytes.

    Checks: the one's complement of the sum of as many bytes of the map as libvhd counts: one for each 16 MiB of the
        disk, rounded down, then up to whole sectors, at least one; signed bytes in version 1.1.
    Matters: XenServer refuses the image.
    Fix: compute it anew from the map, if the map agrees with the table. Otherwise write the disk into a new image.
    """
    if not _is_batmap(batmap) or image.footer is None or not batmap.map or _misplaced(batmap, image):
        return None
    counted = batmap.map[: max(SECTOR, round_up(image.footer.current_size >> 24, SECTOR))]
    total = sum(counted) - (256 * sum(byte > 127 for byte in counted) if batmap.version == 0x00010001 else 0)  # noqa: PLR2004
    if batmap.checksum != ~total & 0xFFFF_FFFF:
        return Fault(
            "the checksum of the batmap is wrong",
            batmap.span("checksum"),
            expected=f"0x{~total & 0xFFFF_FFFF:08x}",
            found=f"0x{batmap.checksum:08x}",
        )
    return None


@rule(
    "VHD413",
    "batmap-marks-unused-block",
    part="table",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
)
def batmap_marks_unused_block(table: Table, image: Image) -> Fault | None:
    """The batmap calls a block full that is not in use.

    Checks: each set bit of the batmap against the table, for the blocks of the disk.
    Matters: XenServer refuses the image: batmap and table are not of the same time.
    Fix: clear these bits, or write the disk into a new image.
    """
    wrong = table.full_unused
    if wrong.count and image.batmap is not None and not _misplaced(image.batmap, image):
        blocks = ", ".join(str(block) for block, _ in wrong.examples)
        return Fault(
            f"the batmap calls {count(wrong.count, 'unused block')} full",
            Span(image.batmap.map_offset + wrong.examples[0][0] // 8, 1, "batmap_map"),
            expected="clear bits for unused blocks",
            found=f"set bits, of {blocks}" + (", ..." if wrong.count > len(wrong.examples) else ""),
        )
    return None


@rule("VHD414", "encrypted", part="batmap", severity=WARNING, spec="blktap: vhd.h")
def encrypted(batmap: Batmap) -> Fault | None:
    """The image's data is encrypted.

    Checks: the key hash flag of a batmap of version 1.2.
    Matters: without the key, which is not in the image, an importer sees noise.
    Fix: decrypt it where the key is, with XenServer's vhd-util copy.
    """
    if _is_batmap(batmap) and batmap.encrypted:
        return Fault("the data is encrypted", batmap.span("key_hash_cookie"), expected="0", found="1")
    return None


@rule(
    "VHD420",
    "empty-bitmap",
    part="bitmaps",
    severity=WARNING,
    doubts="data",
    spec="Block Allocation Table and Data Blocks: sector bitmap",
)
def empty_bitmap(bitmaps: Bitmaps, image: Image) -> Fault | None:
    """A block is in use and its sector bitmap is empty.

    Checks: with `--deep`, the bitmap of each block in use.
    Matters: readers disagree. qemu and dissect return what is stored, libvhdi and XenServer zeros (or the parent's
        data).
    Fix: decide which reader is right, and write the disk into a new image with that one.
    """
    if bitmaps.empty.count:
        return _bitmap_fault(bitmaps.empty, image, f"{count(bitmaps.empty.count, 'block')} in use with an empty bitmap")
    return None


@rule(
    "VHD421",
    "partial-bitmaps",
    part="bitmaps",
    severity=NOTE,
    doubts="data",
    spec="Block Allocation Table and Data Blocks: sector bitmap",
)
def partial_bitmaps(bitmaps: Bitmaps, image: Image) -> Fault | None:
    """Some sectors of blocks in use are marked as empty.

    Checks: with `--deep`, the bitmaps of a dynamic disk's blocks.
    Matters: the specification allows it. If such a sector holds anything, qemu and dissect return it, libvhdi and
        XenServer return zeros, and 7-Zip reports an error.
    Fix: if readers must agree, write the disk into a new image, with the reader that is right.
    """
    if bitmaps.partial.count and image.footer is not None and image.footer.disk_type != DIFFERENCING:
        return _bitmap_fault(bitmaps.partial, image, f"{count(bitmaps.partial.count, 'block')} with a partial bitmap")
    return None


@rule(
    "VHD422",
    "bitmap-padding",
    part="bitmaps",
    severity=NOTE,
    spec="Block Allocation Table and Data Blocks: sector bitmap",
)
def bitmap_padding(bitmaps: Bitmaps, image: Image) -> Fault | None:
    """The rest of a sector bitmap holds something.

    Checks: with `--deep`, what follows the last bit of a bitmap in its sector is all zeros or all ones.
    Matters: nobody reads it. It may be leaked memory.
    Fix: write the disk into a new image.
    """
    if bitmaps.padding.count:
        return _bitmap_fault(
            bitmaps.padding, image, f"{count(bitmaps.padding.count, 'bitmap')} with something behind it"
        )
    return None


@rule("VHD423", "batmap-contradicts-bitmap", part="bitmaps", severity=WARNING, doubts="data", spec="blktap: libvhd")
def batmap_contradicts_bitmap(bitmaps: Bitmaps, image: Image) -> Fault | None:
    """The batmap calls a block full whose bitmap is not.

    Checks: with `--deep`, the bitmaps of the blocks that the batmap marks.
    Matters: XenServer skips the bitmap of such blocks, so it sees other data than every other reader.
    Fix: decide which reader is right, and write the disk into a new image with that one.
    """
    if bitmaps.contradicted.count:
        many = count(bitmaps.contradicted.count, "block")
        return _bitmap_fault(bitmaps.contradicted, image, f"the batmap calls {many} full that the bitmaps do not")
    return None


@rule(
    "VHD424",
    "data-in-empty-sectors",
    part="bitmaps",
    severity=WARNING,
    doubts="data",
    spec="Block Allocation Table and Data Blocks: sector bitmap",
)
def data_in_empty_sectors(bitmaps: Bitmaps, image: Image) -> Fault | None:
    """Sectors that the bitmap calls empty hold data.

    Checks: with `--deep`, in a stream, the data of the sectors whose bits are clear. From a file no data is read.
    Matters: readers disagree. qemu and dissect return the data, libvhdi and XenServer zeros (or the parent's data), and
        7-Zip reports an error.
    Fix: decide which reader is right, and write the disk into a new image with that one.
    """
    if bitmaps.unmarked.count:
        many = count(bitmaps.unmarked.count, "block")
        return _bitmap_fault(bitmaps.unmarked, image, f"{many} with data in sectors that the bitmap calls empty")
    return None


def _bitmap_fault(blocks: Blocks, image: Image, message: str) -> Fault:
    """Report a defect of several bitmaps at once, at the first of them."""
    assert image.header is not None  # bitmaps are read by a header's word
    length = image.header.bitmap_length
    spans = [Span(sector * SECTOR, length, "bitmap", block) for block, sector in blocks.examples]
    return Fault(message, spans[0], found=examples(blocks), related=tuple(spans[1:]))
