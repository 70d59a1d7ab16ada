"""VHD101 to VHD104, VHD124, VHD125, VHD130 to VHD133: which bytes are the footer, and whether its copy agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import layout
from vhdcheck.format.span import Span
from vhdcheck.format.structures import COOKIE, FIXED, POISONED_COOKIE, Footer, checksum
from vhdcheck.rules.registry import ERROR, WARNING, Fault, rule
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import Image

READS_COPY = "qemu, oslo.utils, ocaml-vhd and Xen Orchestra read the copy"
READS_TAIL = "XenServer, VirtualBox, libvhdi, dissect and Hyper-V read the footer at the end"
HIDDEN_BYTE = 85
HIDES_LATE = (0x00000001, 0x00010001)
"""Versions of blktap that set the hidden byte without a new checksum, in the copy alone."""


@rule(
    "VHD101",
    "footer-cookie",
    part="footer",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: Cookie",
)
def footer_cookie(footer: Footer) -> Fault | None:
    """The footer does not begin with "conectix".

    Checks: the first 8 bytes of the footer.
    Matters: no reader recognises the image. XenServer writes "v_poison" there to disable an image on purpose.
    Fix: if XenServer disabled it, ask the sender why. Otherwise the mark is damaged and can be written again.
    """
    if footer.cookie != COOKIE:
        poisoned = footer.cookie == POISONED_COOKIE
        what = "XenServer disabled this image on purpose" if poisoned else "its mark is damaged, and the rest is intact"
        return Fault(
            f"the footer is not marked as one: {what}",
            footer.span("cookie"),
            expected="conectix",
            found=footer.cookie.decode("ascii", "backslashreplace"),
            fix="ask the sender why it was disabled" if poisoned else "write the mark again",
        )
    return None


@rule(
    "VHD102",
    "footer-at-end-missing",
    part="image",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def footer_at_end_missing(image: Image) -> Fault | None:
    """The file does not end with a footer; only the copy at its start is left.

    Checks: the last 512 (or 511) bytes of the file.
    Matters: XenServer, Windows, VirtualBox, libvhdi and 7-Zip refuse the image. The usual cause is a transfer that was
        cut off. qemu opens such an image without a word.
    Fix: transfer the image again. If nothing but the footer is missing, its copy can take its place.
    """
    if image.tail is None and image.stray is None and image.footer is image.copy:
        return Fault(
            "the footer at the end of the file is missing",
            Span(max(0, image.size - SECTOR), min(SECTOR, image.size), "footer"),
            expected="conectix",
            found="no footer; its copy at 0x0 is intact",
        )
    return None


def is_of_old_kind(footer: Footer) -> bool:
    """Say whether a footer is one of 511 bytes, as Virtual PC wrote it before 2004."""
    return len(footer.raw) == layout.SHORT_FOOTER_SIZE and not footer.features & 2


def _how_wrong(footer: Footer) -> str:
    """Recognise the usual mistakes of home-grown writers."""
    stored, right = footer.checksum, footer.computed_checksum
    if stored == right ^ 0xFFFF_FFFF:
        return "; it holds the sum itself, not its one's complement"
    if stored.to_bytes(4, "little") == right.to_bytes(4, "big"):
        return "; it is written little-endian"
    if not stored:
        return "; it was never filled in"
    return ""


@rule(
    "VHD103",
    "footer-checksum",
    part="copies",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: Checksum",
)
def footer_checksum(image: Image) -> list[Fault]:
    """A footer's checksum does not match its bytes.

    Checks: the one's complement of the sum of the footer's bytes, with the field itself counted as zero. The copy is
        checked too.
    Matters: XenServer, qemu, 7-Zip and Windows refuse the image: some byte of the footer is not what was written.
    Fix: if the other footer is intact, it can take the place of this one. If none is intact and all fields of this one
        confirm one another, the checksum alone can be put right. Otherwise ask for the image again.
    """
    footer, copy = image.footer, image.copy
    if footer is None or (_is_sound(footer) and (copy is None or copy.raw == footer.raw)):
        return []
    return [_wrong_checksum(image, each) for each in _footers(image) if not _is_sound(each)]


def _wrong_checksum(image: Image, footer: Footer) -> Fault:
    where = "footer" if footer.where == "footer" else "copy of the footer"
    other = image.copy if footer is image.footer else image.footer
    good = other is not None and other is not footer and other.is_signed
    return Fault(
        f"the checksum of the {where} is wrong{_how_wrong(footer)}",
        footer.span("checksum"),
        expected=f"0x{footer.computed_checksum:08x}",
        found=f"0x{footer.checksum:08x}",
        fix="put the other footer, which is intact, in its place"
        if good
        else "no footer is intact. If all fields of this one confirm one another, the checksum can be put right."
        " Otherwise ask for the image again",
    )


def _footers(image: Image) -> list[Footer]:
    """List the footer that is judged and its copy, if they are two."""
    footer, copy = image.footer, image.copy
    if copy is None or copy is footer or footer is None:
        return [] if footer is None else [footer]
    return [footer, copy]


def _is_sound(footer: Footer) -> bool:
    """Say whether a footer's checksum is right, or as an old blktap left it."""
    return footer.is_signed or _is_hidden_late(footer)


