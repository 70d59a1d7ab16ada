"""VHD536 to VHD542: what the parents of a differencing disk are, and how many, where the caller gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.format.structures import FIXED
from vhdcheck.rules.chain import as_uuid, header_of, stated_at, whose
from vhdcheck.rules.parent import short
from vhdcheck.rules.registry import ERROR, NOTE, WARNING, Fault, rule
from vhdcheck.units import count, exact
from vhdcheck.verdict.codes import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.chain import Chain

DEEPEST: Final = 30
"""Parents and child of a chain at the most: XenServer's MAX_CHAIN_SIZE."""


@rule(
    "VHD536",
    "parent-refused",
    part="chain",
    severity=ERROR,
    code=Code.PARENT,
    doubts="data",
    spec="what each of the parent's own rules says",
)
def parent_refused(chain: Chain) -> Iterator[Fault]:
    """A parent is damaged.

    Checks: the format refuses none of the parents. What a destination asks of an image is not asked of them.
    Matters: all that the child does not hold itself is read from there. Readers refuse the chain, or read wrong data.
    Fix: check the parent alone, which says what is wrong with it. Get it again from where it is whole.
    """
    for name, _image, parent in chain.links():
        if parent.refused_for:
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, is damaged itself",
                stated_at(chain, "parent_unique_id"),
                expected="a sound image",
                found=", ".join(parent.refused_for[:3]),
            )


@rule(
    "VHD537",
    "parent-block-size-differs",
    part="chain",
    severity=NOTE,
    code=Code.PARENT,
    spec="Dynamic Disk Header Format: Block Size",
)
def parent_block_size_differs(chain: Chain) -> Iterator[Fault]:
    """A parent has blocks of another size than its child.

    Checks: the block size of each differencing disk against its parent's, where that has blocks.
    Matters: the format allows it, and readers that go by sectors (7-Zip, VirtualBox, libvhdi) read it right. XenServer
        reads only blocks of 2 MiB right.
    Fix: nothing need be done, except for XenServer: merge the chain elsewhere.
    """
    for name, image, parent in chain.links():
        header, child = parent.image.header, header_of(image)
        if header is not None and header.block_size != child.block_size:
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, has blocks of another size",
                stated_at(chain, "block_size"),
                expected=exact(child.block_size),
                found=exact(header.block_size),
            )


@rule(
    "VHD538",
    "circular-chain",
    part="chain",
    severity=ERROR,
    code=Code.PARENT,
    doubts="data",
    spec="winerror.h: ERROR_VIRTDISK_CIRCULAR_PARENT; VHD format: a chain ends with a disk that stands alone",
)
def circular_chain(chain: Chain) -> Fault | None:
    """The chain of parents comes back to an image that is in it already.

    Checks: no image is its own parent, or a parent of its parents.
    Matters: no disk stands at the end of it, so that data is missing. Windows refuses it. Programs that follow it may
        never come to an end.
    Fix: find the right parent: an ID was written that is not its own. Programs that copy images without a new ID do it.
    """
    if chain.end == "circle":
        name, image = chain.last
        return Fault(
            f"the parent{whose(chain, name)} is in the chain already",
            stated_at(chain, "parent_unique_id"),
            expected="a disk that stands alone at the end of the chain",
            found=f"{as_uuid(header_of(image).parent_unique_id)} again, after {count(chain.depth, 'parent')}",
        )
    return None


@rule(
    "VHD539",
    "deep-chain",
    part="chain",
    severity=WARNING,
    code=Code.PARENT,
    spec="XenServer SM: MAX_CHAIN_SIZE",
)
def deep_chain(chain: Chain) -> Fault | None:
    """The chain has more than 30 images.

    Checks: how many parents there are, and the differencing disk itself.
    Matters: XenServer refuses to make chains that are longer. Reading such a disk is slow, because each sector is
        looked for in one image after the other.
    Fix: merge the oldest images of the chain.
    """
    if chain.depth + 1 > DEEPEST:
        return Fault(
            f"the chain has {count(chain.depth + 1, 'image')}",
            stated_at(chain, "parent_unique_id"),
            expected=f"at most {DEEPEST}",
            found=str(chain.depth + 1),
        )
    return None


@rule(
    "VHD540",
    "parent-fixed",
    part="chain",
    severity=NOTE,
    code=Code.PARENT,
    spec="Hard Disk Footer Format: Disk Type",
)
def parent_fixed(chain: Chain) -> Iterator[Fault]:
    """The chain ends with a fixed disk.

    Checks: the type of the parent that stands alone.
    Matters: Windows, VirtualBox, 7-Zip and libvhdi read it right. Xen Orchestra (vhd-lib) does not open a fixed disk.
    Fix: nothing need be done, except for Xen Orchestra: convert the parent, or merge the chain.
    """
    for name, _image, parent in chain.links():
        footer = parent.image.footer
        if footer is not None and footer.disk_type == FIXED:
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, is a fixed disk",
                stated_at(chain, "parent_unique_id"),
                expected="3 (dynamic) or 4 (differencing)",
                found="2 (fixed)",
            )


@rule(
    "VHD541",
    "parent-not-hidden",
    part="chain",
    severity=NOTE,
    code=Code.PARENT,
    spec="XenServer SM: vhdutil.setHidden; blktap: vhd-util set",
)
def parent_not_hidden(chain: Chain) -> Iterator[Fault]:
    """A parent that XenServer made is not hidden.

    Checks: the hidden flag (byte 85 of the footer) of parents that blktap wrote.
    Matters: XenServer hides a disk that has children, so that nobody starts a machine with it. What is written into it
        changes all of its children.
    Fix: nothing need be done if nobody uses the parent as a disk.
    """
    for name, _image, parent in chain.links():
        footer = parent.image.footer
        if footer is not None and footer.is_tap and not footer.hidden:
            yield Fault(
                f"the parent{whose(chain, name)}, {short(parent.name)}, is not hidden",
                stated_at(chain, "parent_unique_id"),
                expected="1",
                found="0",
            )


@rule(
    "VHD542",
    "chain-too-deep",
    part="chain",
    severity=ERROR,
    code=Code.PARENT,
    doubts="data",
    spec="none: what vhdcheck examines",
)
def chain_too_deep(chain: Chain) -> Fault | None:
    """The chain has more parents than vhdcheck examines.

    Checks: a chain has at most 256 parents.
    Matters: the rest of it was not looked at, so that it cannot be called sound. 7-Zip stops at 4096.
    Fix: merge the oldest images of the chain.
    """
    if chain.end == "too-deep":
        return Fault(
            f"the chain has {count(chain.depth, 'parent')}, and only the nearest were examined",
            stated_at(chain, "parent_unique_id"),
            expected=f"at most {len(chain.parents)}",
            found=str(chain.depth),
        )
    return None
