"""VHD6xx: the file as a whole: other formats, truncation, things before and behind the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format.layout import FOOTER_SIZE, SHORT_FOOTER_SIZE
from vhdcheck.format.limits import SEARCH
from vhdcheck.format.lookalikes import recognise_content
from vhdcheck.format.span import Span
from vhdcheck.format.structures import FIXED, KILLED, Footer, is_footer
from vhdcheck.rules.registry import ERROR, WARNING, Fault, rule
from vhdcheck.rules.table import has_table, table_of
from vhdcheck.units import SECTOR, count, exact, grouped
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import FileEnds, Image


def lacks_tail(image: Image) -> bool:
    """Say whether a file does not end with a footer."""
    return image.tail is None


def footer_of(image: Image) -> Footer:
    """Return the footer of an image that is known to have one."""
    assert image.footer is not None
    return image.footer


def is_fixed(image: Image) -> bool:
    """Say whether a disk is a fixed one."""
    return image.footer is not None and image.footer.disk_type == FIXED


@rule(
    "VHD601",
    "no-footer",
    part="file",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Hard Disk Footer Format",
    when=lacks_tail,
)
def no_footer(file: FileEnds, image: Image) -> Fault | None:
    """There is no footer anywhere: the file is not a VHD.

    Checks: "conectix" in the last 512 or 511 bytes, in the last 64 KiB with something behind it, at the start, and at
        up to 192 places in between at which the fixed disk that it describes may end.
    Matters: no reader recognises the image.
    Fix: transfer the image again, whole: if it was a VHD, its end is missing. If it is a disk of another format,
        convert it from that format, as renaming does not help. An image that was split into .v01, .v02, ... must be
        joined by Virtual PC.
    """
    if image.footer is not None or image.lookalike is not None or _is_killed(file):
        return None
    if not file.size:
        return Fault("the file is empty", Span(0, 0, "file"), "a footer", "0 bytes", "transfer or make the image again")
    if file.size < SHORT_FOOTER_SIZE:
        return Fault(
            "the file is shorter than a footer",
            Span(0, file.size, "file"),
            expected="at least 512 bytes",
            found=f"{file.size} bytes",
            fix="transfer or make the image again: next to nothing of it is here",
        )
    mangled = b"\xef\xbf\xbd" in file.head[:1024] + file.tail
    return Fault(
        "there is no footer" + ("; the file went through a conversion of text (UTF-8)" if mangled else ""),
        Span(file.size - min(SECTOR, file.size), min(SECTOR, file.size), "footer"),
        expected="conectix",
        found=file.tail[-FOOTER_SIZE:][:8].hex(" "),
        fix="transfer the file again, in binary mode" if mangled else "",
    )


@rule(
    "VHD602",
    "other-format",
    part="file",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="the other format's own",
    when=lacks_tail,
)
def other_format(_file: FileEnds, image: Image) -> Fault | None:
    """The file is of another format.

    Checks: if there is no footer, the marks of VHDX, VMDK, VDI, QCOW2, of raw disks, CDs, archives, compressed files,
        Git LFS pointers, and HTML, XML and JSON pages. An archive is one even if the footer of a VHD in it is found.
    Matters: renaming a file to .vhd does not make it one.
    Fix: convert, unpack or download it properly, as the finding says.
    """
    found = image.lookalike
    if image.footer is None and found is not None:
        place = Span(found.offset, found.length, "file")
        return Fault(f"this is {found.name}, not a VHD", place, "a VHD", found.name, found.fix)
    return None


def _is_killed(file: FileEnds) -> bool:
    return file.tail[-FOOTER_SIZE:] == KILLED


@rule(
    "VHD603",
    "footer-killed",
    part="file",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="blktap: vhd_kill_footer",
    when=lacks_tail,
)
def footer_killed(file: FileEnds) -> Fault | None:
    """XenServer overwrote the footer because the image was in use.

    Checks: the last 512 bytes are not all 0xC7.
    Matters: the image was copied while a virtual machine wrote to it, or the host crashed then. Its data may be torn.
    Fix: detach the disk and take the image again. After a crash, repair it on XenServer first (vhd-util repair).
    """
    if _is_killed(file):
        return Fault(
            "the footer was destroyed on purpose while the image was in use",
            Span(file.size - FOOTER_SIZE, FOOTER_SIZE, "footer"),
            expected="conectix",
            found="512 bytes of 0xc7",
        )
    return None


@rule(
    "VHD604",
    "trailing-bytes",
    part="image",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def trailing_bytes(image: Image) -> Fault | None:
    """Something follows the footer.

    Checks: if the file does not end with a footer, its last 64 KiB, at any offset; of a fixed disk, the places where it
        may have ended before the file became longer; of a dynamic disk, what follows its last block.
    Matters: XenServer, Windows, VirtualBox and libvhdi look for the footer in the last 512 bytes and refuse the image.
        qemu does not see that a fixed disk is a VHD. The usual causes are a tool that enlarged the file as if it were a
        raw disk, and a build that appended something.
    Fix: cut the file off behind the footer, if nothing that is needed was written there. If the guest has used the
        longer file of a fixed disk, that is a raw disk now, with an old footer in the middle.
    """
    if image.stray is None:
        return None
    end = image.stray.offset + len(image.stray.raw)
    behind = image.size - end
    what = "; the file was enlarged, or something was appended to it" if behind >= SEARCH - FOOTER_SIZE else ""
    return Fault(
        f"the footer, at 0x{image.stray.offset:x}, is followed by {count(behind, 'byte')}{what}",
        Span(end, behind, "file"),
        expected=f"a file of {grouped(end)} bytes",
        found=f"{grouped(image.size)} bytes",
        fix=f"cut the file to {grouped(end)} bytes"
        + (", if nothing that is needed was written behind that" if what else "")
        + (
            ". If the guest has used the longer disk, the file is a raw disk now, with an old footer in it"
            if what and image.stray.disk_type == FIXED
            else ""
        ),
    )


@rule(
    "VHD605",
    "truncated",
    part="image",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Block Allocation Table and Data Blocks",
    when=has_table,
)
def truncated(image: Image) -> Fault | None:
    """The end of the file is missing, and blocks with it.

    Checks: if the footer at the end is missing, the end of the last block against the length of the file.
    Matters: data is lost. qemu notices, XenServer does not get that far.
    Fix: transfer the image again, and compare the file's length with the sender's.
    """
    table = table_of(image)
    if image.tail is None and image.footer is image.copy:
        whole = table.claimed_end + FOOTER_SIZE
        if table.used and whole > image.size + FOOTER_SIZE:
            lost = count(table.past_end.count, "block")
            return Fault(
                f"the file is truncated: at least {exact(whole - image.size)} are missing, and {lost} with them",
                Span(image.size, whole - image.size, "file"),
                expected=f"at least {grouped(whole)} bytes",
                found=f"{grouped(image.size)} bytes",
            )
    return None


@rule("VHD606", "length-not-in-sectors", part="image", severity=WARNING, doubts="data", spec="vhd-util check")
def length_not_in_sectors(image: Image) -> Fault | None:
    """The file is not a whole number of sectors long.

    Checks: the length is a multiple of 512, or one byte less for a footer of 511 bytes.
    Matters: XenServer refuses the image, qemu rounds the length up. Something was lost or added on the way.
    Fix: transfer the image again, in binary mode.
    """
    short = image.tail is not None and len(image.tail.raw) == SHORT_FOOTER_SIZE
    if image.tail is not None and image.size % SECTOR != (SHORT_FOOTER_SIZE if short else 0):
        return Fault(
            "the file is not a whole number of sectors long",
            Span(image.size - image.size % SECTOR, image.size % SECTOR, "file"),
            expected="a multiple of 512",
            found=f"{grouped(image.size)} bytes: {image.size % SECTOR} over",
        )
    return None


def _fixed_length(footer: Footer) -> tuple[int, int]:
    """Return (the length that a fixed disk's file should have, the one it has up to the footer's end)."""
    return footer.current_size + len(footer.raw), footer.offset + len(footer.raw)


@rule(
    "VHD607",
    "fixed-disk-truncated",
    part="image",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Hard Disk Footer Format",
    when=is_fixed,
)
def fixed_disk_truncated(image: Image) -> Fault | None:
    """A fixed disk's file is shorter than the disk.

    Checks: the length of the file is the current size and the footer. vhd-util does not compare them.
    Matters: the end of the disk is missing, or something in the middle. Then everything behind that is in the wrong
        place.
    Fix: transfer the image again. If the disk was resized without its file, resize it back with the same tool.
    """
    whole, length = _fixed_length(footer_of(image))
    if length < whole:
        return Fault(
            f"{exact(whole - length)} of the disk are missing",
            Span(0, image.size, "file"),
            expected=f"{grouped(whole)} bytes",
            found=f"{grouped(length)} bytes",
        )
    return None


@rule(
    "VHD608",
    "fixed-disk-longer",
    part="image",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format; Azure",
    when=is_fixed,
)
def fixed_disk_longer(image: Image) -> Fault | None:
    """A fixed disk's file is longer than the disk and its footer.

    Checks: the length of the file is the current size and the footer.
    Matters: most readers ignore what is over. 7-Zip takes the disk's data from another place. Azure refuses the image.
    Fix: take the bytes between the disk and the footer out, if they hold nothing. If the disk should be as large as the
        file, ask who resized it.
    """
    footer = footer_of(image)
    whole, length = _fixed_length(footer)
    if length > whole:
        return Fault(
            f"{exact(length - whole)} between the end of the disk and the footer belong to nothing",
            Span(footer.current_size, length - whole, "file"),
            expected=f"{grouped(whole)} bytes",
            found=f"{grouped(length)} bytes",
        )
    return None


@rule("VHD609", "vhd-in-vhd", part="file", severity=WARNING, doubts="data", spec="qemu: vpc_probe", when=is_fixed)
def vhd_in_vhd(file: FileEnds, image: Image) -> Fault | None:
    """A fixed disk's content is itself a VHD: it was wrapped twice.

    Checks: the last sector of the disk is not a footer.
    Matters: the guest sees a disk that is one sector longer than it should be, with a footer at its end. It happens if
        qemu-img converts a fixed VHD and is not told that it is one, because qemu takes it for a raw disk.
    Fix: take the outer footer off, the last 512 bytes of the file.
    """
    inner = file.tail[-2 * FOOTER_SIZE : -FOOTER_SIZE]
    if image.tail is not None and len(inner) == FOOTER_SIZE and is_footer(inner):
        return Fault(
            "the disk's last sector is a footer: the image was wrapped twice",
            Span(file.size - 2 * FOOTER_SIZE, FOOTER_SIZE, "data"),
            expected="the guest's data",
            found="conectix",
        )
    return None


@rule(
    "VHD610",
    "content-looks-like-image",
    part="file",
    severity=WARNING,
    spec="CVE-2024-32498; qemu: vpc_probe",
    when=is_fixed,
)
def content_looks_like_image(file: FileEnds, image: Image) -> Fault | None:
    """A fixed disk's first sector looks like another disk image.

    Checks: the first bytes of the disk against the marks of VHD, VHDX, QCOW2, VMDK, VDI and LUKS.
    Matters: a program that guesses the format takes the wrong one. That is how files of a host were read through
        OpenStack. qemu takes a fixed disk that begins with "conectix" for a damaged dynamic one.
    Fix: ask the sender why one image is inside another. Tell every program that the format is VHD. qemu-img cannot
        open a fixed disk that begins with "conectix", whatever it is told.
    """
    if footer_of(image).offset and (found := recognise_content(file.head)) is not None:
        return Fault(
            f"the disk begins like {found.name}",
            Span(found.offset, found.length, "data"),
            expected="a boot sector, or nothing",
            found=found.name,
        )
    return None


@rule(
    "VHD611",
    "two-images",
    part="file",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="CVE-2024-32498; qemu: vpc_probe",
    when=is_fixed,
)
def two_images(file: FileEnds, image: Image) -> Fault | None:
    """A fixed disk begins with a sound footer of another image.

    Checks: the first sector of a fixed disk is not a footer with a good checksum.
    Matters: there are two images in one file. qemu and oslo.utils (Glance, Nova) read the dynamic image that begins
        there, XenServer and Windows the fixed disk. 7-Zip refuses it.
    Fix: find out which of the two is meant, and ask the sender for that one alone.
    """
    head = file.head[:FOOTER_SIZE]
    if image.tail is None or image.tail.offset == 0 or not is_footer(head):
        return None
    first = Footer.parse(head, 0, "data")
    if first.checksum == first.computed_checksum:
        place = Span(0, FOOTER_SIZE, "data")
        return Fault("the disk begins with the footer of another image", place, "the guest's data", "conectix")
    return None


@rule("VHD650", "not-seen", part="image", severity=ERROR, doubts="data", spec="none: a limit of streams")
def not_seen(image: Image) -> list[Fault]:
    """A part of the image had passed in a stream before anything said where it is.

    Checks: in a stream, the table, the batmap and the parent locators come behind the header that points at them.
    Matters: nothing is known of that part, so the image cannot be called accepted. Readers of streams, such as
        XenServer's and Xen Orchestra's imports, cannot read it either.
    Fix: check it as a file, or write the disk into a new image, which puts its parts in order.
    """
    if not image.unseen:
        return []
    parts = dict.fromkeys(image.unseen)
    return [Fault(f"the {part.words} passed before it was known where it is", part) for part in parts]