def _unhidden(footer: Footer) -> bytes:
    """Return a footer's bytes as they were before blktap hid the image."""
    return footer.raw[:HIDDEN_BYTE] + b"\0" + footer.raw[HIDDEN_BYTE + 1 :]


def _is_hidden_late(footer: Footer) -> bool:
    """Say whether the sum is right but for the hidden byte, in an image of a blktap that set it without a new sum."""
    if not (footer.is_tap and footer.hidden and footer.creator_version in HIDES_LATE):
        return False
    return checksum(_unhidden(footer), 64) == footer.checksum


def is_hidden_in_copy(image: Image) -> bool:
    """Say whether an old blktap hid the image in the copy alone, which is where it looks for that."""
    footer, copy = image.footer, image.copy
    if footer is None or copy is None or footer is copy or not copy.is_sparse:
        return False
    return (
        copy.is_tap and copy.creator_version in HIDES_LATE and copy.hidden == 1 and _unhidden(copy) == footer.raw[:512]
    )


@rule(
    "VHD104",
    "footer-checksum-before-hiding",
    part="copies",
    severity=WARNING,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="blktap: libvhd",
)
def footer_checksum_before_hiding(image: Image) -> list[Fault]:
    """A footer's checksum was not renewed when the image was hidden.

    Checks: in images of blktap 0.1 and 1.1, the checksum with the hidden flag counted as zero, of both footers.
    Matters: XenServer makes an exception for its own old images. qemu and Xen Orchestra read the copy and refuse it if
        its sum is wrong, 7-Zip refuses both.
    Fix: take the flag off, and the checksum is right again. Or export the newest disk of the chain instead.
    """
    return [
        Fault(
            "the checksum is right only if the hidden flag is left out of it",
            footer.span("checksum"),
            expected=f"0x{footer.computed_checksum:08x}",
            found=f"0x{footer.checksum:08x}",
        )
        for footer in _footers(image)
        if footer.hidden and not footer.is_signed and _is_hidden_late(footer)
    ]


