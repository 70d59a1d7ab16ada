"""A plan as a value: what would make an image pass, on which conditions, or why nothing does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vhdcheck.format.structures import DYNAMIC, FIXED

if TYPE_CHECKING:
    from vhdcheck.mend.corrections import Change
    from vhdcheck.targets import Target

CORRECT, CUT, REBUILD, MAKE_FIXED, MAKE_DYNAMIC, ENLARGE, SHRINK, WRAP = (
    "correct",
    "cut",
    "rebuild",
    "fixed",
    "dynamic",
    "enlarge",
    "shrink",
    "wrap",
)
FLATTEN: Final = "flatten"
"""A differencing disk and its parents become one disk; `before` is how many parents."""
UNMARKED, BEHIND_DISK, BETWEEN, BEHIND_FOOTER, PARTITIONS, SECTORS, FITS = (
    "unmarked-sectors-hold-nothing",
    "nothing-behind-the-new-end",
    "nothing-between-disk-and-footer",
    "nothing-behind-the-footer",
    "partition-table-is-sound",
    "partition-table-counts-in-512-bytes",
    "data-fits",
)
TYPES: Final = {FIXED: "fixed", DYNAMIC: "dynamic"}
"""The disk types that are written."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done: its kind, and where a size changes, the one before and the one after, in bytes."""

    kind: str
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to be true of the guest's data; it is checked before anything is written."""

    kind: str
    offset: int = 0
    """Of the disk, or (between, behind the footer) of the file: what lies from there on has to be zeros."""
    limit: int = 0
    """Where that ends; or how many blocks of 2 MiB may hold data."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What makes an image pass, or why nothing does."""

    source: str
    target: Target
    possible: bool
    steps: tuple[Step, ...] = ()
    """In order; empty where there is nothing to be done."""
    conditions: tuple[Condition, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why it is not possible; empty where it is."""
    command: tuple[str, ...] = ()
    """The command that does it, as a list of arguments; empty where there is none."""
    first: tuple[str, ...] = ()
    """A command to be run before that one: it makes a raw disk of another format."""
    changes: tuple[Change, ...] = ()
    """The bytes that are corrected, by offset."""
    size: int = 0
    """Of the disk that the copy has, in bytes."""
    disk_type: str = ""
    """Of the copy: fixed, dynamic, or differencing."""
    length: int = 0
    """Of the copy's file, in bytes, at the most."""
    least_length: int = 0
    """The same, at the least: with no block in use. Exact where both are equal."""

    @property
    def is_certain(self) -> bool:
        """Whether there is something to be done, and it can be done whatever the guest's data are."""
        return self.possible and bool(self.steps) and not self.conditions
