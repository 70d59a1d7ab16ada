"""VHD1xx: the fields of the footer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vhdcheck.format import creators, layout
from vhdcheck.format.limits import CLOCK_SLACK
from vhdcheck.format.span import Span
from vhdcheck.format.structures import (
    COOKIE,
    DIFFERENCING,
    DYNAMIC,
    EPOCH,
    FIXED,
    FORMAT_VERSION,
    POISONED_COOKIE,
    Footer,
    is_zero,
)
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import count, exact
from vhdcheck.verdict.codes import Code
from vhdcheck.verdict.remedies import MEND, REBUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

TAP_VERSION = 0x00010003
"""The last creator version that blktap knows (its `VHD_CURRENT_VERSION`)."""


def _is_of_old_kind(footer: Footer) -> bool:
    return len(footer.raw) == layout.SHORT_FOOTER_SIZE and not footer.features & 2


@rule(
    "VHD101",
    "footer-cookie",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: Cookie",
)
def footer_cookie(footer: Footer) -> Iterator[Fault]:
    """The footer does not begin with "conectix".

    Checks: the first 8 bytes of the footer.
    Matters: no reader recognises the image. XenServer writes "v_poison" there to disable one on purpose.
    Fix: if it was disabled, ask the sender why. A damaged mark can be put right: `{mend}`
    """
    if footer.cookie != COOKIE:
        poisoned = footer.cookie == POISONED_COOKIE
        what = "XenServer disabled this image on purpose" if poisoned else "its cookie is damaged, the rest is intact"
        yield Fault(
            f"the footer is not marked as one: {what}",
            footer.span("cookie"),
            expected="conectix",
            found=footer.cookie.decode("ascii", "backslashreplace"),
            fix="ask the sender why it was disabled" if poisoned else f"put it right: `{MEND}`",
        )


@rule(
    "VHD105",
    "footer-version",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: File Format Version",
)
def footer_version(footer: Footer) -> Iterator[Fault]:
    """The footer states a file format version other than 1.0.

    Checks: the version field, 0x00010000.
    Matters: XenServer and libvhdi refuse the image; there is no other version of the format.
    Fix: rebuild the image: `{rebuild}`
    """
    if footer.file_format_version != FORMAT_VERSION:
        swapped = footer.file_format_version.to_bytes(4, "little") == FORMAT_VERSION.to_bytes(4, "big")
        yield Fault(
            "the file format version is not 1.0" + ("; the footer is written little-endian" if swapped else ""),
            footer.span("file_format_version"),
            expected=f"0x{FORMAT_VERSION:08x}",
            found=f"0x{footer.file_format_version:08x}",
        )


@rule(
    "VHD106", "reserved-feature-clear", severity=WARNING, doubts="description", spec="Hard Disk Footer Format: Features"
)
def reserved_feature_clear(footer: Footer) -> Iterator[Fault]:
    """The feature bit that is always set is not.

    Checks: bit 1 of the features.
    Matters: XenServer refuses the image, and dissect takes its footer for one of 511 bytes and misreads every field.
    Fix: set it: `{mend}`. A footer of 511 bytes, which may have it clear, wants a rebuild: `{rebuild}`
    """
    if not footer.features & 2:
        yield Fault(
            "the reserved feature bit, which must always be set, is clear",
            footer.span("features"),
            expected="0x00000002",
            found=f"0x{footer.features:08x}",
            fix=f"rebuild the image: `{REBUILD}`" if _is_of_old_kind(footer) else f"set it: `{MEND}`",
        )


@rule("VHD107", "unknown-features", severity=WARNING, doubts="description", spec="Hard Disk Footer Format: Features")
def unknown_features(footer: Footer) -> Iterator[Fault]:
    """Feature bits are set that the specification does not know.

    Checks: all bits of the features but 0 and 1.
    Matters: XenServer refuses the image; 7-Zip does where the upper 16 bits are concerned.
    Fix: clear them: `{mend}`
    """
    if footer.features & ~3:
        yield Fault(
            "feature bits are set that have no meaning",
            footer.span("features"),
            expected="0x00000002 or 0x00000003",
            found=f"0x{footer.features:08x}",
        )


@rule("VHD108", "temporary-disk", severity=WARNING, spec="Hard Disk Footer Format: Features")
def temporary_disk(footer: Footer) -> Iterator[Fault]:
    """The image is marked as a temporary disk.

    Checks: bit 0 of the features.
    Matters: a host may delete the image at shutdown: the bit says that it is not meant to be kept.
    Fix: rebuild the image, which clears the bit: `{rebuild}`
    """
    if footer.features & 1:
        yield Fault(
            "the disk is marked as temporary; a host may delete it at shutdown",
            footer.span("features"),
            expected="0x00000002",
            found=f"0x{footer.features:08x}",
        )


@rule(
    "VHD113",
    "created-in-future",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Time Stamp; vhd-util check",
)
def created_in_future(footer: Footer, now: float) -> Iterator[Fault]:
    """The image was created in the future.

    Checks: the time stamp, at most 30 minutes ahead of this machine's clock.
    Matters: XenServer refuses the image, and one such image can make it refuse the whole storage repository. Usual
        causes are a wrong clock, local time instead of UTC, and Unix time written without subtracting the year 2000.
    Fix: wait until that time has come, or set it to now, once this machine's clock is right: `{mend}`
    """
    ahead = footer.timestamp + EPOCH - now
    if ahead > CLOCK_SLACK:
        unix = abs(footer.timestamp - now) < 20 * 365 * 86400 and footer.timestamp > EPOCH
        cause = "; read as Unix time it would be " + _date(footer.timestamp) if unix else ""
        yield Fault(
            f"the creation time lies in the future{cause}",
            footer.span("timestamp"),
            expected=f"at most {_date(now + CLOCK_SLACK)}",
            found=_date(footer.timestamp + EPOCH),
        )


@rule("VHD114", "clock-ahead", severity=NOTE, spec="Hard Disk Footer Format: Time Stamp; DiscUtils")
def clock_ahead(footer: Footer, now: float) -> Iterator[Fault]:
    """The image was created a few minutes in the future.

    Checks: the time stamp against this machine's clock, up to 30 minutes ahead.
    Matters: XenServer lets that pass, DiscUtils does not; one of the two clocks is wrong.
    Fix: compare the clocks of the machine that made the image and of this one.
    """
    ahead = footer.timestamp + EPOCH - now
    if 60 < ahead <= CLOCK_SLACK:  # noqa: PLR2004 (a minute is nobody's fault)
        yield Fault(
            f"the creation time is {int(ahead // 60)} min ahead of this machine's clock",
            footer.span("timestamp"),
            expected=f"at most {_date(now)}",
            found=_date(footer.timestamp + EPOCH),
        )


def _date(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix))


@rule(
    "VHD115",
    "creator-not-text",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Creator Application",
)
def creator_not_text(footer: Footer) -> Iterator[Fault]:
    """The creator application is not text.

    Checks: four printable ASCII characters, padded with spaces or zeros; all zeros is accepted.
    Matters: readers choose by this tag how they compute the disk's size; one that is not text is a sign of damage.
    Fix: rebuild the image, if its other fields look right: `{rebuild}`
    """
    tag = footer.creator_application.rstrip(b"\0")
    if not all(0x20 <= byte < 0x7F for byte in tag):  # noqa: PLR2004 (printable ASCII)
        yield Fault(
            "the creator application is not text",
            footer.span("creator_application"),
            expected="four ASCII characters",
            found=footer.creator_application.hex(" "),
        )


@rule("VHD116", "unknown-tap-version", severity=WARNING, doubts="description", spec="vhd-util check")
def unknown_tap_version(footer: Footer) -> Iterator[Fault]:
    """The image says that a XenServer made it which does not exist.

    Checks: creator "tap" has a creator version of 1.3 at the most.
    Matters: XenServer refuses the image.
    Fix: rebuild the image: `{rebuild}`
    """
    if footer.is_tap and footer.creator_version > TAP_VERSION:
        yield Fault(
            "XenServer does not know this version of itself",
            footer.span("creator_version"),
            expected=f"at most 0x{TAP_VERSION:08x}",
            found=f"0x{footer.creator_version:08x}",
        )


@rule(
    "VHD117", "disk-type", severity=ERROR, code=Code.DISK_TYPE, doubts="data", spec="Hard Disk Footer Format: Disk Type"
)
def disk_type(footer: Footer) -> Iterator[Fault]:
    """The disk is neither fixed nor dynamic nor differencing.

    Checks: the disk type is 2, 3 or 4.
    Matters: the other types are reserved, deprecated, or a link to a physical drive that holds the data; qemu takes
        any of them for a dynamic disk and may read nonsense.
    Fix: for a link, image the drive itself: `qemu-img convert -f raw -O vpc /dev/DRIVE {out}`; else ask for the image
        again.
    """
    if footer.disk_type not in (FIXED, DYNAMIC, DIFFERENCING):
        name = creators.DISK_TYPES.get(footer.disk_type, "unknown")
        yield Fault(
            f"the disk type is none that can be read: {name}",
            footer.span("disk_type"),
            expected="2 (fixed) or 3 (dynamic)",
            found=f"{footer.disk_type} ({name})",
        )


@rule(
    "VHD118",
    "unique-id-zero",
    severity=WARNING,
    code=Code.ZERO_UUID,
    doubts="description",
    spec="Hard Disk Footer Format: Unique ID",
)
def unique_id_zero(footer: Footer) -> Iterator[Fault]:
    """The unique ID is all zeros.

    Checks: the 16 bytes of the unique ID.
    Matters: XenServer refuses the image, and no differencing disk can name it as its parent. Old qemu-img, bximage and
        some scripts write it so.
    Fix: give it a random one: `{mend}`
    """
    if not any(footer.unique_id):
        yield Fault(
            "the unique ID is all zeros",
            footer.span("unique_id"),
            expected="any UUID but zeros",
            found="00000000-0000-0000-0000-000000000000",
        )


@rule("VHD119", "unique-id-filler", severity=NOTE, doubts="description", spec="Hard Disk Footer Format: Unique ID")
def unique_id_filler(footer: Footer) -> Iterator[Fault]:
    """The unique ID is one byte over and over: a filler, not an ID.

    Checks: the 16 bytes of the unique ID are not all the same.
    Matters: images with the same ID are taken for one another by hosts that link parents and children.
    Fix: rebuild the image, which draws a new ID: `{rebuild}`
    """
    if any(footer.unique_id) and len(set(footer.unique_id)) == 1:
        yield Fault("the unique ID is a filler", footer.span("unique_id"), "a random UUID", footer.unique_id.hex())


@rule("VHD120", "saved-state", severity=WARNING, doubts="data", spec="Hard Disk Footer Format: Saved State")
def saved_state(footer: Footer) -> Iterator[Fault]:
    """The virtual machine was saved, not shut down, when the image was taken.

    Checks: the saved state is 0.
    Matters: part of the disk's content is still in the saved memory; the file systems are in the middle of something.
    Fix: start the virtual machine, shut it down, and take the image again.
    """
    if footer.saved_state == 1:
        yield Fault("the virtual machine is in a saved state", footer.span("saved_state"), expected="0", found="1")


@rule("VHD121", "saved-state-value", severity=WARNING, doubts="description", spec="vhd-util check")
def saved_state_value(footer: Footer) -> Iterator[Fault]:
    """The saved state is neither 0 nor 1.

    Checks: the saved state is a flag.
    Matters: XenServer refuses the image.
    Fix: rebuild the image: `{rebuild}`
    """
    if footer.saved_state > 1:
        yield Fault("the saved state is no flag", footer.span("saved_state"), "0 or 1", str(footer.saved_state))


@rule("VHD122", "hidden", severity=WARNING, doubts="description", spec="blktap: vhd.h; Nova: _assert_vhd_not_hidden")
def hidden(footer: Footer) -> Iterator[Fault]:
    """XenServer marked the image as hidden: an interior disk of a snapshot chain.

    Checks: the byte behind the saved state, which the specification reserves.
    Matters: such an image has children that hold newer data; imported alone it is an old state. 7-Zip and DiscUtils
        take the flag for damage.
    Fix: export the newest disk of the chain instead; if this one is wanted, take the flag off a copy: `{mend}`
    """
    if footer.hidden == 1:
        yield Fault("the image is hidden: an interior disk of a chain", footer.span("hidden"), "0", "1")


@rule(
    "VHD123", "footer-reserved-bytes", severity=WARNING, doubts="description", spec="Hard Disk Footer Format: Reserved"
)
def footer_reserved_bytes(footer: Footer) -> Iterator[Fault]:
    """The footer's reserved area is not zero.

    Checks: bytes 85 (where it is not the hidden flag) to 511.
    Matters: XenServer and 7-Zip refuse the image. Windows 10 is known to leave boot code there. Where the area ends
        in 55 AA, oslo.utils (Glance, Nova) reports two formats at once and refuses too.
    Fix: clear it: `{mend}`
    """
    if not is_zero(footer.reserved) or footer.hidden > 1:
        used = sum(map(bool, footer.reserved)) + (footer.hidden > 1)
        first = 85 if footer.hidden > 1 else 86 + next(i for i, byte in enumerate(footer.reserved) if byte)
        mbr = "; it ends in 55 AA, the mark of a boot sector" if footer.raw[510:] == b"\x55\xaa" else ""
        yield Fault(
            f"{count(used, 'byte')} of the reserved area {'is' if used == 1 else 'are'} not zero{mbr}",
            Span(footer.offset + first, len(footer.raw) - first, footer.where, name="reserved"),
            expected="zeros",
            found=f"0x{footer.raw[first]:02x} at byte {first} of the footer",
        )


@rule(
    "VHD124",
    "footer-cut-short",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format",
)
def footer_cut_short(footer: Footer) -> Iterator[Fault]:
    """The last byte of the file is missing.

    Checks: a footer of 511 bytes has bit 1 of its features clear, as Virtual PC wrote them before 2004.
    Matters: the writer of this one wrote 512 bytes, so one got lost on the way. 7-Zip, libvhdi and VirtualBox refuse
        the image; XenServer and qemu open it.
    Fix: transfer the image again; or, as the checksum shows that the byte was a zero, put it back: `{mend}`
    """
    if len(footer.raw) == layout.SHORT_FOOTER_SIZE and footer.features & 2:
        yield Fault(
            "the footer is one byte short: the last byte of the file is missing",
            Span(footer.offset, len(footer.raw), footer.where),
            expected="512 bytes",
            found="511 bytes",
        )


@rule("VHD125", "footer-of-511-bytes", severity=WARNING, doubts="description", spec="Hard Disk Footer Format")
def footer_of_511_bytes(footer: Footer) -> Iterator[Fault]:
    """The footer has 511 bytes, as Virtual PC wrote it before 2004.

    Checks: the length of the footer.
    Matters: the specification asks readers to cope; 7-Zip, libvhdi and VirtualBox do not.
    Fix: rebuild the image: `{rebuild}`
    """
    if _is_of_old_kind(footer):
        yield Fault(
            "the footer is of the old kind, one byte shorter",
            Span(footer.offset, len(footer.raw), footer.where),
            expected="512 bytes",
            found="511 bytes",
        )


@rule(
    "VHD132",
    "original-size-differs",
    severity=WARNING,
    code=Code.VIRTUAL_SIZE,
    doubts="description",
    spec="Hard Disk Footer Format: Original Size",
)
def original_size_differs(footer: Footer) -> Iterator[Fault]:
    """The original size is not the current size.

    Checks: the two size fields of the footer.
    Matters: after a resize that is as it should be. But libvhdi, and oslo.utils in Glance and Nova, take the original
        size for the disk's: they show too small a disk, or read past the end of a shrunk one.
    Fix: rebuild the image, which sets both: `{rebuild}`
    """
    if footer.original_size != footer.current_size:
        yield Fault(
            "the original size is not the current size, and libvhdi and oslo.utils (Glance, Nova) go by the original",
            footer.span("original_size"),
            expected=exact(footer.current_size),
            found=exact(footer.original_size),
            related=(footer.span("current_size"),),
        )
