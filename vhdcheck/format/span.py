"""A place in an image."""

from __future__ import annotations

from typing import Final, NamedTuple


class Span(NamedTuple):
    """A place in the image: `length` bytes from `offset`; `field` is a path such as `footer.current_size`."""

    offset: int
    length: int
    field: str = ""

    @property
    def end(self) -> int:
        """The offset of the first byte behind it."""
        return self.offset + self.length


TABLE: Final = "block allocation table"
BATMAP: Final = "batmap"
BITMAP: Final = "bitmap["
"""How the path of a sector bitmap begins; the block's number and a bracket follow."""
BITMAPS: Final = "bitmaps"
"""The path of a span that has several bitmaps; to ask for each by itself, answer with None."""
