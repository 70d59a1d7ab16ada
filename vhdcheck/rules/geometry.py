"""VHD15x: the disk's size, and the geometry from which some readers compute another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.geometry import MAX_GEOMETRY, geometry, is_cut_by_readers, is_mended_by_its_own
from vhdcheck.format.limits import MAX_DYNAMIC
from vhdcheck.format.span import Span
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import MIB, SECTOR, exact, round_up
from vhdcheck.verdict.remedies import MEND, REBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.format.structures import Footer

MIN_SIZE = 3 * MIB
"""The smallest disk that Windows makes or attaches (Microsoft, "About VHD")."""


REBUILT = f"rebuild the image, which rounds its size up to what a geometry spans: `{REBUILD}`"


def _right_geometry(footer: Footer) -> str:
    """Return a remedy that leaves the size as it is, where there is one."""
    return f"write the right geometry in its place: `{MEND}`" if is_mended_by_its_own(footer) else ""


def _geometry_span(footer: Footer) -> Span:
    return Span(footer.offset + 56, 4, footer.where, name="geometry")


def _words(chs: tuple[int, int, int]) -> str:
    return "{}/{}/{} (cylinders/heads/sectors)".format(*chs)


@rule("VHD150", "size-zero", severity=ERROR, doubts="data", spec="Hard Disk Footer Format: Current Size")
def size_zero(footer: Footer) -> Iterator[Fault]:
    """The disk has no bytes.

    Checks: the current size is not 0.
    Matters: there is nothing to import; 7-Zip refuses the image, qemu shows an empty disk.
    Fix: ask for the image again, or, where the original size is known to be right, for one that was not resized to 0.
    """
    if not footer.current_size:
        yield Fault("the disk's size is zero", footer.span("current_size"), "at least one sector", "0")


@rule(
    "VHD151",
    "size-not-in-sectors",
    severity=ERROR,
    doubts="description",
    spec="Hard Disk Footer Format: Current Size; CreateVirtualDisk",
)
def size_not_in_sectors(footer: Footer) -> Iterator[Fault]:
    """The disk's size is not a whole number of sectors.

    Checks: the current size is a multiple of 512.
    Matters: qemu drops the rest, other readers pad it: the end of the disk is not the same everywhere.
    Fix: rebuild the image, which rounds up: `{rebuild}`
    """
    if footer.current_size % SECTOR:
        yield Fault(
            "the disk ends in the middle of a sector",
            footer.span("current_size"),
            expected=f"a multiple of 512, such as {round_up(footer.current_size, SECTOR)}",
            found=str(footer.current_size),
        )


@rule("VHD152", "size-over-2040-gib", severity=WARNING, spec="Microsoft: About VHD; qemu: VHD_MAX_SECTORS")
def size_over_2040_gib(footer: Footer) -> Iterator[Fault]:
    """The disk is larger than 2040 GiB, the most that the format is specified for.

    Checks: the current size is at most 0xFF000000 sectors.
    Matters: qemu and Hyper-V refuse it; XenServer and VirtualBox open some larger ones.
    Fix: make the disk smaller inside the guest and shrink it with the tool that made it, or use VHDX.
    """
    if footer.current_size > MAX_DYNAMIC:
        yield Fault(
            "the disk is larger than the format allows",
            footer.span("current_size"),
            expected=f"at most {exact(MAX_DYNAMIC)}",
            found=exact(footer.current_size),
        )


@rule("VHD153", "size-under-3-mib", severity=NOTE, spec="Microsoft: About VHD")
def size_under_3_mib(footer: Footer) -> Iterator[Fault]:
    """The disk is smaller than 3 MiB, the least that Windows makes.

    Checks: the current size is at least 3 MiB.
    Matters: Windows and Hyper-V may not attach it; no operating system fits in it.
    Fix: if Windows must attach it, enlarge the disk to 3 MiB or more.
    """
    if 0 < footer.current_size < MIN_SIZE:
        yield Fault(
            "the disk is smaller than Windows makes one",
            footer.span("current_size"),
            expected=f"at least {exact(MIN_SIZE)}",
            found=exact(footer.current_size),
        )


@rule("VHD154", "geometry-truncates-disk", severity=WARNING, doubts="description", spec="qemu: block/vpc.c")
def geometry_truncates_disk(footer: Footer) -> Iterator[Fault]:
    """The geometry spans less than the disk, and some readers go by the geometry.

    Checks: cylinders x heads x sectors x 512 against the current size, for creators of whose images qemu takes the
        geometry's size: always for "vpc " and "qemu"; up to qemu 9 for all but "win ", "qem2", "d2v ", "tap", "CTXS".
    Matters: there the end of the disk is cut off without a word when the image is read or converted.
    Fix: rebuild the image by the current size: `{rebuild}`
    """
    if not is_cut_by_readers(footer, footer.geometry):
        return
    who = "qemu" if footer.creator_application in creators.CHS_ALWAYS else "qemu 9 and older"
    yield Fault(
        f"the geometry spans less than the disk, and {who} would cut off the rest",
        _geometry_span(footer),
        expected=f"{exact(footer.current_size)}, the current size",
        found=f"{_words(footer.geometry)} = {exact(footer.geometry_size)}",
        fix=_right_geometry(footer),
        related=(footer.span("current_size"),),
    )


@rule("VHD155", "geometry-too-large", severity=WARNING, doubts="description", spec="vhd-util check")
def geometry_too_large(footer: Footer) -> Iterator[Fault]:
    """The geometry is larger than the specification computes for this size.

    Checks: cylinders, heads and sectors, compared as one 32-bit number, as vhd-util does, with the specification's.
    Matters: XenServer refuses the image ("geometry too large"). `qemu-img -o force_size=on` and Disk2vhd write the
        largest geometry there is on every disk; all other readers accept that.
    Fix: write the right geometry in its place: `{mend}`. For some programs' images that would make qemu cut off the
        disk's end; rebuild those, which rounds the size up to what a geometry spans: `{rebuild}`
    """
    # vhd-util rounds the size up to sectors, and to at least one.
    right = geometry(round_up(footer.current_size, SECTOR))
    if _packed(footer.geometry) <= _packed(right):
        return
    yield Fault(
        "the geometry is larger than the specification's for this size"
        + (", as force_size and Disk2vhd leave it" if footer.geometry == MAX_GEOMETRY else ""),
        _geometry_span(footer),
        expected=f"at most {_words(right)}",
        found=_words(footer.geometry),
        fix=_right_geometry(footer) or REBUILT,
    )


def _packed(chs: tuple[int, int, int]) -> int:
    return chs[0] << 16 | chs[1] << 8 | chs[2]


@rule("VHD156", "geometry-unusual", severity=NOTE, doubts="description", spec="Appendix: CHS Calculation")
def geometry_unusual(footer: Footer) -> Iterator[Fault]:
    """The geometry is not the one that the specification computes for this size.

    Checks: cylinders, heads and sectors, where they are neither too large nor make a reader cut off the disk.
    Matters: a guest that boots through the geometry may not find its boot sector; DiscUtils warns.
    Fix: write the right geometry in its place: `{mend}`
    """
    right = geometry(footer.current_size)
    if footer.geometry in (right, MAX_GEOMETRY) or _packed(footer.geometry) > _packed(right):
        return
    if is_cut_by_readers(footer, footer.geometry):
        return  # VHD154 says so
    yield Fault(
        "the geometry is not the specification's for this size",
        _geometry_span(footer),
        expected=_words(right),
        found=_words(footer.geometry),
        fix=_right_geometry(footer) or REBUILT,
    )
