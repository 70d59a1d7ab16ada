"""VHD2xx: the dynamic disk header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format.limits import MAX_ENTRIES
from vhdcheck.format.span import Span
from vhdcheck.format.structures import BLOCK_SIZE, FORMAT_VERSION, NO_OFFSET, DynamicHeader, is_zero
from vhdcheck.rules.registry import ERROR, WARNING, Fault, rule
from vhdcheck.units import SECTOR, count, exact, grouped
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import Image


LEAST_OF_QEMU = 4096
"""The smallest blocks of which qemu-img computes the bitmap's length right."""


@rule(
    "VHD201",
    "header-cookie",
    part="no_header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Cookie",
)
def header_cookie(header: DynamicHeader) -> Fault:
    """There is no dynamic header where the footer says.

    Checks: the 8 bytes at the footer's data offset are "cxsparse".
    Matters: the header says where the table of blocks is. Without it no reader finds the data.
    Fix: ask for the image again: the header cannot be rebuilt from the rest.
    """
    return Fault(
        "there is no dynamic header where the footer says",
        header.span("cookie"),
        expected="cxsparse",
        found=header.cookie.decode("ascii", "backslashreplace"),
    )


@rule(
    "VHD202",
    "header-checksum",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format: Checksum",
)
def header_checksum(header: DynamicHeader) -> Fault | None:
    """The dynamic header's checksum does not match its bytes.

    Checks: the one's complement of the sum of the header's 1024 bytes, the field itself counted as zero.
    Matters: XenServer and 7-Zip refuse the image. Some byte of the header is not what was written, and that may be the
        place of the table. qemu, libvhdi and VirtualBox do not look.
    Fix: if all its other fields confirm one another, the checksum can be put right. Otherwise ask for the image again.
    """
    if header.checksum != header.computed_checksum:
        return Fault(
            "the checksum of the dynamic header is wrong",
            header.span("checksum"),
            expected=f"0x{header.computed_checksum:08x}",
            found=f"0x{header.checksum:08x}",
        )
    return None


@rule(
    "VHD203",
    "header-version",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format: Header Version",
)
def header_version(header: DynamicHeader) -> Fault | None:
    """The dynamic header states a version other than 1.0.

    Checks: the version field, 0x00010000.
    Matters: XenServer and libvhdi refuse the image. There is no other version of the header.
    Fix: write version 1.0 there, if everything else in the header looks right.
    """
    if header.header_version != FORMAT_VERSION:
        return Fault(
            "the dynamic header's version is not 1.0",
            header.span("header_version"),
            expected=f"0x{FORMAT_VERSION:08x}",
            found=f"0x{header.header_version:08x}",
        )
    return None


@rule(
    "VHD204",
    "header-data-offset",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Data Offset",
)
def header_data_offset(header: DynamicHeader) -> Fault | None:
    """The dynamic header points at another structure, and the format has none.

    Checks: the header's own data offset is 64 one-bits.
    Matters: XenServer refuses the image. DiscUtils follows the offset, and never ends if that leads back to the header.
    Fix: write 64 one-bits there.
    """
    if header.data_offset != NO_OFFSET:
        itself = "; it points at the header itself" if header.data_offset == header.offset else ""
        return Fault(
            f"the dynamic header's unused data offset is in use{itself}",
            header.span("data_offset"),
            expected=f"0x{NO_OFFSET:016x}",
            found=f"0x{header.data_offset:016x}",
        )
    return None


@rule(
    "VHD205",
    "table-offset",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Table Offset",
)
def table_offset(header: DynamicHeader, image: Image) -> Fault | None:
    """The block allocation table does not lie where a table can be.

    Checks: the table offset is a multiple of 512, not 0, and the whole table lies before the footer.
    Matters: readers take whatever stands there for the places of blocks, and return wrong data or fail.
    Fix: ask for the image again: without its table the blocks cannot be put in order.
    """
    end = header.table_offset + 4 * header.max_table_entries
    if not header.table_offset:
        problem = "the block allocation table would lie over the footer's copy"
    elif header.table_offset % SECTOR:
        problem = "the block allocation table does not begin at a sector, and readers differ in how they round"
    elif end > image.footer_offset:
        problem = f"the block allocation table is {exact(end - image.footer_offset)} too long for the file"
    else:
        return None
    return Fault(
        problem,
        header.span("table_offset"),
        expected=f"a multiple of 512, and at most 0x{max(image.footer_offset - 4 * header.max_table_entries, 0):x}",
        found=f"0x{header.table_offset:x}, max table entries {grouped(header.max_table_entries)}",
        related=(header.span("max_table_entries"),),
    )


