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
    from collections.abc import Iterator

    from vhdcheck.image import Image


@rule(
    "VHD201",
    "header-cookie",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Cookie",
)
def header_cookie(no_header: DynamicHeader) -> Iterator[Fault]:
    """There is no dynamic header where the footer says.

    Checks: the 8 bytes at the footer's data offset are "cxsparse".
    Matters: the header says where the table of blocks is; without it no reader finds the data.
    Fix: ask for the image again; the header cannot be rebuilt from the rest.
    """
    yield Fault(
        "there is no dynamic header where the footer says",
        no_header.span("cookie"),
        expected="cxsparse",
        found=no_header.cookie.decode("ascii", "backslashreplace"),
    )


@rule(
    "VHD202",
    "header-checksum",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format: Checksum",
)
def header_checksum(header: DynamicHeader) -> Iterator[Fault]:
    """The dynamic header's checksum does not match its bytes.

    Checks: the one's complement of the sum of the header's 1024 bytes, the field itself counted as zero.
    Matters: XenServer and 7-Zip refuse the image: some byte of the header, perhaps where the table is, is not what was
        written. qemu, libvhdi and VirtualBox do not look.
    Fix: where all its other fields confirm one another, the checksum can be put right: `{mend}`; if that refuses, ask
        for the image again.
    """
    if header.checksum != header.computed_checksum:
        yield Fault(
            "the checksum of the dynamic header is wrong",
            header.span("checksum"),
            expected=f"0x{header.computed_checksum:08x}",
            found=f"0x{header.checksum:08x}",
        )


@rule(
    "VHD203",
    "header-version",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format: Header Version",
)
def header_version(header: DynamicHeader) -> Iterator[Fault]:
    """The dynamic header states a version other than 1.0.

    Checks: the version field, 0x00010000.
    Matters: XenServer and libvhdi refuse the image; there is no other version of the header.
    Fix: rebuild the image: `{rebuild}`
    """
    if header.header_version != FORMAT_VERSION:
        yield Fault(
            "the dynamic header's version is not 1.0",
            header.span("header_version"),
            expected=f"0x{FORMAT_VERSION:08x}",
            found=f"0x{header.header_version:08x}",
        )


@rule(
    "VHD204",
    "header-data-offset",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Data Offset",
)
def header_data_offset(header: DynamicHeader) -> Iterator[Fault]:
    """The dynamic header points at a further structure, and there is none in this format.

    Checks: the header's own data offset is 64 one-bits.
    Matters: XenServer refuses the image. DiscUtils follows the offset, for ever where it leads back to the header.
    Fix: write 64 one-bits there: `{mend}`
    """
    if header.data_offset != NO_OFFSET:
        itself = "; it points at the header itself" if header.data_offset == header.offset else ""
        yield Fault(
            f"the dynamic header's unused data offset is in use{itself}",
            header.span("data_offset"),
            expected=f"0x{NO_OFFSET:016x}",
            found=f"0x{header.data_offset:016x}",
        )


@rule(
    "VHD205",
    "table-offset",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Table Offset",
)
def table_offset(header: DynamicHeader, image: Image) -> Iterator[Fault]:
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
        return
    yield Fault(
        problem,
        header.span("table_offset"),
        expected=f"a multiple of 512, and at most 0x{max(image.footer_offset - 4 * header.max_table_entries, 0):x}",
        found=f"0x{header.table_offset:x}, max table entries {grouped(header.max_table_entries)}",
        related=(header.span("max_table_entries"),),
    )


