"""VHD510 to VHD518: parent locators, the entries of the header and the texts that they lead to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.span import Span
from vhdcheck.rules.parent import is_child, short
from vhdcheck.rules.registry import ERROR, WARNING, Fault, rule
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.format.structures import DynamicHeader, ParentLocator
    from vhdcheck.image import Image


@rule(
    "VHD510",
    "locator-platform-code",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Code",
    when=is_child,
)
def locator_platform_code(header: DynamicHeader) -> Iterator[Fault]:
    """A parent locator has a platform code that the specification does not know.

    Checks: the code of each of the eight entries of a differencing disk.
    Matters: XenServer refuses the image. VirtualBox writes two such codes for the Mac.
    Fix: nothing need be done if another locator is right. XenServer cannot take the image: merge it elsewhere.
    """
    for locator in header.parent_locators:
        if any(locator.platform_code) and locator.platform_code not in creators.PLATFORMS:
            yield Fault(
                f"parent locator {locator.index} is of no known platform",
                header.locator_span(locator.index, "platform_code"),
                expected=", ".join(code.decode().strip() for code in creators.PLATFORMS),
                found=locator.platform_code.hex(" "),
            )


@rule(
    "VHD511",
    "unused-locator-not-zero",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
    when=is_child,
)
def unused_locator_not_zero(header: DynamicHeader) -> Iterator[Fault]:
    """A parent locator without a platform code has other fields set.

    Checks: entries of a differencing disk whose platform code is zero are zero altogether.
    Matters: XenServer refuses the image. The locator may have lost its code.
    Fix: link the child to its parent again (Set-VHD).
    """
    for locator in header.parent_locators:
        if not any(locator.platform_code) and not locator.is_empty:
            yield Fault(
                f"parent locator {locator.index} has no platform, and yet it is not empty",
                header.locator_span(locator.index, "data_space"),
                expected="zeros",
                found=f"space {locator.data_space}, length {locator.data_length}, offset 0x{locator.data_offset:x}",
            )


@rule(
    "VHD512",
    "locator-out-of-file",
    part="header",
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="data",
    spec="Dynamic Disk Header Format: Parent Locator",
    when=is_child,
)
def locator_out_of_file(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A parent locator's text does not lie inside the file.

    Checks: each used entry of a differencing disk: the offset is not zero, text and room end before the footer.
    Matters: the parent cannot be found. XenServer refuses the image.
    Fix: transfer the image again if it was cut off. Otherwise link the child to its parent again (Set-VHD).
    """
    for locator in header.parent_locators:
        if not any(locator.platform_code):
            continue
        end = locator.data_offset + max(locator.space, locator.data_length)
        if not locator.data_offset or not locator.data_length or not locator.space or end > image.footer_offset:
            yield Fault(
                f"the text of parent locator {locator.index} does not lie inside the file",
                header.locator_span(locator.index, "data_offset"),
                expected=f"up to 0x{image.footer_offset:x}",
                found=f"0x{locator.data_offset:x} to 0x{end:x}",
            )


@rule(
    "VHD513",
    "locator-length",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Data Length; 7-Zip",
    when=is_child,
)
def locator_length(header: DynamicHeader) -> Iterator[Fault]:
    """A parent locator's text is longer than the room for it, or the room makes no sense.

    Checks: each used entry of a differencing disk: the length fits the space; the space is a number of sectors below
        512 or a multiple of 512 bytes, as libvhd reads it.
    Matters: 7-Zip refuses a text that is too long, XenServer a space that is neither.
    Fix: link the child to its parent again (Set-VHD).
    """
    for locator in header.parent_locators:
        odd_space = locator.data_space >= SECTOR and locator.data_space % SECTOR
        if any(locator.platform_code) and (locator.data_length > locator.space or odd_space):
            yield Fault(
                f"parent locator {locator.index} does not fit into its room",
                header.locator_span(locator.index, "data_length"),
                expected=f"at most {locator.space} bytes, in whole sectors",
                found=f"{locator.data_length} bytes in {locator.data_space}",
                related=(header.locator_span(locator.index, "data_space"),),
            )


@rule(
    "VHD514",
    "locator-twice",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
    when=is_child,
)
def locator_twice(header: DynamicHeader) -> Iterator[Fault]:
    """Two parent locators are of the same platform.

    Checks: each platform code stands once in a differencing disk's header.
    Matters: XenServer refuses the image. Others take the first, or the last.
    Fix: link the child to its parent again (Set-VHD).
    """
    seen: dict[bytes, int] = {}
    for locator in header.parent_locators:
        code = locator.platform_code
        if code in seen:
            yield Fault(
                f"parent locators {seen[code]} and {locator.index} are of the same platform",
                header.locator_span(locator.index, "platform_code"),
                expected="each platform once",
                found=code.decode("ascii", "backslashreplace"),
            )
        if any(code):
            seen.setdefault(code, locator.index)


