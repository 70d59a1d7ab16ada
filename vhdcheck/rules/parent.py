"""VHD500 to VHD509 and VHD519 to VHD529: parents. No path that an image names is ever opened."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
from vhdcheck.rules.registry import NOTE, WARNING, Fault, rule
from vhdcheck.rules.times import date, meant
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
    part="footer",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="Hard Disk Footer Format: Disk Type",
)
def differencing_disk(footer: Footer) -> Fault | None:
    """The image is a differencing disk: it holds only what differs from its parent.

    Checks: the disk type is not 4.
    Matters: without the parent it is incomplete. qemu and dissect do not know the type. They read it as if all that is
        missing were zeros.
    Fix: merge it with its parent on the machine that has both: with Hyper-V (Merge-VHD, Convert-VHD), XenServer
        (vhd-util coalesce) or VirtualBox (VBoxManage clonemedium). Then check the result.
    """
    if footer.disk_type == DIFFERENCING:
        return Fault(
            "a differencing disk: its data is incomplete without its parent",
            footer.span("disk_type"),
            expected="2 (fixed) or 3 (dynamic)",
            found="4 (differencing)",
        )
    return None


def is_child(image: Image) -> bool:
    """Say whether a disk is a differencing one."""
    return image.footer is not None and image.footer.disk_type == DIFFERENCING


@rule(
    "VHD502",
    "parent-on-stand-alone-disk",
    part="header",
    severity=WARNING,
    doubts="data",
    spec="Dynamic Disk Header Format; vhd-util check",
)
def parent_on_stand_alone_disk(header: DynamicHeader, image: Image) -> Fault | None:
    """A dynamic disk's header names a parent.

    Checks: parent ID, parent time stamp, parent name and parent locators of a dynamic disk are zero, from their first
        byte on (vhd-util misses the first).
    Matters: XenServer refuses the image. Either the type is wrong and the disk is incomplete, or the fields are left
        from a merge.
    Fix: if the disk was merged, clear these fields. If it was not, merge it with its parent first.
    """
    if is_child(image):
        return None
    fields = (
        ("parent_unique_id", not is_zero(header.parent_unique_id)),
        ("parent_timestamp", header.parent_timestamp),
        ("parent_unicode_name", not is_zero(header.parent_unicode_name)),
        ("parent_locators", header.parent_locators != NO_LOCATORS),
    )
    if kept := [name for name, value in fields if value]:
        return Fault(
            f"a stand-alone disk names a parent, in {', '.join(kept)}",
            header.span(kept[0]),
            expected="zeros",
            found=_found(header, kept[0]),
            related=tuple(header.span(name) for name in kept[1:]),
            # A child names its parent: without ID and name these are left-overs, and the disk is no child's.
            doubts=None if {"parent_unique_id", "parent_unicode_name"} & set(kept) else "description",
        )
    return None


def _found(header: DynamicHeader, name: str) -> str:
    if name == "parent_unicode_name":
        raw = header.parent_unicode_name
        first = next(place for place, byte in enumerate(raw) if byte)
        return header.parent_name or f"0x{raw[first]:02x} at byte {first} of the name"
    if name == "parent_locators":
        return ", ".join(f"entry {loc.index}" for loc in header.parent_locators if not loc.is_empty)
    value = getattr(header, name)
    return value.hex() if isinstance(value, bytes) else str(value)


@rule(
    "VHD503",
    "parent-name",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Unicode Name",
    when=is_child,
)
def parent_name(header: DynamicHeader) -> Fault | None:
    """A differencing disk's parent name cannot be read.

    Checks: it is UTF-16, big-endian, and not empty.
    Matters: readers that look for the parent by name do not find it. Some writers use little-endian, which Windows
        accepts.
    Fix: nothing need be done if the locators are right. Otherwise link the child to its parent again (Set-VHD).
    """
    raw, problem = header.parent_unicode_name, ""
    try:
        if header.has_little_endian_name:
            problem = "is written little-endian"
        elif not raw.decode("utf-16-be").partition("\0")[0]:
            problem = "is empty"
    except UnicodeDecodeError:
        problem = "is not UTF-16"
    if problem:
        return Fault(
            f"the parent's name {problem}", header.span("parent_unicode_name"), "UTF-16, big-endian", raw[:16].hex(" ")
        )
    return None


@rule(
    "VHD504",
    "parent-id-zero",
    part="header",
    severity=NOTE,
    doubts="description",
    spec="Dynamic Disk Header Format: Parent Unique ID",
    when=is_child,
)
def parent_id_zero(header: DynamicHeader) -> Fault | None:
    """A differencing disk's parent has no ID.

    Checks: the parent unique ID is not zero.
    Matters: to XenServer that means that the parent is a raw disk. Others cannot tell whether a file is the parent.
    Fix: merge the image on XenServer (vhd-util coalesce).
    """
    if not any(header.parent_unique_id):
        return Fault("the parent's unique ID is all zeros", header.span("parent_unique_id"), "the parent's ID", "zeros")
    return None


@rule(
    "VHD505",
    "parent-is-itself",
    part="header",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_ID_MISMATCH",
    when=is_child,
)
def parent_is_itself(header: DynamicHeader, image: Image) -> Fault | None:
    """A differencing disk has the same ID as its parent.

    Checks: the parent unique ID against the footer's unique ID.
    Matters: a host that links disks by ID never comes to an end. DOSBox-X makes such children.
    Fix: merge the image with the program that made it.
    """
    if image.footer is None or not any(image.footer.unique_id):
        return None
    if header.parent_unique_id == image.footer.unique_id:
        return Fault(
            "the image has its parent's unique ID",
            header.span("parent_unique_id"),
            expected="another ID than its own",
            found=header.parent_unique_id.hex(),
            related=(image.footer.span("unique_id"),),
        )
    return None


@rule(
    "VHD506",
    "parent-in-future",
    part="header",
    severity=WARNING,
    doubts="description",
    spec="vhd-util check",
    when=is_child,
)
def parent_in_future(header: DynamicHeader, now: float) -> Fault | None:
    """A differencing disk's parent was changed in the future.

    Checks: the parent time stamp is at most 30 minutes ahead of this machine's clock.
    Matters: XenServer refuses the image. Windows compares the time with the parent's own.
    Fix: link the child to its parent again on a machine whose clock is right, or merge the two.
    """
    if header.parent_timestamp + EPOCH > now + CLOCK_SLACK:
        return Fault(
            f"the parent's time stamp lies in the future{meant(header.parent_timestamp, now)}",
            header.span("parent_timestamp"),
            expected=f"at most {date(now + CLOCK_SLACK)}",
            found=date(header.parent_timestamp + EPOCH),
        )
    return None


@rule(
    "VHD519",
    "parent-not-ascii",
    part="locators",
    severity=NOTE,
    doubts="description",
    spec="blktap: vhd_w2u_decode_location",
    when=is_child,
)
def parent_not_ascii(locators: tuple[ParentLocator, ...], image: Image) -> Iterator[Fault]:
    """The parent's name or path has characters that are not ASCII.

    Checks: the parent name of a differencing disk, and the paths of its locators. In those of MacX a percent sign
        stands for such a character, or for one that is special.
    Matters: the specification allows it. XenServer refuses the image, because it cannot read such a path.
    Fix: give the parent a name of ASCII letters and link the child to it again, or merge the two.
    """
    if image.header is None:
        return
    for path, span in _named(image.header, locators):
        is_escaped = "%" in path and path.startswith("file://")
        if path and (not path.isascii() or is_escaped):
            yield Fault("XenServer cannot read the parent's path, which is not plain ASCII", span, "ASCII", short(path))


def _named(header: DynamicHeader, locators: tuple[ParentLocator, ...]) -> list[tuple[str, Span]]:
    """List every name that the parent is given, with its place."""
    named = [(header.parent_name, header.span("parent_unicode_name"))]
    spans = (Span(loc.data_offset, loc.data_length, "parent_locator_data", loc.index) for loc in locators)
    return named + [(locator.path, span) for locator, span in zip(locators, spans, strict=True)]


def short(path: str) -> str:
    """Keep a finding readable: a locator may hold 64 KiB."""
    return path if len(path) <= SHOWN else f"{path[:SHOWN]}..."


@rule(
    "VHD520",
    "locator-name-differs",
    part="locators",
    severity=NOTE,
    doubts="description",
    spec="vhd-util check",
    when=is_child,
)
def locator_name_differs(locators: tuple[ParentLocator, ...], image: Image) -> Iterator[Fault]:
    """A parent locator ends in another name than the header gives the parent.

    Checks: the last part of each decoded path against the header's parent name.
    Matters: XenServer refuses the image. Windows 8 and later write the parent's whole path into the header, so
        XenServer refuses every child that they make. All other readers accept it.
    Fix: merge the image with its parent on Windows (Merge-VHD).
    """
    if image.header is None or not locators:
        return
    wanted = image.header.parent_name
    for locator in locators:
        name = _last_part(locator)
        if name and name != wanted:
            yield Fault(
                f"parent locator {locator.index} and the header name the parent differently",
                Span(locator.data_offset, locator.data_length, "parent_locator_data", locator.index),
                expected=short(wanted),
                found=short(name),
                related=(image.header.span("parent_unicode_name"),),
            )


def _last_part(locator: ParentLocator) -> str:
    """Return the name that a path ends in, without the escapes of a URL."""
    return re.split(r"[\\/]", _opened(locator.path))[-1]


def _opened(path: str) -> str:
    """Return a path as a program opens it: without the escapes, if it is a URL."""
    if not path.startswith("file://") or "%" not in path:
        return path
    from urllib.parse import unquote

    return unquote(path)


@rule(
    "VHD521",
    "hostile-parent-path",
    part="locators",
    severity=WARNING,
    spec="none: what a server must not open",
    when=is_child,
)
def hostile_parent_path(locators: tuple[ParentLocator, ...], image: Image) -> Iterator[Fault]:
    """The parent's path leads to another host or a device, or hides what it says.

    Checks: parent name and decoded locators: no UNC or device path, no URL of another host, no control characters or
        marks that reverse text.
    Matters: a program that opens it may hand out credentials (NTLM), hang, or show something else than it opens.
        vhdcheck never opens it.
    Fix: do not open this image with a program that follows the path. Ask the sender for a stand-alone disk.
    """
    if image.header is None:
        return
    for stored, span in _named(image.header, locators):
        path = _opened(stored)
        if _REMOTE.search(path):
            yield Fault("the parent's path leads to another host or a device", span, "a path on this disk", short(path))
        elif _HOSTILE.search(path):
            yield Fault("the parent's path holds control characters", span, "printable text", short(path))
