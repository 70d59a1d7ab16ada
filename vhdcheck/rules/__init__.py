"""What must hold. Importing this package registers every rule; each family is a file, and `registry` runs them."""

from __future__ import annotations

from typing import Final

from vhdcheck.rules import blocks, copies, file, footer, geometry, header, limits, offsets, parent, table
from vhdcheck.rules.registry import RULES, find, in_order, judge, matching

__all__ = ["FAMILIES", "RULES", "SLUGS", "find", "judge", "matching"]

FAMILIES: Final = (footer, offsets, copies, geometry, header, table, blocks, parent, file, limits)

in_order()
SLUGS: Final = frozenset(each.slug for each in RULES.values())
