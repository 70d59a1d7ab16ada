"""VHD530 to VHD535: who the parent of a differencing disk is, among the files that the caller gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.format.structures import EPOCH
from vhdcheck.rules.parent import short
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.rules.times import date
from vhdcheck.units import count, exact
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.chain import Chain
    from vhdcheck.format.span import Span
    from vhdcheck.format.structures import DynamicHeader
    from vhdcheck.image import Image

DAY: Final = 86400
"""Seconds that a creation time may be ahead of a parent time: Virtual PC wrote local times, and clocks differ."""
WRITTEN: Final = 2
"""Seconds that a file's time may be ahead of a parent time: FAT keeps every second one."""


def header_of(image: Image) -> DynamicHeader:
    """Return the header that every image of a chain has."""
    assert image.header is not None
    return image.header


def stated_at(chain: Chain, name: str) -> Span:
    """Say where the differencing disk states something of its parent: whatever is found, its chain is what has it."""
    return header_of(chain.image).span(name)


def as_uuid(unique_id: bytes) -> str:
    """Write an ID as people compare them."""
    import uuid  # of chains only

    return str(uuid.UUID(bytes=unique_id))


def _stated(image: Image) -> str:
    """Describe a parent as its child states it: the ID, the name, the time."""
    header = header_of(image)
    name = f', named "{short(header.parent_name)}"' if header.parent_name else ""
    time = f", last written {date(header.parent_timestamp + EPOCH)}" if header.parent_timestamp else ""
    return f"{as_uuid(header.parent_unique_id)}{name}{time}"


def whose(chain: Chain, name: str) -> str:
    """Say whose parent it is, where it is not that of the disk itself."""
    return "" if name == chain.name else f" of {name}"


@rule(
    "VHD530",
    "parent-missing",
    part="chain",
    severity=ERROR,
    code=Code.PARENT,
    doubts="data",
    spec="Dynamic Disk Header Format: Parent Unique ID",
)
def parent_missing(chain: Chain) -> Fault | None:
    """A parent is not among the files that were given.

    Checks: each differencing disk of the chain finds a file whose unique ID is its parent unique ID.
    Matters: the disk is incomplete. vhd-util, VirtualBox, 7-Zip and libvhdi refuse it. qemu reads zeros for all that is
        missing.
    Fix: give the file that has this ID too. Its name may have changed, and only the ID counts.
    """
    if chain.end not in ("missing", "without-id"):
        return None
    name, image = chain.last
    of = whose(chain, name)
    if chain.end == "without-id":
        return Fault(
            f"the parent{of} has no ID, so that no file can be told to be it",
            stated_at(chain, "parent_unique_id"),
            "the parent's ID",
            "zeros",
            "merge the disk with its parent on XenServer, which takes a parent without an ID for a raw disk",
        )
    among = count(chain.given, "image") + " given" if chain.given else "images given: there are none"
    return Fault(
        f"the parent{of} is not among the {among}",
        stated_at(chain, "parent_unique_id"),
        expected=_stated(image),
        found="no file with this ID" + (f"; {count(chain.unread, 'file')} could not be read" if chain.unread else ""),
    )


@rule(
    "VHD531",
    "parent-id-twice",
    part="chain",
    severity=ERROR,
    code=Code.PARENT,
    doubts="data",
    spec="Hard Disk Footer Format: Unique ID",
)
def parent_id_twice(chain: Chain) -> Fault | None:
    """Two of the files that were given have the ID of a parent.

    Checks: one file, and no more, has the ID that a differencing disk of the chain states for its parent. Two names of
        one file count once.
    Matters: either may be the parent, and with the other one the data is wrong. vhd-util, VirtualBox and vhd-lib take
        the one that they find by name, and do not look further.
    Fix: give only the file that the disk was made from. The other one is a copy of it, as it was or as it is now.
    """
    if chain.end == "twice":
        name, image = chain.last
        return Fault(
            f"several files have the ID of the parent{whose(chain, name)}",
            stated_at(chain, "parent_unique_id"),
            expected=f"one file with the ID {as_uuid(header_of(image).parent_unique_id)}",
            found=", ".join(map(short, chain.at_end)),
        )
    return None