@rule(
    "VHD206",
    "table-too-short",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Max Table Entries",
)
def table_too_short(header: DynamicHeader, image: Image) -> Fault | None:
    """The block allocation table has fewer entries than the disk has blocks.

    Checks: max table entries against the current size divided by the block size, rounded up, without 32-bit wrap.
    Matters: the end of the disk has no place in the file. qemu, XenServer, VirtualBox and 7-Zip refuse the image.
        libvhdi reads past the table.
    Fix: ask for the image again, or shrink it with the tool that resized it, to the size that its table holds.
    """
    needed = image.blocks_needed
    if header.max_table_entries < needed:
        return Fault(
            "the block allocation table is too short for the disk",
            header.span("max_table_entries"),
            expected=f"at least {grouped(needed)}",
            found=f"{grouped(header.max_table_entries)}: {exact(header.max_table_entries * header.block_size)}",
        )
    return None


@rule(
    "VHD207",
    "table-longer-than-disk",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Max Table Entries; 7-Zip",
)
def table_longer_than_disk(header: DynamicHeader, image: Image) -> Fault | None:
    """The block allocation table has more entries than the disk has blocks.

    Checks: max table entries equals the current size divided by the block size, rounded up.
    Matters: XenServer makes such tables, so that disks can grow later, and most readers accept them. 7-Zip and
        DiscUtils refuse the image.
    Fix: nothing need be done, unless one of these must read it. Then write the disk into a new image.
    """
    needed = image.blocks_needed
    if header.has_usable_block_size and header.max_table_entries > needed:
        return Fault(
            "the block allocation table has spare entries, and 7-Zip and DiscUtils insist that it has none",
            header.span("max_table_entries"),
            expected=grouped(needed),
            found=grouped(header.max_table_entries),
        )
    return None


@rule(
    "VHD208",
    "table-too-long-to-check",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="qemu: block/vpc.c; 7-Zip",
)
def table_too_long_to_check(header: DynamicHeader) -> Fault | None:
    """The block allocation table claims more entries than any real disk needs.

    Checks: max table entries is at most 8 388 608: a 2040 GiB disk in blocks of 256 KiB.
    Matters: the claim costs every reader memory, 16 GiB at the worst, and qemu and 7-Zip refuse the largest. vhdcheck
        does not read such a table, so it cannot accept the image either.
    Fix: write the disk into a new image with blocks of 2 MiB.
    """
    if header.max_table_entries > MAX_ENTRIES:
        return Fault(
            "the block allocation table claims more entries than any real disk needs",
            header.span("max_table_entries"),
            expected=f"at most {grouped(MAX_ENTRIES)}",
            found=grouped(header.max_table_entries),
        )
    return None


@rule(
    "VHD209",
    "block-size",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Block Size",
)
def block_size(header: DynamicHeader) -> Fault | None:
    """The block size is not a power of two of at least one sector.

    Checks: the block size has one bit set and is 512 or more.
    Matters: nothing says where a block ends. qemu, XenServer and 7-Zip refuse the image. Other readers divided by zero.
    Fix: ask for the image again: nothing in it tells how its blocks are laid out.
    """
    if not header.has_usable_block_size:
        return Fault(
            "the block size is not a power of two of at least 512",
            header.span("block_size"),
            expected=f"{BLOCK_SIZE} (2 MiB)",
            found=f"{header.block_size} (0x{header.block_size:x})",
        )
    return None


@rule(
    "VHD210",
    "block-size-unusual",
    part="header",
    severity=WARNING,
    spec="Dynamic Disk Header Format: Block Size; blktap: libvhd",
)
def block_size_unusual(header: DynamicHeader) -> Fault | None:
    """The blocks are not of 2 MiB.

    Checks: the block size is 2 097 152 bytes.
    Matters: XenServer counts in blocks of 2 MiB whatever the header says. It refuses larger ones. Of a table of smaller
        ones it loads a part only, and its repair cuts data off although its check says "valid". qemu reads wrong data
        from blocks under 4 KiB. Windows makes 512 KiB and 2 MiB only.
    Fix: write the disk into a new image with blocks of 2 MiB.
    """
    if header.has_usable_block_size and header.block_size != BLOCK_SIZE:
        return Fault(
            "the block size is not 2 MiB, and XenServer would lose data"
            + (", and qemu reads the bitmap as data" if header.block_size < LEAST_OF_QEMU else ""),
            header.span("block_size"),
            expected=exact(BLOCK_SIZE),
            found=exact(header.block_size),
        )
    return None


@rule(
    "VHD211",
    "header-reserved-bytes",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Reserved",
)
def header_reserved_bytes(header: DynamicHeader) -> Fault | None:
    """The dynamic header's reserved areas are not zero.

    Checks: bytes 60 to 63 and 768 to 1023 of the header.
    Matters: XenServer and 7-Zip refuse the image.
    Fix: clear them.
    """
    if header.reserved_1 or not is_zero(header.reserved_2):
        used = [place for place in (*range(60, 64), *range(768, 1024)) if header.raw[place]]
        return Fault(
            f"{count(len(used), 'byte')} of the reserved areas {'is' if len(used) == 1 else 'are'} not zero",
            Span(header.offset + used[0], used[-1] - used[0] + 1, "header", name="reserved"),
            expected="zeros",
            found=f"0x{header.raw[used[0]]:02x} at byte {used[0]} of the header",
        )
    return None
