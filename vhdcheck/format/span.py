"""A place in an image, and what it is called.

A place is written `part`, `part[number]`, `part.name` or `part[number].name`: `footer.current_size`, `table[17]`,
`parent_locator[2].data_offset`. This is the grammar of `Span.field`, of `location.field` in JSON, and of what SARIF's
fingerprints are made of. Nobody takes such a path apart again: what it is made of are the span's own fields.
"""

from __future__ import annotations

from typing import Final, NamedTuple

WORDS: Final = {
    "file": "file",
    "footer": "footer",
    "footer_copy": "footer copy",
    "header": "dynamic header",
    "parent_locator": "parent locator entry",
    "parent_locator_data": "parent locator",
    "table": "block allocation table",
    "block": "block",
    "blocks": "blocks",
    "bitmap": "sector bitmap",
    "bitmaps": "sector bitmaps",
    "batmap": "batmap header",
    "batmap_map": "batmap",
    "slack": "space before the footer",
    "data": "data",
}
"""Every part of an image, and its name in a sentence. `table[3]` is entry 3, `block[3]` the block that it leads to."""


class Span(NamedTuple):
    """A place in the image: `length` bytes from `offset`."""

    offset: int
    length: int
    part: str = ""
    """One of WORDS; empty where a span is only a range of bytes."""
    number: int | None = None
    """Which block, table entry or parent locator."""
    name: str = ""
    """The field of a structure, by the specification's name."""

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length

    @property
    def field(self) -> str:
        """The path: `footer.current_size`, `table[17]`."""
        path = self.part if self.number is None else f"{self.part}[{self.number}]"
        return f"{path}.{self.name}" if self.name else path

    @property
    def words(self) -> str:
        """The part in a sentence: `block allocation table`, `parent locator 2`."""
        words = WORDS.get(self.part, self.part)
        return words if self.number is None else f"{words} {self.number}"

    @property
    def block(self) -> int | None:
        """The number of the block that it belongs to."""
        return self.number if self.part in {"table", "block", "bitmap"} else None