@rule(
    "VHD124",
    "footer-cut-short",
    part="footer",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def footer_cut_short(footer: Footer) -> Fault | None:
    """The last byte of the file is missing.

    Checks: a footer of 511 bytes has bit 1 of its features clear, as Virtual PC wrote them before 2004.
    Matters: the writer of this one wrote 512 bytes, so one got lost on the way. 7-Zip, libvhdi and VirtualBox refuse
        the image. XenServer and qemu open it.
    Fix: transfer the image again. Or put the byte back: the checksum shows that it was a zero.
    """
    if len(footer.raw) == layout.SHORT_FOOTER_SIZE and footer.features & 2:
        return Fault(
            "the footer is one byte short: the last byte of the file is missing",
            Span(footer.offset, len(footer.raw), footer.where),
            expected="512 bytes",
            found="511 bytes",
        )
    return None


@rule(
    "VHD125",
    "footer-of-511-bytes",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def footer_of_511_bytes(footer: Footer) -> Fault | None:
    """The footer has 511 bytes, as Virtual PC wrote it before 2004.

    Checks: the length of the footer.
    Matters: the specification asks readers to cope. 7-Zip, libvhdi, VirtualBox and Xen Orchestra do not.
    Fix: write the disk into a new image.
    """
    if is_of_old_kind(footer):
        return Fault(
            "the footer is of the old kind, one byte shorter",
            Span(footer.offset, len(footer.raw), footer.where),
            expected="512 bytes",
            found="511 bytes",
        )
    return None


@rule(
    "VHD130",
    "footer-copy-missing",
    part="copies",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format",
)
def footer_copy_missing(image: Image) -> Fault | None:
    """A dynamic disk does not begin with a copy of its footer.

    Checks: the first 512 bytes of a dynamic or differencing disk.
    Matters: qemu, oslo.utils, XenServer and 7-Zip recognise a dynamic disk by this copy, and refuse the image.
    Fix: if the header behind it is where the footer says, the footer can be put there. If it is not, the file is no
        dynamic disk, or its beginning is lost: ask for the image again.
    """
    footer = image.footer
    if footer is not None and footer.is_sparse and image.copy is None:
        alone = not footer.offset
        return Fault(
            "the copy of the footer at the start of the file is missing",
            Span(0, min(SECTOR, image.size), "footer_copy"),
            expected="conectix",
            found="the footer itself: the file has nothing else" if alone else "something else",
            fix="transfer the image again: all but its footer is missing" if alone else "",
        )
    return None


@rule(
    "VHD131",
    "footer-copies-differ",
    part="copies",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format",
)
def footer_copies_differ(image: Image) -> Fault | None:
    """The footer and its copy disagree.

    Checks: every field of the footer at the end against the copy at the start, where the file has both and the disk is
        not fixed.
    Matters: readers differ in which one they believe, so the same image has two sizes, types or identities. XenServer,
        DiscUtils, Xen Orchestra and 7-Zip refuse it. AWS says "Footers not identical".
    Fix: if the rest of the file contradicts one of the two, the other can take its place. Otherwise ask the image's
        maker which size, time or ID is right.
    """
    footer, copy = image.footer, image.copy
    if footer is None or copy is None or footer is copy or footer.disk_type == FIXED:
        return None
    length = min(len(footer.raw), len(copy.raw))
    if footer.raw[:length] == copy.raw[:length] or is_hidden_in_copy(image):
        return None
    fields = [name for name in layout.fields(layout.FOOTER) if getattr(footer, name) != getattr(copy, name)]
    if length < layout.FOOTER_SIZE and footer.reserved == copy.reserved[: len(footer.reserved)]:
        fields.remove("reserved")
    telling = [name for name in fields if name != "checksum"] or fields or ["features"]
    return Fault(
        f"the footer and its copy differ in {', '.join(fields) or 'byte order'}: {READS_COPY}; {READS_TAIL}",
        footer.span(telling[0]),
        expected=f"{telling[0]} {_shown(getattr(copy, telling[0]))}, as in the copy",
        found=_shown(getattr(footer, telling[0])),
        related=tuple(copy.span(name) for name in telling),
    )


def _shown(value: bytes | int) -> str:
    return value[:16].hex(" ") if isinstance(value, bytes) else f"{value} (0x{value:x})"


@rule(
    "VHD133",
    "footer-little-endian",
    part="copies",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: all values are in network byte order",
)
def footer_little_endian(image: Image) -> list[Fault]:
    """The footer's numbers are written little-endian.

    Checks: the features and the version, whose values are known, the wrong way round. The footer's other numbers are
        then judged as what they mean.
    Matters: no reader turns them round. They see a version that does not exist, a type that does not exist, and a disk
        of another size.
    Fix: turn the numbers round in the program that writes the image, or in a copy of the image.
    """
    return [
        Fault(
            "the numbers in the footer are written little-endian",
            footer.span("file_format_version"),
            expected="00 01 00 00",
            found=footer.raw[12:16].hex(" "),
        )
        for footer in _footers(image)
        if footer.is_little_endian
    ]