@rule(
    "VHD206",
    "table-too-short",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Max Table Entries",
)
def table_too_short(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """The block allocation table has fewer entries than the disk has blocks.

    Checks: max table entries against the current size divided by the block size, rounded up, without 32-bit wrap.
    Matters: the end of the disk has no place in the file. qemu, XenServer, VirtualBox and 7-Zip refuse the image;
        libvhdi reads past the table.
    Fix: ask for the image again, or shrink it to the size that its table holds with the tool that resized it.
    """
    needed = image.blocks_needed
    if header.max_table_entries < needed:
        yield Fault(
            "the block allocation table is too short for the disk",
            header.span("max_table_entries"),
            expected=f"at least {grouped(needed)}",
            found=f"{grouped(header.max_table_entries)}: {exact(header.max_table_entries * header.block_size)}",
        )


@rule(
    "VHD207",
    "table-longer-than-disk",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Max Table Entries; 7-Zip",
)
def table_longer_than_disk(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """The block allocation table has more entries than the disk has blocks.

    Checks: max table entries equals the current size divided by the block size, rounded up.
    Matters: XenServer prepares tables for later growth like this, and most readers accept them. 7-Zip and DiscUtils
        refuse the image.
    Fix: if one of these must read it, rebuild it: `{rebuild}`
    """
    needed = image.blocks_needed
    if header.has_usable_block_size and header.max_table_entries > needed:
        yield Fault(
            "the block allocation table has spare entries, and 7-Zip and DiscUtils insist that it has none",
            header.span("max_table_entries"),
            expected=grouped(needed),
            found=grouped(header.max_table_entries),
        )


@rule(
    "VHD208",
    "table-too-long-to-check",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="qemu: block/vpc.c; 7-Zip",
)
def table_too_long_to_check(header: DynamicHeader) -> Iterator[Fault]:
    """The block allocation table claims more entries than any real disk needs.

    Checks: max table entries is at most 8 388 608: a 2040 GiB disk in blocks of 256 KiB.
    Matters: the claim costs every reader memory, 16 GiB at the worst, and qemu and 7-Zip refuse the largest. vhdcheck
        does not read such a table, so it cannot accept it either.
    Fix: rebuild the image with blocks of 2 MiB: `{rebuild}`
    """
    if header.max_table_entries > MAX_ENTRIES:
        yield Fault(
            "the block allocation table claims more entries than any real disk needs",
            header.span("max_table_entries"),
            expected=f"at most {grouped(MAX_ENTRIES)}",
            found=grouped(header.max_table_entries),
        )


@rule(
    "VHD209",
    "block-size",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Block Size",
)
def block_size(header: DynamicHeader) -> Iterator[Fault]:
    """The block size is not a power of two of at least one sector.

    Checks: the block size has one bit set and is 512 or more.
    Matters: blocks cannot be located. qemu, XenServer and 7-Zip refuse the image; others divided by zero here.
    Fix: ask for the image again: it cannot be told how its blocks are laid out.
    """
    if not header.has_usable_block_size:
        yield Fault(
            "the block size is not a power of two of at least 512",
            header.span("block_size"),
            expected=f"{BLOCK_SIZE} (2 MiB)",
            found=f"{header.block_size} (0x{header.block_size:x})",
        )


@rule("VHD210", "block-size-unusual", severity=WARNING, spec="Dynamic Disk Header Format: Block Size; blktap: libvhd")
def block_size_unusual(header: DynamicHeader) -> Iterator[Fault]:
    """The blocks are not of 2 MiB.

    Checks: the block size is 2 097 152 bytes.
    Matters: XenServer counts in blocks of 2 MiB whatever the header says. Larger ones it refuses; of smaller ones it
        loads only part of the table, and `vhd-util repair` cuts data off while `vhd-util check` says "valid". Windows
        makes 512 KiB and 2 MiB only.
    Fix: rebuild the image, which uses 2 MiB: `{rebuild}`
    """
    if header.has_usable_block_size and header.block_size != BLOCK_SIZE:
        yield Fault(
            "the block size is not 2 MiB, and XenServer would lose data",
            header.span("block_size"),
            expected=exact(BLOCK_SIZE),
            found=exact(header.block_size),
        )


@rule(
    "VHD211",
    "header-reserved-bytes",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Reserved",
)
def header_reserved_bytes(header: DynamicHeader) -> Iterator[Fault]:
    """The dynamic header's reserved areas are not zero.

    Checks: bytes 60 to 63 and 768 to 1023 of the header.
    Matters: XenServer and 7-Zip refuse the image.
    Fix: clear them: `{mend}`
    """
    if header.reserved_1 or not is_zero(header.reserved_2):
        used = [place for place in (*range(60, 64), *range(768, 1024)) if header.raw[place]]
        yield Fault(
            f"{count(len(used), 'byte')} of the reserved areas {'is' if len(used) == 1 else 'are'} not zero",
            Span(header.offset + used[0], used[-1] - used[0] + 1, "header", name="reserved"),
            expected="zeros",
            found=f"0x{header.raw[used[0]]:02x} at byte {used[0]} of the header",
        )
