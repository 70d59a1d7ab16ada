"""VHD1xx: the footer at the end of the file, its copy at the start, and whether they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import layout
from vhdcheck.format.span import Span
from vhdcheck.format.structures import Footer, checksum
from vhdcheck.rules.registry import ERROR, WARNING, Fault, rule
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code
from vhdcheck.verdict.remedies import MEND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.image import Image

READS_COPY = "qemu, oslo.utils, ocaml-vhd and Xen Orchestra read the copy"
READS_TAIL = "XenServer, VirtualBox, libvhdi, dissect and Hyper-V read the footer at the end"


@rule(
    "VHD102",
    "footer-at-end-missing",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def footer_at_end_missing(copies: Image) -> Iterator[Fault]:
    """The file does not end with a footer; only the copy at its start is left.

    Checks: the last 512 (or 511) bytes of the file.
    Matters: XenServer, Windows, VirtualBox, libvhdi and 7-Zip refuse the image. The end is usually missing because a
        transfer was cut off; qemu opens such an image all the same, without a word.
    Fix: transfer the image again. If nothing but the footer is missing, put the copy there: `{mend}`; that refuses
        where blocks are missing too.
    """
    if copies.tail is None and copies.footer is copies.copy:
        yield Fault(
            "the footer at the end of the file is missing",
            Span(max(0, copies.size - SECTOR), min(SECTOR, copies.size), "footer"),
            expected="conectix",
            found="no footer; its copy at 0x0 is intact",
        )


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
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: Checksum",
)
def footer_checksum(copies: Image) -> Iterator[Fault]:
    """A footer's checksum does not match its bytes.

    Checks: the one's complement of the sum of the footer's bytes, the field itself counted as zero; in the footer and
        in its copy.
    Matters: XenServer, qemu, 7-Zip and Windows refuse the image: some byte of the footer is not what was written.
    Fix: put the intact footer in the place of the other, or, where none is intact and all their fields confirm one
        another, put the checksum right: `{mend}`; if that refuses, ask for the image again.
    """
    footers = (copies.footer, copies.copy) if copies.footer is not copies.copy else (copies.footer,)
    for footer in footers:
        if footer is None or footer.checksum == footer.computed_checksum or _hidden_late(footer):
            if copies.copy is not None and footer is not None and copies.copy.raw == footer.raw:
                return
            continue
        where = "footer" if footer.where == "footer" else "copy of the footer"
        intact = copies.copy if footer is copies.footer else copies.footer
        good = intact is not None and intact is not footer and intact.checksum == intact.computed_checksum
        fix = f"put the other footer, which is intact, in its place: `{MEND}`"
        if not good:
            fix = (
                f"no footer is intact. If all fields of this one confirm one another, its checksum can be put right:"
                f" `{MEND}`; if that refuses, ask for the image again"
            )
        yield Fault(
            f"the checksum of the {where} is wrong{_how_wrong(footer)}",
            footer.span("checksum"),
            expected=f"0x{footer.computed_checksum:08x}",
            found=f"0x{footer.checksum:08x}",
            fix=fix,
        )


def _hidden_late(footer: Footer) -> bool:
    """Whether the sum is right but for the hidden byte, in an image of a blktap that set it without summing again."""
    if not (footer.is_tap and footer.hidden and footer.creator_version in (0x00000001, 0x00010001)):
        return False
    raw = bytearray(footer.raw)
    raw[85] = 0
    return checksum(bytes(raw), 64) == footer.checksum


@rule(
    "VHD104",
    "footer-checksum-before-hiding",
    severity=WARNING,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="blktap: libvhd",
)
def footer_checksum_before_hiding(footer: Footer) -> Iterator[Fault]:
    """The footer's checksum was not renewed when the image was hidden.

    Checks: in images of blktap 0.1 and 1.1, the checksum with the hidden flag counted as zero.
    Matters: XenServer makes an exception for its own old images; every other reader refuses them.
    Fix: take the flag off, and the checksum is right: `{mend}`. Or export the newest disk of the chain instead.
    """
    if _hidden_late(footer):
        yield Fault(
            "the checksum is right only if the hidden flag is left out of it",
            footer.span("checksum"),
            expected=f"0x{footer.computed_checksum:08x}",
            found=f"0x{footer.checksum:08x}",
        )


@rule(
    "VHD130",
    "footer-copy-missing",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format",
)
def footer_copy_missing(copies: Image) -> Iterator[Fault]:
    """A dynamic disk does not begin with a copy of its footer.

    Checks: the first 512 bytes of a dynamic or differencing disk.
    Matters: qemu, oslo.utils, XenServer and 7-Zip recognise a dynamic disk by this copy, and refuse the image.
    Fix: put the footer there: `{mend}`
    """
    footer = copies.footer
    if footer is not None and footer.is_sparse and copies.copy is None:
        alone = not footer.offset
        yield Fault(
            "the copy of the footer at the start of the file is missing",
            Span(0, min(SECTOR, copies.size), "footer_copy"),
            expected="conectix",
            found="the footer itself: the file has nothing else" if alone else "something else",
            fix="transfer the image again: all but its footer is missing" if alone else "",
        )


@rule(
    "VHD131",
    "footer-copies-differ",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format",
)
def footer_copies_differ(copies: Image) -> Iterator[Fault]:
    """The footer and its copy disagree.

    Checks: every field of the footer at the end against the copy at the start of a dynamic or differencing disk.
    Matters: readers differ in which one they believe, so the same image has two sizes, types or identities. XenServer,
        DiscUtils and 7-Zip refuse it; AWS says "Footers not identical".
    Fix: where the rest of the file contradicts one of the two, put the other in its place: `{mend}`; if that refuses,
        ask the image's maker which size, time or ID is right. Where that is the footer at the end:
        `cp {in} {out} && tail -c 512 {in} | dd of={out} bs=512 count=1 conv=notrunc`
    """
    footer, copy = copies.footer, copies.copy
    if footer is None or copy is None or footer is copy or not footer.is_sparse:
        return
    length = min(len(footer.raw), len(copy.raw))
    if footer.raw[:length] == copy.raw[:length]:
        return
    fields = [name for name in layout.fields(layout.FOOTER) if getattr(footer, name) != getattr(copy, name)]
    if length < layout.FOOTER_SIZE and footer.reserved == copy.reserved[: len(footer.reserved)]:
        fields.remove("reserved")
    # blktap 0.1 and 1.1 hid an image in one footer only, and libvhd makes an exception for it.
    if footer.is_tap and footer.creator_version in (0x00000001, 0x00010001) and set(fields) <= {"hidden", "checksum"}:
        return
    telling = [name for name in fields if name != "checksum"] or fields
    yield Fault(
        f"the footer and its copy differ in {', '.join(fields)}: {READS_COPY}; {READS_TAIL}",
        footer.span(telling[0]),
        expected=f"{telling[0]} {_shown(getattr(copy, telling[0]))}, as in the copy",
        found=_shown(getattr(footer, telling[0])),
        related=tuple(copy.span(name) for name in telling),
    )


def _shown(value: bytes | int) -> str:
    return value[:16].hex(" ") if isinstance(value, bytes) else f"{value} (0x{value:x})"
