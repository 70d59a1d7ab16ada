"""VHD5xx: parents. No path that an image names is ever opened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vhdcheck.format import creators
from vhdcheck.format.limits import CLOCK_SLACK
from vhdcheck.format.span import Span
from vhdcheck.format.structures import (
    DIFFERENCING,
    EPOCH,
    NO_LOCATORS,
    DynamicHeader,
    Footer,
    ParentLocator,
    is_zero,
)
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import SECTOR
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.image import Image

SHOWN = 260
"""Characters of a path that a finding quotes: as many as Windows allows without a prefix."""
_HOSTILE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters and marks that turn the direction of text."""
_REMOTE = re.compile(r"^(\\\\|//|(?!file:)[a-z][a-z0-9+.-]+://|file://[^/.])", re.IGNORECASE)
"""UNC and device paths, and URLs of another host."""


@rule(
    "VHD501",
    "differencing-disk",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="Hard Disk Footer Format: Disk Type",
)
def differencing_disk(footer: Footer) -> Iterator[Fault]:
    """The image is a differencing disk: it holds only what differs from its parent.

    Checks: the disk type is not 4.
    Matters: without the parent it is incomplete. qemu and dissect do not know the type: they read it as if all that is
        missing were zeros.
    Fix: merge it into its parent where both are: `Merge-VHD` or `Convert-VHD` in PowerShell, `vhd-util coalesce`, or
        `VBoxManage clonemedium`. Then check the result.
    """
    if footer.disk_type == DIFFERENCING:
        yield Fault(
            "a differencing disk: its data is incomplete without its parent",
            footer.span("disk_type"),
            expected="2 (fixed) or 3 (dynamic)",
            found="4 (differencing)",
        )


def _is_child(image: Image) -> bool:
    return image.footer is not None and image.footer.disk_type == DIFFERENCING


