"""What must hold. Importing this package registers every rule; each family is a file, and `registry` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vhdcheck.rules import (
    ancestry,
    blocks,
    chain,
    copies,
    file,
    footer,
    geometry,
    header,
    limits,
    locators,
    offsets,
    parent,
    table,
)
from vhdcheck.rules.registry import RULES, find, in_order, judge, matching

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["FAMILIES", "RULES", "SLUGS", "find", "judge", "matching"]

FAMILIES: Final[dict[ModuleType, tuple[range, ...]]] = {
    copies: (
        range(101, 105),
        range(124, 126),
        range(130, 132),
        range(133, 134),
    ),  # which bytes are it
    footer: (range(105, 109), range(113, 124), range(126, 130)),  # its fields
    offsets: (range(109, 113),),  # where it points
    geometry: (range(132, 133), range(134, 135), range(150, 160)),  # the disk's size
    header: (range(200, 300),),
    table: (range(300, 400),),
    blocks: (range(400, 500),),
    parent: (range(500, 510), range(519, 530)),
    locators: (range(510, 519),),
    chain: (range(530, 536),),
    ancestry: (range(536, 560),),
    file: (range(600, 700),),
    limits: (range(700, 800),),  # what the target asks
}
"""Which file takes which numbers. The hundred is the structure; in a file the numbers stand in order.

A new rule on the footer takes the next number of the file that it belongs in: 126 to 129 for a field, 135 to 149 for
the copies (add the range), 159 for the size.
"""

in_order()
SLUGS: Final = frozenset(each.slug for each in RULES.values())
