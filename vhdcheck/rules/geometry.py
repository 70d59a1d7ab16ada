"""VHD132 to VHD134 and VHD150 to VHD159: the disk's size, and the geometry from which some readers compute another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.geometry import MAX_GEOMETRY, chs_size_up, geometry, is_cut_by_readers, size_by_geometry
from vhdcheck.format.limits import MAX_DYNAMIC
from vhdcheck.format.span import Span
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import MIB, SECTOR, exact, grouped, round_up
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.format.structures import Footer
    from vhdcheck.image import Image

MIN_SIZE = 3 * MIB
"""The smallest disk that Windows makes or attaches (Microsoft, "About VHD")."""


def _remedy(footer: Footer) -> str:
    """Say how the geometry and the size come to agree, and whether the size can stay as it is."""
    right = geometry(footer.current_size)
    if not is_cut_by_readers(footer, right):
        return f"write the specification's geometry, {_words(right)}, in its place"
    up = chs_size_up(footer.current_size)
    return f"write the disk into a new image of {grouped(up)} bytes, the next size that a geometry spans exactly"


def _geometry_span(footer: Footer) -> Span:
    return Span(footer.offset + 56, 4, footer.where, name="geometry")


def _words(chs: tuple[int, int, int]) -> str:
    return "{}/{}/{} (cylinders/heads/sectors)".format(*chs)


def _who(footer: Footer) -> str:
    """Name the qemus that take the geometry's size for the disk's."""
    return "qemu" if footer.creator_application in creators.CHS_ALWAYS else "qemu 9 and older"


@rule(
    "VHD132",
    "original-size-differs",
    part="footer",
    severity=WARNING,
    code=Code.VIRTUAL_SIZE,
    doubts="description",
    spec="Hard Disk Footer Format: Original Size",
)
def original_size_differs(footer: Footer) -> Fault | None:
    """The original size is smaller than the current size.

    Checks: the two size fields of the footer.
    Matters: after a disk was enlarged that is as it should be. But libvhdi, and oslo.utils in Glance and Nova, take the
        original size for the disk's and show too small a disk.
    Fix: set the original size to the current one.
    """
    if footer.original_size < footer.current_size:
        return Fault(
            "the original size is not the current size, and libvhdi and oslo.utils (Glance, Nova) go by the original",
            footer.span("original_size"),
            expected=exact(footer.current_size, footer.original_size),
            found=exact(footer.original_size, footer.current_size),
            related=(footer.span("current_size"),),
        )
    return None


@rule(
    "VHD134",
    "original-size-larger",
    part="footer",
    severity=WARNING,
    code=Code.VIRTUAL_SIZE,
    doubts="description",
    spec="Hard Disk Footer Format: Original Size; Xen Orchestra: vhd-lib",
)
def original_size_larger(footer: Footer) -> Fault | None:
    """The original size is larger than the current size.

    Checks: the two size fields of the footer.
    Matters: after a disk was made smaller that is as it should be. But libvhdi, and oslo.utils in Glance and Nova, take
        the original size for the disk's and read past its end. Xen Orchestra refuses the image.
    Fix: set the original size to the current one.
    """
    if footer.original_size > footer.current_size:
        return Fault(
            "the disk was made smaller, and libvhdi and oslo.utils (Glance, Nova) go by its original size",
            footer.span("original_size"),
            expected=exact(footer.current_size, footer.original_size),
            found=exact(footer.original_size, footer.current_size),
            related=(footer.span("current_size"),),
        )
    return None


@rule(
    "VHD150",
    "size-zero",
    part="footer",
    severity=ERROR,
    doubts="data",
    spec="Hard Disk Footer Format: Current Size",
)
def size_zero(footer: Footer) -> Fault | None:
    """The disk has no bytes.

    Checks: the current size is not 0.
    Matters: there is nothing to import. 7-Zip refuses the image, qemu shows an empty disk.
    Fix: ask for the image again.
    """
    if not footer.current_size:
        return Fault("the disk's size is zero", footer.span("current_size"), "at least one sector", "0")
    return None


@rule(
    "VHD151",
    "size-not-in-sectors",
    part="footer",
    severity=ERROR,
    doubts="description",
    spec="Hard Disk Footer Format: Current Size; CreateVirtualDisk",
)
def size_not_in_sectors(footer: Footer) -> Fault | None:
    """The disk's size is not a whole number of sectors.

    Checks: the current size is a multiple of 512.
    Matters: qemu drops the rest, other readers pad it. The end of the disk is not the same everywhere.
    Fix: round the size up to a whole sector, and fill that with zeros.
    """
    if footer.current_size % SECTOR:
        return Fault(
            "the disk ends in the middle of a sector",
            footer.span("current_size"),
            expected=f"a multiple of 512, such as {round_up(footer.current_size, SECTOR)}",
            found=str(footer.current_size),
        )
    return None


@rule(
    "VHD152",
    "size-over-2040-gib",
    part="footer",
    severity=WARNING,
    spec="Microsoft: About VHD; qemu: VHD_MAX_SECTORS",
)
def size_over_2040_gib(footer: Footer) -> Fault | None:
    """The disk is larger than 2040 GiB, the most that the format is specified for.

    Checks: the current size is at most 0xFF000000 sectors.
    Matters: qemu and Hyper-V refuse it. XenServer and VirtualBox open some larger ones.
    Fix: make the disk smaller inside the guest and shrink it with the tool that made it, or use VHDX.
    """
    if footer.current_size > MAX_DYNAMIC:
        return Fault(
            "the disk is larger than the format allows",
            footer.span("current_size"),
            expected=f"at most {exact(MAX_DYNAMIC, footer.current_size)}",
            found=exact(footer.current_size, MAX_DYNAMIC),
        )
    return None


@rule("VHD153", "size-under-3-mib", part="footer", severity=NOTE, spec="Microsoft: About VHD")
def size_under_3_mib(footer: Footer) -> Fault | None:
    """The disk is smaller than 3 MiB, the least that Windows makes.

    Checks: the current size is at least 3 MiB.
    Matters: Windows and Hyper-V may not attach it. No operating system fits in it.
    Fix: if Windows must attach it, enlarge the disk to 3 MiB or more.
    """
    if 0 < footer.current_size < MIN_SIZE:
        return Fault(
            "the disk is smaller than Windows makes one",
            footer.span("current_size"),
            expected=f"at least {exact(MIN_SIZE, footer.current_size)}",
            found=exact(footer.current_size, MIN_SIZE),
        )
    return None


@rule(
    "VHD154",
    "geometry-truncates-disk",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="qemu: block/vpc.c",
)
def geometry_truncates_disk(footer: Footer) -> Fault | None:
    """The geometry spans less than the disk, and some readers go by the geometry.

    Checks: cylinders x heads x sectors x 512 against the current size, for creators of whose images qemu takes the
        geometry's size: every qemu for "vpc " and "qemu"; qemu 9 and older for all but "win ", "qem2", "d2v ", "tap",
        "CTXS".
    Matters: these cut off the end of the disk without a word when they read or convert the image.
    Fix: write the specification's geometry in its place if that spans the disk. Otherwise write the disk into a new
        image of a size that a geometry spans.
    """
    if not is_cut_by_readers(footer, footer.geometry):
        return None
    return Fault(
        f"the geometry spans less than the disk, and {_who(footer)} would cut off the rest",
        _geometry_span(footer),
        expected=f"{exact(footer.current_size, footer.geometry_size)}, the current size",
        found=f"{_words(footer.geometry)} = {exact(footer.geometry_size, footer.current_size)}",
        fix=_remedy(footer),
        related=(footer.span("current_size"),),
    )


def _is_larger_than_computed(footer: Footer) -> bool:
    # vhd-util rounds the size up to sectors, and to at least one.
    return footer.geometry > geometry(round_up(footer.current_size, SECTOR))


@rule(
    "VHD155",
    "geometry-too-large",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
)
def geometry_too_large(footer: Footer) -> Fault | None:
    """The geometry is larger than the specification computes for this size.

    Checks: cylinders, heads and sectors, compared as one 32-bit number, as vhd-util does, with the specification's. The
        largest geometry there is has VHD158 of its own.
    Matters: XenServer refuses the image ("geometry too large"). Xen Orchestra writes such geometries. If more sectors
        come out than the disk has, VHD157 says what qemu makes of that.
    Fix: write the specification's geometry in its place if that spans the disk. Otherwise write the disk into a new
        image of a size that a geometry spans.
    """
    if _is_larger_than_computed(footer) and footer.geometry != MAX_GEOMETRY:
        return Fault(
            "the geometry is larger than the specification's for this size",
            _geometry_span(footer),
            expected=f"at most {_words(geometry(round_up(footer.current_size, SECTOR)))}",
            found=_words(footer.geometry),
            fix=_remedy(footer),
        )
    return None


@rule("VHD156", "geometry-unusual", part="image", severity=NOTE, doubts="description", spec="Appendix: CHS Calculation")
def geometry_unusual(image: Image) -> Fault | None:
    """The geometry is not the one that the specification computes for this size.

    Checks: cylinders, heads and sectors, if they are not too large and no reader goes by them.
    Matters: a guest that boots through the geometry may not find its boot sector. DiscUtils warns.
    Fix: write the specification's geometry in its place if that spans the disk. Otherwise write the disk into a new
        image of a size that a geometry spans.
    """
    footer = image.footer
    if footer is None or footer.geometry in (geometry(footer.current_size), MAX_GEOMETRY):
        return None
    if _is_larger_than_computed(footer) or is_cut_by_readers(footer, footer.geometry) or _exceeds(footer):
        return None  # VHD155, VHD154 or VHD157 says so
    return Fault(
        "the geometry is not the specification's for this size",
        _geometry_span(footer),
        expected=_words(geometry(footer.current_size)),
        found=_words(footer.geometry),
        fix=_remedy(footer),
    )


def _exceeds(footer: Footer) -> bool:
    """Say whether some qemu sees a larger disk, because of the geometry."""
    size = size_by_geometry(footer)
    return size is not None and size > footer.current_size


@rule(
    "VHD157",
    "geometry-exceeds-disk",
    part="image",
    severity=WARNING,
    doubts="description",
    spec="qemu: block/vpc.c",
)
def geometry_exceeds_disk(image: Image) -> Fault | None:
    """The geometry spans more than the disk, and some readers go by the geometry.

    Checks: cylinders x heads x sectors x 512 against the current size and against what the block allocation table can
        hold, for the creators of VHD154.
    Matters: these qemus cannot open a dynamic disk whose table is too short for that ("Page table too small"). They
        show a larger disk than there is: at its end zeros if it is dynamic, the footer if it is fixed.
    Fix: write the specification's geometry in its place if that spans the disk. Otherwise write the disk into a new
        image of a size that a geometry spans.
    """
    footer, header = image.footer, image.header
    if footer is None or footer.geometry_size <= footer.current_size or not _exceeds(footer):
        return None
    over = footer.geometry_size - footer.current_size
    holds = None if header is None else header.max_table_entries * header.block_size
    if footer.is_sparse and holds is not None and footer.geometry_size > holds:
        what = f'than the table has blocks for, and {_who(footer)} cannot open the image ("Page table too small")'
    elif footer.is_sparse:
        what = f"than the disk has, and {_who(footer)} shows {exact(over)} of zeros behind its end"
    else:
        what = f"than the disk has, and {_who(footer)} shows {exact(over)} behind its end, beginning with the footer"
    return Fault(
        f"the geometry spans more {what}",
        _geometry_span(footer),
        expected=f"{exact(footer.current_size, footer.geometry_size)}, the current size",
        found=f"{_words(footer.geometry)} = {exact(footer.geometry_size, footer.current_size)}",
        fix=_remedy(footer),
        related=(footer.span("current_size"),),
    )


@rule(
    "VHD158",
    "geometry-forced",
    part="footer",
    severity=NOTE,
    doubts="description",
    spec="vhd-util check; Azure",
)
def geometry_forced(footer: Footer) -> Fault | None:
    """The geometry is the largest there is, on a disk that is smaller.

    Checks: 65535 cylinders, 16 heads and 255 sectors, where the specification computes less.
    Matters: qemu-img with force_size, as Azure's recipe asks for it, and Disk2vhd write this on every disk. Readers
        take it as a sign to go by the current size. XenServer alone refuses it ("geometry too large").
    Fix: for XenServer and what uses its check, write the specification's geometry in its place. Others need nothing.
    """
    if footer.geometry == MAX_GEOMETRY and _is_larger_than_computed(footer):
        return Fault(
            "the geometry is the largest there is, as force_size and Disk2vhd leave it",
            _geometry_span(footer),
            expected=f"at most {_words(geometry(round_up(footer.current_size, SECTOR)))}",
            found=_words(footer.geometry),
            fix=_remedy(footer) if is_cut_by_readers(footer, geometry(footer.current_size)) else "",
        )
    return None
