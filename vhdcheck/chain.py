"""Chain: a differencing disk, and its parents among the files that the caller gave.

A parent is known by its unique ID alone. Names and paths that an image states are shown to people, escaped, and
compared with the names of files that were given. None is ever opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from vhdcheck.format.structures import DIFFERENCING, FIXED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vhdcheck.image import Image

End: TypeAlias = Literal["whole", "missing", "without-id", "twice", "circle", "too-deep"]
"""How a chain ends: with a disk that stands alone; with a child whose parent was not given, has no ID, or cannot be
told from another file of the same ID; with a child of an image that is in the chain already; or behind more parents
than are examined."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A file that was given, and has the ID that the image before it in the chain states for its parent."""

    name: str
    image: Image
    refused_for: tuple[str, ...] = ()
    """Rules by which the format refuses it, as `VHD105 footer-checksum`; empty where it is sound."""
    in_doubt: tuple[str, ...] = ()
    """What puts its own data in doubt, in the same words."""
    modified: float | None = None
    """When the file was last written, in Unix seconds; None where nothing tells."""
    source: Any = None
    """What it can be opened by again."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A differencing disk and its parents."""

    name: str
    image: Image
    """The differencing disk."""
    parents: tuple[Parent, ...]
    """The nearest first."""
    end: End
    at_end: tuple[str, ...] = ()
    """Where the parent is missing: files that have its name and another ID. Where files have the same ID: those."""
    depth: int = 0
    """Parents in all, also where not all of them were examined."""
    given: int = 0
    """Images among which the parents were looked for."""
    unread: int = 0
    """Files that were to be among them, and could not be read."""

    @property
    def is_whole(self) -> bool:
        """Whether it ends with a disk that stands alone."""
        return self.end == "whole"

    @property
    def is_sound(self) -> bool:
        """Whether it is whole, and the format refuses none of its parents."""
        return self.is_whole and not any(parent.refused_for for parent in self.parents)

    def links(self) -> Iterator[tuple[str, Image, Parent]]:
        """Yield each child, by its name, with its parent."""
        name, image = self.name, self.image
        for parent in self.parents:
            yield name, image, parent
            name, image = parent.name, parent.image

    @property
    def last(self) -> tuple[str, Image]:
        """The image at the chain's end, by its name."""
        return (self.parents[-1].name, self.parents[-1].image) if self.parents else (self.name, self.image)


def has_parent(image: Image) -> bool:
    """Say whether a disk is a differencing one whose header can be read."""
    return image.footer is not None and image.footer.disk_type == DIFFERENCING and image.header is not None


def file_name(path: str) -> str:
    """Return what a path ends in, whichever system wrote it, for comparisons: names differ there in more than case."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1].casefold()


def own_data(image: Image) -> int:
    """Count the bytes of the disk that lie in an image's own file: its blocks in use, or all of a fixed disk."""
    footer = image.footer
    if footer is None:
        return 0
    if footer.disk_type == FIXED:
        return footer.current_size
    if image.table is None or image.header is None:
        return 0
    return image.table.used * image.header.block_size
