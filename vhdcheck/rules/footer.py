"""VHD105 to VHD108, VHD113 to VHD123, VHD126 to VHD129: the fields of the footer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.limits import CLOCK_SLACK
from vhdcheck.format.span import Span
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, EPOCH, FIXED, FORMAT_VERSION, Footer, is_zero
from vhdcheck.rules.copies import HIDES_LATE, is_of_old_kind
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.rules.times import date, meant, remedy
from vhdcheck.units import count
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from vhdcheck.image import Image

TAP_VERSION = 0x00010003
"""The last creator version that blktap knows (its `VHD_CURRENT_VERSION`)."""
TAP_0_1 = 0x00000001
"""The creator version whose dynamic disks blktap no longer opens."""


@rule(
    "VHD105",
    "footer-version",
    part="footer",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Hard Disk Footer Format: File Format Version",
)
def footer_version(footer: Footer) -> Fault | None:
    """The footer states a file format version other than 1.0.

    Checks: the version field is 0x00010000.
    Matters: XenServer and libvhdi refuse the image. There is no other version of the format.
    Fix: write version 1.0 there, if everything else in the footer looks right.
    """
    if footer.file_format_version != FORMAT_VERSION:
        swapped = footer.file_format_version.to_bytes(4, "little") == FORMAT_VERSION.to_bytes(4, "big")
        return Fault(
            "the file format version is not 1.0" + ("; it is written little-endian" if swapped else ""),
            footer.span("file_format_version"),
            expected=f"0x{FORMAT_VERSION:08x}",
            found=f"0x{footer.file_format_version:08x}",
        )
    return None


@rule(
    "VHD106",
    "reserved-feature-clear",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Features",
)
def reserved_feature_clear(footer: Footer) -> Fault | None:
    """A feature bit that must always be set is clear.

    Checks: bit 1 of the features.
    Matters: XenServer refuses the image. dissect takes the footer for one of 511 bytes and misreads every field.
    Fix: set the bit. A footer of 511 bytes may have it clear, and becomes one of 512 bytes in a new image.
    """
    if not footer.features & 2:
        return Fault(
            "the reserved feature bit, which must always be set, is clear",
            footer.span("features"),
            expected="0x00000002",
            found=f"0x{footer.features:08x}",
            fix="write the disk into a new image" if is_of_old_kind(footer) else "set the bit",
        )
    return None


@rule(
    "VHD107",
    "unknown-features",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Features",
)
def unknown_features(footer: Footer) -> Fault | None:
    """Feature bits are set that the specification does not know.

    Checks: all bits of the features but 0 and 1.
    Matters: XenServer refuses the image. 7-Zip refuses it if one of the upper 16 bits is set.
    Fix: clear these bits.
    """
    if footer.features & ~3:
        return Fault(
            "feature bits are set that have no meaning",
            footer.span("features"),
            expected="0x00000002 or 0x00000003",
            found=f"0x{footer.features:08x}",
        )
    return None


@rule(
    "VHD108",
    "temporary-disk",
    part="footer",
    severity=WARNING,
    spec="Hard Disk Footer Format: Features",
)
def temporary_disk(footer: Footer) -> Fault | None:
    """The image is marked as a temporary disk.

    Checks: bit 0 of the features.
    Matters: the bit says that the image is not meant to be kept. A host may delete it at shutdown.
    Fix: clear the bit if the image is to be kept.
    """
    if footer.features & 1:
        return Fault(
            "the disk is marked as temporary; a host may delete it at shutdown",
            footer.span("features"),
            expected="0x00000002",
            found=f"0x{footer.features:08x}",
        )
    return None


@rule(
    "VHD113",
    "created-in-future",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Time Stamp; vhd-util check",
)
def created_in_future(footer: Footer, now: float) -> Fault | None:
    """The image was created in the future.

    Checks: the time stamp is at most 30 minutes ahead of this machine's clock.
    Matters: XenServer refuses the image, and one such image can make it refuse the whole storage repository. Usual
        causes are a wrong clock, local time instead of UTC, and Unix time from which the 30 years between 1970 and 2000
        were not subtracted.
    Fix: set the time to one that has been. If it is a few hours ahead, waiting helps too.
    """
    if footer.timestamp + EPOCH - now > CLOCK_SLACK:
        return Fault(
            f"the creation time lies in the future{meant(footer.timestamp, now)}",
            footer.span("timestamp"),
            expected=f"at most {date(now + CLOCK_SLACK)}",
            found=date(footer.timestamp + EPOCH),
            fix=remedy(footer.timestamp, now),
        )
    return None


@rule("VHD114", "clock-ahead", part="footer", severity=NOTE, spec="Hard Disk Footer Format: Time Stamp; DiscUtils")
def clock_ahead(footer: Footer, now: float) -> Fault | None:
    """The image was created a few minutes in the future.

    Checks: the time stamp against this machine's clock, up to 30 minutes ahead.
    Matters: XenServer lets that pass, DiscUtils does not. One of the two clocks is wrong.
    Fix: compare the clocks of the machine that made the image and of this one.
    """
    ahead = footer.timestamp + EPOCH - now
    if 60 < ahead <= CLOCK_SLACK:  # noqa: PLR2004 (a minute is nobody's fault)
        return Fault(
            f"the creation time is {int(ahead // 60)} min ahead of this machine's clock",
            footer.span("timestamp"),
            expected=f"at most {date(now)}",
            found=date(footer.timestamp + EPOCH),
        )
    return None


@rule(
    "VHD115",
    "creator-not-text",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Creator Application",
)
def creator_not_text(footer: Footer) -> Fault | None:
    """The creator application is not text.

    Checks: four printable ASCII characters, padded with spaces or zeros. All zeros are accepted.
    Matters: readers choose by this tag how they compute the disk's size. One that is not text is a sign of damage.
    Fix: ask for the image again. If its other fields look right, write the disk into a new image.
    """
    tag = footer.creator_application.rstrip(b"\0")
    if not (tag.isascii() and tag.decode().isprintable()):
        return Fault(
            "the creator application is not text",
            footer.span("creator_application"),
            expected="four ASCII characters",
            found=footer.creator_application.hex(" "),
        )
    return None


@rule(
    "VHD116",
    "unknown-tap-version",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check; blktap: vhd_open",
)
def unknown_tap_version(footer: Footer) -> Fault | None:
    """The image was made by a version of XenServer's blktap that blktap does not know.

    Checks: creator "tap" has a creator version of 1.3 at the most, and not 0.1 where the disk is not fixed.
    Matters: XenServer refuses the image. It no longer opens disks of version 0.1, and there is none after 1.3.
    Fix: write the disk into a new image.
    """
    if not footer.is_tap:
        return None
    if footer.creator_version > TAP_VERSION:
        return Fault(
            "blktap does not know this version of itself",
            footer.span("creator_version"),
            expected=f"at most 0x{TAP_VERSION:08x}",
            found=f"0x{footer.creator_version:08x}",
        )
    if footer.creator_version == TAP_0_1 and footer.is_sparse:
        return Fault(
            "blktap no longer opens disks that its version 0.1 made",
            footer.span("creator_version"),
            expected=f"0x{HIDES_LATE[1]:08x} to 0x{TAP_VERSION:08x}",
            found=f"0x{footer.creator_version:08x}",
        )
    return None


@rule(
    "VHD117",
    "disk-type",
    part="footer",
    severity=ERROR,
    code=Code.DISK_TYPE,
    doubts="data",
    spec="Hard Disk Footer Format: Disk Type",
)
def disk_type(footer: Footer) -> Fault | None:
    """The disk is neither fixed, dynamic nor differencing.

    Checks: the disk type is 2, 3 or 4.
    Matters: the other types are reserved, deprecated, or a link to a physical drive that holds the data. qemu takes any
        of them for a dynamic disk and may read nonsense.
    Fix: if it is a link, make an image of the drive itself. Otherwise ask for the image again.
    """
    if footer.disk_type not in (FIXED, DYNAMIC, DIFFERENCING):
        name = creators.DISK_TYPES.get(footer.disk_type, "unknown")
        return Fault(
            f"the disk type is none that can be read: {name}",
            footer.span("disk_type"),
            expected="2 (fixed) or 3 (dynamic)",
            found=f"{footer.disk_type} ({name})",
        )
    return None


@rule(
    "VHD118",
    "unique-id-zero",
    part="footer",
    severity=WARNING,
    code=Code.ZERO_UUID,
    doubts="description",
    spec="Hard Disk Footer Format: Unique ID",
)
def unique_id_zero(footer: Footer) -> Fault | None:
    """The unique ID is all zeros.

    Checks: the 16 bytes of the unique ID.
    Matters: XenServer refuses the image, and no differencing disk can name it as its parent. Old qemu-img, bximage and
        some scripts write it so.
    Fix: give it a random ID.
    """
    if is_zero(footer.unique_id):
        return Fault(
            "the unique ID is all zeros",
            footer.span("unique_id"),
            expected="any UUID but zeros",
            found="00000000-0000-0000-0000-000000000000",
        )
    return None


@rule("VHD119", "unique-id-filler", part="footer", severity=NOTE, spec="Hard Disk Footer Format: Unique ID")
def unique_id_filler(footer: Footer) -> Fault | None:
    """The unique ID is one byte over and over: a filler, not an ID.

    Checks: the 16 bytes of the unique ID are not all the same.
    Matters: hosts that link parents and children take images with the same ID for one another.
    Fix: give it a random ID.
    """
    if footer.unique_id == footer.unique_id[:1] * 16 and any(footer.unique_id):
        return Fault("the unique ID is a filler", footer.span("unique_id"), "a random UUID", footer.unique_id.hex())
    return None


@rule(
    "VHD120",
    "saved-state",
    part="footer",
    severity=WARNING,
    doubts="data",
    spec="Hard Disk Footer Format: Saved State",
)
def saved_state(footer: Footer) -> Fault | None:
    """The virtual machine was saved, not shut down, when the image was taken.

    Checks: the saved state is 0.
    Matters: part of the disk's content is still in the saved memory. The file systems are in the middle of something.
    Fix: start the virtual machine, shut it down, and take the image again.
    """
    if footer.saved_state == 1:
        return Fault("the virtual machine is in a saved state", footer.span("saved_state"), expected="0", found="1")
    return None


@rule(
    "VHD121",
    "saved-state-value",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
)
def saved_state_value(footer: Footer) -> Fault | None:
    """The saved state is neither 0 nor 1.

    Checks: the saved state is a flag.
    Matters: XenServer refuses the image.
    Fix: ask the sender whether the virtual machine was shut down. If it was, write 0 there.
    """
    if footer.saved_state > 1:
        return Fault("the saved state is no flag", footer.span("saved_state"), "0 or 1", str(footer.saved_state))
    return None


@rule("VHD122", "hidden", part="copies", severity=WARNING, spec="blktap: vhd.h; Nova: _assert_vhd_not_hidden")
def hidden(image: Image) -> Fault | None:
    """XenServer marked the image as hidden: an interior disk of a snapshot chain.

    Checks: the byte behind the saved state, which the specification reserves. In dynamic disks of blktap 0.1 and 1.1
        that is the copy's, as in libvhd; the footer's counts too.
    Matters: such an image has children that hold newer data. Imported alone it is an old state. 7-Zip and DiscUtils
        take the flag for damage.
    Fix: export the newest disk of the chain instead. If this one is wanted, take the flag off a copy.
    """
    footer, copy = image.footer, image.copy
    if footer is None:
        return None
    flagged = footer if footer.hidden == 1 else None
    if flagged is None and copy is not None and copy.hidden == 1:
        flagged = copy if copy.is_tap and copy.creator_version in HIDES_LATE else None
    if flagged is not None:
        return Fault("the image is hidden: an interior disk of a chain", flagged.span("hidden"), "0", "1")
    return None


@rule(
    "VHD123",
    "footer-reserved-bytes",
    part="footer",
    severity=WARNING,
    doubts="description",
    spec="Hard Disk Footer Format: Reserved",
)
def footer_reserved_bytes(footer: Footer) -> Fault | None:
    """The footer's reserved area is not zero.

    Checks: bytes 85 (unless it is the hidden flag) to 511.
    Matters: XenServer and 7-Zip refuse the image. Windows 10 is known to leave boot code there. If the area ends in 55
        AA, oslo.utils (Glance, Nova) reports two formats at once and refuses too.
    Fix: clear it.
    """
    if not is_zero(footer.reserved) or footer.hidden > 1:
        used = sum(map(bool, footer.reserved)) + (footer.hidden > 1)
        first = 85 if footer.hidden > 1 else 86 + next(i for i, byte in enumerate(footer.reserved) if byte)
        mbr = "; it ends in 55 AA, the mark of a boot sector" if footer.raw[510:] == b"\x55\xaa" else ""
        return Fault(
            f"{count(used, 'byte')} of the reserved area {'is' if used == 1 else 'are'} not zero{mbr}",
            Span(footer.offset + first, len(footer.raw) - first, footer.where, name="reserved"),
            expected="zeros",
            found=f"0x{footer.raw[first]:02x} at byte {first} of the footer",
        )
    return None