@rule(
    "VHD502",
    "parent-on-stand-alone-disk",
    severity=WARNING,
    doubts="data",
    spec="Dynamic Disk Header Format; vhd-util check",
)
def parent_on_stand_alone_disk(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A dynamic disk's header names a parent.

    Checks: parent ID, parent time stamp, parent name and parent locators of a dynamic disk are zero, from their first
        byte on (vhd-util misses the first).
    Matters: XenServer refuses the image. Either the type is wrong and the disk is incomplete, or the fields are left
        from a merge.
    Fix: if the disk was merged, rebuild it, which clears them: `{rebuild}`; else merge it into its parent first.
    """
    if _is_child(image):
        return
    fields = {
        "parent_unique_id": not is_zero(header.parent_unique_id),
        "parent_timestamp": header.parent_timestamp,
        "parent_unicode_name": not is_zero(header.parent_unicode_name),
        "parent_locators": header.parent_locators != NO_LOCATORS,
    }
    kept = [name for name, value in fields.items() if value]
    if kept:
        yield Fault(
            f"a stand-alone disk names a parent, in {', '.join(kept)}",
            header.span(kept[0]),
            expected="zeros",
            found=_found(header, kept[0]),
            related=tuple(header.span(name) for name in kept[1:]),
            # A child names its parent: without ID and name these are left-overs, and the disk is no child's.
            doubts=None if {"parent_unique_id", "parent_unicode_name"} & set(kept) else "description",
        )


def _found(header: DynamicHeader, name: str) -> str:
    if name == "parent_unicode_name":
        return header.parent_name or header.parent_unicode_name[:16].hex(" ")
    if name == "parent_locators":
        return ", ".join(f"entry {loc.index}" for loc in header.parent_locators if not loc.is_empty)
    value = getattr(header, name)
    return value.hex() if isinstance(value, bytes) else str(value)


@rule(
    "VHD503",
    "parent-name",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Unicode Name",
)
def parent_name(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A differencing disk's parent name cannot be read.

    Checks: it is UTF-16, big-endian, and not empty.
    Matters: readers that look for the parent by name do not find it. Some writers use little-endian, which Windows
        accepts.
    Fix: none is needed where the locators are right; else link the child to its parent again (`Set-VHD -ParentPath`).
    """
    if not _is_child(image):
        return
    raw, problem = header.parent_unicode_name, ""
    try:
        name = raw.decode("utf-16-be").partition("\0")[0]
        if not name:
            problem = "is empty"
        elif len(name) > 1 and all(ord(char) & 0xFF == 0 for char in name):
            problem = "is written little-endian"
    except UnicodeDecodeError:
        problem = "is not UTF-16"
    if problem:
        yield Fault(
            f"the parent's name {problem}", header.span("parent_unicode_name"), "UTF-16, big-endian", raw[:16].hex(" ")
        )


@rule(
    "VHD504", "parent-id-zero", severity=NOTE, doubts="description", spec="Dynamic Disk Header Format: Parent Unique ID"
)
def parent_id_zero(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A differencing disk's parent has no ID.

    Checks: the parent unique ID is not zero.
    Matters: to XenServer that means that the parent is a raw disk; others cannot tell whether a file is the parent.
    Fix: merge the image on XenServer: `vhd-util coalesce -n {in}`
    """
    if _is_child(image) and not any(header.parent_unique_id):
        yield Fault("the parent's unique ID is all zeros", header.span("parent_unique_id"), "the parent's ID", "zeros")


@rule(
    "VHD505",
    "parent-is-itself",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_ID_MISMATCH",
)
def parent_is_itself(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A differencing disk has the same ID as its parent.

    Checks: the parent unique ID against the footer's unique ID.
    Matters: a host that links disks by ID runs in a circle. DOSBox-X makes such children.
    Fix: merge the image with the program that made it.
    """
    if not _is_child(image) or image.footer is None or not any(image.footer.unique_id):
        return
    if header.parent_unique_id == image.footer.unique_id:
        yield Fault(
            "the image has its parent's unique ID",
            header.span("parent_unique_id"),
            expected="another ID than its own",
            found=header.parent_unique_id.hex(),
            related=(image.footer.span("unique_id"),),
        )


@rule("VHD506", "parent-in-future", severity=WARNING, doubts="description", spec="vhd-util check")
def parent_in_future(header: DynamicHeader, image: Image, now: float) -> Iterator[Fault]:
    """A differencing disk's parent was changed in the future.

    Checks: the parent time stamp, at most 30 minutes ahead of this machine's clock.
    Matters: XenServer refuses the image; Windows compares it with the parent's own time.
    Fix: wait until that time has come, or merge the image on a machine whose clock is right.
    """
    if _is_child(image) and header.parent_timestamp + EPOCH > now + CLOCK_SLACK:
        ahead = header.parent_timestamp + EPOCH - now
        yield Fault(
            "the parent's time stamp lies in the future",
            header.span("parent_timestamp"),
            expected="a time that has been",
            found=f"{header.parent_timestamp} ({ahead / 86400:.1f} days ahead)",
        )


@rule(
    "VHD510",
    "locator-platform-code",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Code",
)
def locator_platform_code(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A parent locator has a platform code that the specification does not know.

    Checks: the code of each of the eight entries of a differencing disk.
    Matters: XenServer refuses the image. VirtualBox writes two such codes for the Mac.
    Fix: none is needed where another locator is right; XenServer wants the image merged elsewhere.
    """
    for locator in _locators(header, image):
        if any(locator.platform_code) and locator.platform_code not in creators.PLATFORMS:
            yield Fault(
                f"parent locator {locator.index} is of no known platform",
                header.locator_span(locator.index, "platform_code"),
                expected=", ".join(code.decode().strip() for code in creators.PLATFORMS),
                found=locator.platform_code.hex(" "),
            )


@rule("VHD511", "unused-locator-not-zero", severity=WARNING, doubts="description", spec="vhd-util check")
def unused_locator_not_zero(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A parent locator without a platform code has other fields set.

    Checks: entries of a differencing disk whose platform code is zero are zero altogether.
    Matters: XenServer refuses the image; the locator may have lost its code.
    Fix: link the child to its parent again (`Set-VHD -ParentPath`).
    """
    for locator in _locators(header, image):
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
    severity=ERROR,
    code=Code.NOT_A_VHD,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Locator",
)
def locator_out_of_file(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A parent locator's text does not lie inside the file.

    Checks: each used entry of a differencing disk: offset not zero, text and room end before the footer.
    Matters: the parent cannot be found; XenServer refuses the image.
    Fix: link the child to its parent again (`Set-VHD -ParentPath`), or transfer it again if it was cut off.
    """
    for locator in _locators(header, image):
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
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Platform Data Length; 7-Zip",
)
def locator_length(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A parent locator's text is longer than the room for it, or the room makes no sense.

    Checks: each used entry of a differencing disk: the length fits the space; the space is a number of sectors below
        512 or a multiple of 512 bytes, as libvhd reads it.
    Matters: 7-Zip refuses a text that is too long, XenServer a space that is neither.
    Fix: link the child to its parent again (`Set-VHD -ParentPath`).
    """
    for locator in _locators(header, image):
        odd_space = locator.data_space >= SECTOR and locator.data_space % SECTOR
        if any(locator.platform_code) and (locator.data_length > locator.space or odd_space):
            yield Fault(
                f"parent locator {locator.index} does not fit into its room",
                header.locator_span(locator.index, "data_length"),
                expected=f"at most {locator.space} bytes, in whole sectors",
                found=f"{locator.data_length} bytes in {locator.data_space}",
                related=(header.locator_span(locator.index, "data_space"),),
            )


@rule("VHD514", "locator-twice", severity=WARNING, doubts="description", spec="vhd-util check")
def locator_twice(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """Two parent locators are of the same platform.

    Checks: each platform code stands once in a differencing disk's header.
    Matters: XenServer refuses the image; others take the first, or the last.
    Fix: link the child to its parent again (`Set-VHD -ParentPath`).
    """
    seen: dict[bytes, int] = {}
    for locator in _locators(header, image):
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
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Locator",
)
def locators_missing(header: DynamicHeader, image: Image) -> Iterator[Fault]:
    """A differencing disk has no parent locator.

    Checks: at least one entry is used.
    Matters: most readers look for the parent by locator, not by name, and will not find it.
    Fix: link the child to its parent again (`Set-VHD -ParentPath`).
    """
    locators = _locators(header, image)
    if locators and not any(any(locator.platform_code) for locator in locators):
        yield Fault("there is no parent locator", header.span("parent_locators"), "one or more", "none")


def _locators(header: DynamicHeader, image: Image) -> tuple[ParentLocator, ...]:
    """The eight entries of a differencing disk; none of another."""
    return header.parent_locators if _is_child(image) else ()


def locator_path(locator: ParentLocator) -> str:
    """Decode a locator's text. Attacker-controlled: what does not decode is replaced."""
    if locator.platform_code in (b"W2ru", b"W2ku"):
        return locator.data[: len(locator.data) & ~1].decode("utf-16-le", "replace").partition("\0")[0]
    if locator.platform_code == b"MacX":
        from urllib.parse import unquote  # noqa: PLC0415 (for children made on a Mac only)

        return unquote(locator.data.decode("utf-8", "replace")).partition("\0")[0]
    return ""


def _short(path: str) -> str:
    """Keep a finding readable: a locator may hold 64 KiB."""
    return path if len(path) <= SHOWN else f"{path[:SHOWN]}..."


@rule("VHD520", "locator-name-differs", severity=NOTE, doubts="description", spec="vhd-util check")
def locator_name_differs(locators: tuple[ParentLocator, ...], image: Image) -> Iterator[Fault]:
    """A parent locator ends in another name than the header gives the parent.

    Checks: the last part of each decoded path against the header's parent name.
    Matters: XenServer refuses the image. Windows 8 and later write the parent's whole path into the header, so every
        child that it makes is refused there; all other readers accept it.
    Fix: merge the image into its parent on Windows: `Merge-VHD -Path {in}`
    """
    if image.header is None or not locators:
        return
    wanted = image.header.parent_name
    for locator in locators:
        name = re.split(r"[\\/]", locator_path(locator))[-1]
        if name and name != wanted:
            yield Fault(
                f"parent locator {locator.index} and the header name the parent differently",
                Span(locator.data_offset, locator.data_length, "parent_locator_data", locator.index),
                expected=_short(wanted),
                found=_short(name),
                related=(image.header.span("parent_unicode_name"),),
            )


@rule("VHD521", "hostile-parent-path", severity=WARNING, spec="none: what a server must not open")
def hostile_parent_path(locators: tuple[ParentLocator, ...], image: Image) -> Iterator[Fault]:
    """The parent's path leads to another host or a device, or hides what it says.

    Checks: parent name and decoded locators: no UNC or device path, no URL of another host, no control characters or
        marks that reverse text.
    Matters: a program that opens it may hand out credentials (NTLM), hang, or show something else than it opens.
        vhdcheck never opens it.
    Fix: do not open this image with a program that follows the path; ask the sender for a stand-alone disk.
    """
    if image.header is None or not _is_child(image):
        return
    named = [(image.header.parent_name, image.header.span("parent_unicode_name"))]
    named += [
        (locator_path(loc), Span(loc.data_offset, loc.data_length, "parent_locator_data", loc.index))
        for loc in locators
    ]
    for path, span in named:
        if _REMOTE.search(path):
            yield Fault(
                "the parent's path leads to another host or a device", span, "a path on this disk", _short(path)
            )
        elif _HOSTILE.search(path):
            yield Fault("the parent's path holds control characters", span, "printable text", _short(path))