@rule(
    "VHD532",
    "parent-id-differs",
    part="chain",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_ID_MISMATCH; vhd-util check; 7-Zip",
)
def parent_id_differs(chain: Chain) -> Fault | None:
    """A file has the name of a parent, and another ID.

    Checks: where a parent is missing, the names of the files that were given against the names that the child states.
    Matters: the file was replaced, or made anew. Windows, vhd-util, VirtualBox, 7-Zip and libvhdi compare the ID and
        refuse the chain. Xen Orchestra (vhd-lib) does not, and reads wrong data.
    Fix: find the file with the right ID, in a backup. A file of the same name with other data cannot take its place.
    """
    if chain.end == "missing" and chain.at_end:
        name, image = chain.last
        return Fault(
            f"a file has the name of the parent{whose(chain, name)}, and another ID",
            stated_at(chain, "parent_unique_id"),
            expected=f"the ID {as_uuid(header_of(image).parent_unique_id)}",
            found=", ".join(map(short, chain.at_end)),
            related=(stated_at(chain, "parent_unicode_name"),),
        )
    return None


@rule(
    "VHD533",
    "parent-made-later",
    part="chain",
    severity=WARNING,
    code=Code.PARENT,
    doubts="data",
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH",
)
def parent_made_later(chain: Chain) -> Iterator[Fault]:
    """A parent was made after its child.

    Checks: the creation time in the parent's footer is at most a day behind the parent time that the child states. A
        child that states none (Windows 10) is passed by.
    Matters: the parent was written anew under its old ID, and its data may be other than the child was made for.
        Windows refuses the chain. vhd-util, VirtualBox, libvhdi and vhd-lib do not compare the times.
    Fix: use the parent as it was when the child was made, from a backup.
    """
    for name, image, parent in chain.links():
        stated, footer = header_of(image).parent_timestamp, parent.image.footer
        if footer is not None and stated and footer.timestamp > stated + DAY:
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, was made after its child",
                stated_at(chain, "parent_timestamp"),
                expected=f"made before {date(stated + EPOCH)}",
                found=date(footer.timestamp + EPOCH),
            )


@rule(
    "VHD534",
    "parent-file-newer",
    part="chain",
    severity=NOTE,
    code=Code.PARENT,
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_TIMESTAMP_MISMATCH",
)
def parent_file_newer(chain: Chain) -> Iterator[Fault]:
    """A parent's file was written after its child was made.

    Checks: when the file was last written, as its file system has it, against the parent time that the child states.
    Matters: copying a file does that, and so does using the parent, after which its children are worth nothing. Windows
        compares the times and refuses the chain. vhd-util, VirtualBox, libvhdi and vhd-lib do not.
    Fix: nothing need be done if the parent was only copied. Copy it with its times, so that Windows opens the chain.
    """
    for name, image, parent in chain.links():
        stated = header_of(image).parent_timestamp
        if stated and parent.modified is not None and parent.modified > stated + EPOCH + WRITTEN:
            yield Fault(
                f"the parent's file{whose(chain, name)}, {short(parent.name)}, was written after its child was made",
                stated_at(chain, "parent_timestamp"),
                expected=f"last written {date(stated + EPOCH)}",
                found=date(parent.modified),
            )


@rule(
    "VHD535",
    "parent-size-differs",
    part="chain",
    severity=WARNING,
    code=Code.PARENT,
    spec="winerror.h: ERROR_VHD_CHILD_PARENT_SIZE_MISMATCH",
)
def parent_size_differs(chain: Chain) -> Iterator[Fault]:
    """A parent is of another size than its child.

    Checks: the current size of each differencing disk against its parent's.
    Matters: Windows refuses the chain. Of a child that is larger XenServer, where such are made, reads zeros behind the
        parent's end, and 7-Zip stops there. Of a smaller one all readers leave out the rest.
    Fix: nothing need be done if the disk was resized on XenServer. Otherwise find the right parent.
    """
    for name, image, parent in chain.links():
        if image.footer is None or parent.image.footer is None:
            continue
        child, size = image.footer.current_size, parent.image.footer.current_size
        if child != size:
            which = "smaller" if size < child else "larger"
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, is {which} than its child",
                stated_at(chain, "parent_unique_id"),
                expected=exact(child),
                found=exact(size),
            )
