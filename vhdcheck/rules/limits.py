"""VHD7xx: what the target accepts, over and above the format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.geometry import chs_size_down, chs_size_up
from vhdcheck.format.limits import MAX_DYNAMIC
from vhdcheck.format.span import Span
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, FIXED, Footer
from vhdcheck.rules.file import footer_of, is_fixed
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.rules.table import has_table
from vhdcheck.units import SECTOR, exact, grouped, human, round_up
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import Image
    from vhdcheck.targets import Target

COPY_IN_DOUBT = (
    "put the right footer in the copy's place, if the rest of the file tells which one that is. Otherwise ask its maker"
    " which of the two sizes is right"
)
CYLINDER = 16 * 255 * SECTOR
"""The largest cylinder, in bytes: what rounding to a geometry can add."""


def _is_near(size: int, limit: int) -> bool:
    """Say whether a size is within one cylinder or 1 % of a limit, on either side."""
    return abs(size - limit) <= max(CYLINDER, limit // 100)


def _largest(limit: int) -> str:
    """Name the largest disk that passes, also with the geometry that XenServer wants."""
    return (
        f"the largest disk that passes is {grouped(limit)} bytes; the largest whose geometry is exact, which qemu-img"
        f" makes without rounding up, is {grouped(chs_size_down(limit))} bytes"
    )


@rule("VHD701", "virtual-size-over-limit", part="footer", severity=ERROR, code=Code.VIRTUAL_SIZE, spec="the target")
def virtual_size_over_limit(footer: Footer, target: Target) -> Fault | None:
    """The disk is larger than the target accepts.

    Checks: the current size against the target's limit, 40 GiB where nothing else is said.
    Matters: the import fails. It is the disk's size that counts, not the space in use. qemu-img rounds sizes up to what
        a geometry spans: 40G becomes 42 951 106 560 bytes, 1 433 600 too many.
    Fix: shrink the file systems and partitions inside the guest. Then shrink the disk to the limit or less.
    """
    limit = target.max_virtual_size
    if limit is None or footer.current_size <= limit:
        return None
    over = footer.current_size - limit
    near = _is_near(footer.current_size, limit)
    why = ""
    if near and footer.current_size == chs_size_up(limit):
        why = "; qemu-img rounded it up to what a geometry spans"
    return Fault(
        f"the disk is {exact(over)} larger than the limit{why}",
        footer.span("current_size"),
        expected=f"at most {exact(limit, footer.current_size)}",
        found=exact(footer.current_size, limit),
        fix=f"{_largest(limit)}. Once the guest's partitions end before that, shrink the disk to it" if near else "",
    )


@rule("VHD702", "physical-size-over-limit", part="size", severity=ERROR, code=Code.PHYSICAL_SIZE, spec="the target")
def physical_size_over_limit(size: int, target: Target) -> Fault | None:
    """The file is longer than the target accepts.

    Checks: the length of the file against the target's limit, 40 GiB where nothing else is said.
    Matters: the import fails. A fixed disk's file is 512 bytes longer than the disk, and bitmaps add 0.02 % to a
        dynamic one's, so a full disk of exactly the limit's size does not pass.
    Fix: fill the free space inside the guest with zeros, and write the disk into a new dynamic image, which leaves
        zeros out.
    """
    limit = target.max_physical_size
    if limit is None or size <= limit:
        return None
    fix = ""
    if _is_near(size, limit):
        fix = (
            "a fixed disk's file is 512 bytes longer than the disk, and qemu-img would round up a dynamic one. Make the"
            f" guest's partitions end before {grouped(chs_size_down(limit - SECTOR))} bytes, then shrink the disk to it"
        )
    return Fault(
        f"the file is {exact(size - limit)} longer than the limit",
        Span(limit, size - limit, "file"),
        expected=f"at most {exact(limit, size)}",
        found=exact(size, limit),
        fix=fix,
    )


@rule("VHD703", "near-limit", part="footer", severity=NOTE, code=Code.VIRTUAL_SIZE, spec="the target")
def near_limit(footer: Footer, image: Image, target: Target) -> list[Fault]:
    """The disk or the file is just below the limit.

    Checks: sizes within 1 % or one cylinder below the target's limits, read as binary units (40GB is 40 GiB).
    Matters: converting the image once more can push it over: qemu-img rounds 40G up to 42 951 106 560 bytes, and the
        file of a fixed disk of 40 GiB is 512 bytes over.
    Fix: make the disk smaller if it will be converted again.
    """
    faults = []
    limit = target.max_virtual_size
    # 2040 GiB and more are the format's own limits, to which nothing is rounded up.
    if (
        limit is not None
        and limit < MAX_DYNAMIC
        and limit >= footer.current_size
        and _is_near(footer.current_size, limit)
    ):
        up = chs_size_up(footer.current_size)
        over = f"; qemu-img would round it up to {grouped(up)} bytes, over the limit" if up > limit else ""
        below = f"{human(limit - footer.current_size)} below" if footer.current_size < limit else "exactly as large as"
        faults.append(
            Fault(
                f"the disk is {below} the limit{over}",
                footer.span("current_size"),
                expected=f"at most {exact(limit, footer.current_size)}",
                found=exact(footer.current_size, limit),
                fix=f"leave it as it is; when it is made anew: {_largest(limit)}" if over else "",
            )
        )
    limit = target.max_physical_size
    if limit is not None and image.size <= limit and _is_near(image.size, limit):
        faults.append(
            Fault(
                f"the file is {human(limit - image.size)} below the limit",
                Span(0, image.size, "file"),
                expected=f"at most {exact(limit, image.size)}",
                found=exact(image.size, limit),
            )
        )
    return faults


@rule(
    "VHD704",
    "full-size-over-limit",
    part="image",
    severity=NOTE,
    code=Code.PHYSICAL_SIZE,
    spec="the target",
    when=has_table,
)
def full_size_over_limit(image: Image, target: Target) -> Fault | None:
    """With every block in use the file would be longer than the target accepts.

    Checks: metadata, all blocks with their bitmaps, and the footer, against the limit on the file.
    Matters: the image passes today. Once the guest has written everywhere it does not.
    Fix: nothing need be done today. Before a later import, fill the free space inside the guest with zeros and write
        the disk into a new dynamic image, which leaves zeros out. Or make the disk smaller.
    """
    limit, header = target.max_physical_size, image.header
    assert header is not None  # a table is read by a header's word
    if limit is None or image.size > limit:
        return None
    virtual_limit = target.max_virtual_size
    if virtual_limit is not None and footer_of(image).current_size > virtual_limit:
        return None
    full = max(span.end for span in image.metadata) + image.blocks_needed * header.slot_length + SECTOR
    if full > limit:
        return Fault(
            "the file would be over the limit with every block in use",
            Span(0, image.size, "file"),
            expected=f"at most {exact(limit, full)}",
            found=f"{exact(full, limit)} when full, {exact(image.size)} now",
        )
    return None


@rule(
    "VHD705",
    "another-size-over-limit",
    part="footer",
    severity=WARNING,
    code=Code.VIRTUAL_SIZE,
    doubts="description",
    spec="oslo.utils; libvhdi; qemu",
)
def another_size_over_limit(footer: Footer, image: Image, target: Target) -> list[Fault]:
    """Another reader sees a disk that is over the limit.

    Checks: original size, size by geometry, and the sizes in the footer's copy, if the current size passes.
    Matters: Glance and Nova (oslo.utils) and libvhdi take the original size, qemu the copy's or the geometry's. Each of
        them would refuse the disk, or bill it.
    Fix: make all sizes the same: set the original size to the current one, and write the geometry anew.
    """
    limit = target.max_virtual_size
    if limit is None or footer.current_size > limit:
        return []
    sizes = [(footer.original_size, footer, "original_size", "oslo.utils (Glance, Nova) and libvhdi")]
    if footer.creator_application in creators.CHS_ALWAYS:
        sizes.append((footer.geometry_size, footer, "cylinders", "qemu"))
    if (copy := image.copy) is not None and copy is not footer and footer.is_sparse:
        sizes.append((copy.current_size, copy, "current_size", "qemu 10 and every reader of the copy"))
    return [
        Fault(
            f"{who} would see a disk over the limit",
            stated.span(field),
            f"at most {exact(limit, size)}",
            exact(size, limit),
            COPY_IN_DOUBT if stated.where == "footer_copy" else "",
        )
        for size, stated, field, who in sizes
        if size > limit
    ]


@rule("VHD710", "disk-type-not-accepted", part="footer", severity=ERROR, spec="the target")
def disk_type_not_accepted(footer: Footer, target: Target) -> Fault | None:
    """The target does not take disks of this type.

    Checks: fixed or dynamic against the target's list. A differencing disk has VHD501 of its own.
    Matters: the import fails. Azure takes fixed disks only, Xen Orchestra none.
    Fix: write the disk into a new image of a type in the target's list.
    """
    kind = creators.DISK_TYPES.get(footer.disk_type, "")
    if kind in ("fixed", "dynamic") and kind not in target.disk_types:
        wanted = [name for name in target.disk_types if name != "differencing"]
        size = round_up(footer.current_size, max(target.virtual_size_multiple, SECTOR))
        return Fault(
            f"{target.name} takes {' and '.join(wanted) or 'no such'} disks only",
            footer.span("disk_type"),
            expected=" or ".join(f"{FIXED if name == 'fixed' else DYNAMIC} ({name})" for name in wanted),
            found=f"{footer.disk_type} ({kind})",
            fix=f"write the disk into a new {wanted[0]} image of {grouped(size)} bytes" if wanted else "",
        )
    return None


@rule("VHD711", "virtual-size-multiple", part="footer", severity=ERROR, spec="the target")
def virtual_size_multiple(footer: Footer, target: Target) -> Fault | None:
    """The disk's size is not a multiple of what the target asks.

    Checks: the current size; Azure asks for whole MiB.
    Matters: the import fails. Azure says "unsupported virtual size" or that the cookie is wrong.
    Fix: enlarge the disk to the next such size.
    """
    multiple = target.virtual_size_multiple
    if multiple > SECTOR and footer.current_size % multiple and footer.disk_type != DIFFERENCING:
        up = round_up(footer.current_size, multiple)
        return Fault(
            f"{target.name} takes whole multiples of {human(multiple)} only",
            footer.span("current_size"),
            expected=f"{grouped(up)} bytes ({human(up)})",
            found=f"{grouped(footer.current_size)} bytes: {grouped(footer.current_size % multiple)} over",
            fix=f"enlarge the disk to {grouped(up)} bytes",
        )
    return None


@rule(
    "VHD712",
    "file-is-not-virtual-plus-512",
    part="image",
    severity=ERROR,
    doubts="description",
    spec="the target",
    when=is_fixed,
)
def file_is_not_virtual_plus_512(image: Image, target: Target) -> Fault | None:
    """The file is not exactly 512 bytes longer than the disk.

    Checks: for targets that ask it (Azure), the length of a fixed disk's file.
    Matters: the import fails. Azure says that the footer's cookie is wrong.
    Fix: write the disk into a new fixed image of the right length.
    """
    footer = footer_of(image)
    if target.file_is_virtual_plus_footer and image.size != footer.current_size + SECTOR:
        size = round_up(footer.current_size, max(target.virtual_size_multiple, SECTOR))
        return Fault(
            f"{target.name} takes files that are exactly 512 bytes longer than the disk",
            Span(0, image.size, "file"),
            expected=f"{grouped(footer.current_size + SECTOR)} bytes",
            found=f"{grouped(image.size)} bytes",
            fix=f"write the disk into a new fixed image, of {grouped(size)} bytes and the footer",
        )
    return None


@rule("VHD713", "virtual-size-under-minimum", part="footer", severity=ERROR, spec="the target")
def virtual_size_under_minimum(footer: Footer, target: Target) -> Fault | None:
    """The disk is smaller than the target accepts.

    Checks: the current size against the target's minimum.
    Matters: the import fails.
    Fix: enlarge the disk.
    """
    least = target.min_virtual_size
    if least is not None and 0 < footer.current_size < least:
        return Fault(
            f"{target.name} takes disks of at least {human(least)}",
            footer.span("current_size"),
            expected=f"at least {exact(least, footer.current_size)}",
            found=exact(footer.current_size, least),
        )
    return None


@rule("VHD714", "creator-not-resizable", part="footer", severity=NOTE, spec="the target")
def creator_not_resizable(footer: Footer, target: Target) -> Fault | None:
    """The target imports images of this creator, and cannot resize them.

    Checks: the creator application against the target's list.
    Matters: servers of a larger flavour fail to build from the image (reported for Rackspace and images by qemu-img).
    Fix: it can be imported as it is. If its servers must be resized, write it anew with XenServer's vhd-util.
    """
    if not target.unresizable_creators:
        return None
    tag = footer.creator_application.decode("latin-1").rstrip("\0 ")
    if tag in target.unresizable_creators:
        return Fault(
            f"{target.name} cannot resize images by {creators.program(footer) or tag}",
            footer.span("creator_application"),
            fix=None,  # it stands on every image of qemu-img
        )
    return None