@rule(
    "VHD515",
    "locators-missing",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Locator",
    when=is_child,
)
def locators_missing(header: DynamicHeader) -> Fault | None:
    """A differencing disk has no parent locator that readers follow.

    Checks: at least one entry is of a platform that is not deprecated: W2ru, W2ku or MacX.
    Matters: most readers look for the parent by locator, not by name, and will not find it. XenServer refuses the image
        ("could not find parent").
    Fix: link the child to its parent again (Set-VHD).
    """
    used = [locator for locator in header.parent_locators if any(locator.platform_code)]
    if not any(locator.platform_code in creators.FOLLOWED for locator in used):
        kinds = ", ".join(locator.platform_code.decode("ascii", "backslashreplace") for locator in used)
        return Fault(
            "there is no parent locator" + (" of a platform that readers follow" if used else ""),
            header.span("parent_locators"),
            expected=f"one of {', '.join(sorted(code.decode() for code in creators.FOLLOWED))}",
            found=kinds or "none",
        )
    return None


@rule(
    "VHD516",
    "locator-reserved",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Locator, Reserved; vhd-util check; 7-Zip",
    when=is_child,
)
def locator_reserved(header: DynamicHeader) -> Iterator[Fault]:
    """A parent locator's reserved field is not zero.

    Checks: the 4 bytes behind the length of each used entry of a differencing disk.
    Matters: XenServer and 7-Zip refuse the image.
    Fix: clear the field.
    """
    for locator in header.parent_locators:
        if any(locator.platform_code) and locator.reserved:
            yield Fault(
                f"the reserved field of parent locator {locator.index} is not zero",
                header.locator_span(locator.index, "reserved"),
                expected="0",
                found=f"0x{locator.reserved:08x}",
            )


@rule(
    "VHD517",
    "locator-text",
    part="locators",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Code; blktap: vhd_parent_locator_read",
    when=is_child,
)
def locator_text(locators: tuple[ParentLocator, ...]) -> Iterator[Fault]:
    """A parent locator's text is no path.

    Checks: texts of W2ru and W2ku are UTF-16 of an even length, those of MacX are UTF-8 and begin with "file://"; they
        are not empty, and end in the name of a file.
    Matters: XenServer refuses the image, and other readers do not find the parent by this locator.
    Fix: link the child to its parent again (Set-VHD).
    """
    for locator in locators:
        if problem := _no_path(locator):
            yield Fault(
                f"the text of parent locator {locator.index} {problem}",
                Span(locator.data_offset, locator.data_length, "parent_locator_data", locator.index),
                expected="a path of a file",
                found=short(locator.path) or locator.data[:16].hex(" ") or "nothing",
            )


def _no_path(locator: ParentLocator) -> str:
    """Say why a text is no path; empty where it is one, or is of a platform whose text is none."""
    if locator.platform_code not in creators.FOLLOWED or not locator.data:
        return ""  # VHD515 and VHD512 say so
    if locator.platform_code == b"MacX":
        if not locator.path.startswith("file://"):
            return 'does not begin with "file://"'
    elif locator.data_length % 2:
        return "has an odd number of bytes, and UTF-16 has two a character"
    if not locator.path:
        return "is empty"
    return "does not end in the name of a file" if locator.path[-1] in "\\/" else ""


@rule(
    "VHD518",
    "locator-rooms-overlap",
    part="image",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Data Space",
    when=is_child,
)
def locator_rooms_overlap(image: Image) -> Iterator[Fault]:
    """The room of a parent locator overlaps another structure, and its text does not.

    Checks: the space of each used entry of a differencing disk against all other structures. Texts have VHD301.
    Matters: nothing is lost, and every reader finds the path. A longer one that is written there would destroy what is
        behind it.
    Fix: set the space to what the text takes.
    """
    others = image.vital
    texts = {span.number: span for span in others if span.part == "parent_locator_data"}
    for room in image.metadata:
        if room.part != "parent_locator_data":
            continue
        text = texts[room.number]
        near = [other for other in others if other is not text and _overlap(other, room)]
        if near and not any(_overlap(other, text) for other in near):
            yield Fault(
                f"the room of {room.words} reaches into the {near[0].words}, and its text does not",
                room,
                expected=f"at most {max(near[0].offset, text.end) - room.offset} bytes",
                found=f"{room.length} bytes",
                related=(near[0],),
            )


def _overlap(one: Span, other: Span) -> bool:
    return one.offset < other.end and other.offset < one.end
