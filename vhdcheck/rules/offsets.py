"""VHD109 to VHD112: where the footer points: nowhere for a fixed disk, to the dynamic header for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import layout
from vhdcheck.format.structures import FIXED, NO_OFFSET, Footer
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import Image

PRINTED_NO_OFFSET = 0xFFFF_FFFF
"""What the specification prints for the data offset of a fixed disk."""


@rule(
    "VHD109",
    "fixed-data-offset",
    part="footer",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Hard Disk Footer Format: Data Offset",
)
def fixed_data_offset(footer: Footer) -> Fault | None:
    """A fixed disk's footer points at a dynamic header.

    Checks: the data offset of a fixed disk, which is 64 one-bits.
    Matters: type and data offset contradict each other, and readers follow one or the other. qemu reads a dynamic disk
        if it finds a copy of the footer at the start, whatever the type says. XenServer and libvhdi refuse the image.
    Fix: ask its maker whether the disk is fixed or dynamic, and for an image that says so.
    """
    if footer.disk_type == FIXED and footer.data_offset not in (NO_OFFSET, PRINTED_NO_OFFSET):
        return Fault(
            "the disk is fixed, and its data offset points somewhere",
            footer.span("data_offset"),
            expected=f"0x{NO_OFFSET:016x}",
            found=f"0x{footer.data_offset:016x}",
            doubts="description" if footer.offset == footer.current_size else None,  # its length says that it is fixed
        )
    return None


@rule(
    "VHD110",
    "fixed-data-offset-32-bits",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Data Offset",
)
def fixed_data_offset_32_bits(footer: Footer) -> Fault | None:
    """A fixed disk's data offset is 0xFFFFFFFF, as the specification prints it, instead of 64 one-bits.

    Checks: the data offset of a fixed disk.
    Matters: every writer uses 64 one-bits. XenServer and libvhdi refuse the value that the specification prints.
    Fix: write 64 one-bits there.
    """
    if footer.disk_type == FIXED and footer.data_offset == PRINTED_NO_OFFSET:
        return Fault(
            "the data offset has 32 one-bits where readers want 64",
            footer.span("data_offset"),
            expected=f"0x{NO_OFFSET:016x}",
            found=f"0x{footer.data_offset:016x}",
        )
    return None


@rule(
    "VHD111",
    "dynamic-data-offset",
    part="footer",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Hard Disk Footer Format: Data Offset",
)
def dynamic_data_offset(footer: Footer, image: Image) -> Fault | None:
    """A dynamic disk's footer does not point at a place for a dynamic header.

    Checks: the data offset is a multiple of 512, behind the footer's copy, with 1024 bytes of the file behind it.
    Matters: without the header no reader finds the data.
    Fix: ask for the image again: nothing in it says where its data is.
    """
    if not footer.is_sparse:
        return None
    end = footer.data_offset + layout.HEADER_SIZE
    if footer.data_offset < SECTOR or footer.data_offset % SECTOR or end > image.footer_offset:
        last = (image.footer_offset - layout.HEADER_SIZE) // SECTOR * SECTOR
        return Fault(
            "the data offset does not lead to a dynamic header",
            footer.span("data_offset"),
            expected=f"a multiple of 512 from 0x200 to 0x{last:x}"
            if last >= SECTOR
            else "a file with room for a header",
            found=f"0x{footer.data_offset:x}",
        )
    return None


@rule(
    "VHD112",
    "data-offset-unusual",
    part="footer",
    severity=NOTE,
    doubts="description",
    spec="Xen Orchestra: vhd-lib",
)
def data_offset_unusual(footer: Footer, image: Image) -> Fault | None:
    """The dynamic header does not follow the footer's copy.

    Checks: the data offset is 512.
    Matters: the specification allows other places. Xen Orchestra and ocaml-vhd look for the header at 512 only.
    Fix: nothing need be done, unless one of these must read it. Then write the disk into a new image.
    """
    if footer.is_sparse and SECTOR < footer.data_offset < image.size:
        return Fault(
            "the dynamic header is not where Xen Orchestra and ocaml-vhd look for it",
            footer.span("data_offset"),
            expected="0x200",
            found=f"0x{footer.data_offset:x}",
        )
    return None
