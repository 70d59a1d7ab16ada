"""What the forms of the forest have in common: the words for an image and for all of them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, TypeAlias

from vhdcheck.engine.forest import Forest, node
from vhdcheck.format.structures import DIFFERENCING, DYNAMIC, FIXED
from vhdcheck.units import count, grouped, human

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vhdcheck.engine.forest import Counts, Node, NoImage, Row
    from vhdcheck.report.context import Context
    from vhdcheck.verdict.report import Failure, Report

    Part: TypeAlias = Node | NoImage | Failure

TYPES: Final = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}


def part(result: Report | Failure, context: Context) -> Part:  # noqa: ARG001 (asked of all forms)
    """Keep of an image what matters in the forest."""
    return node(result)


def grown(parts: Iterable[Part]) -> tuple[Forest, list[Row], Counts]:
    """Make the forest of what was checked."""
    forest = Forest()
    for each in parts:
        forest.add(each)
    rows = forest.rows()
    return forest, rows, forest.counts(rows)


def facts(row: Row) -> str:
    """Say what an image is, and how much of the disk it holds."""
    node = row.node
    kind = TYPES.get(node.disk_type, f"type {node.disk_type}")
    return f"{kind}, {human(node.size)}, own data {human(node.own)}"


def troubles(row: Row) -> Iterator[str]:
    """Say what is wrong with an image or its place."""
    node = row.node
    parent = str(uuid.UUID(bytes=node.parent_id)) if any(node.parent_id) else "which has no ID"
    named = f', named "{node.parent_name}"' if node.parent_name else ""
    if row.state == "orphan":
        yield f"its parent {parent}{named}, is not here"
    elif row.state == "ambiguous":
        yield f"several images have the ID of its parent {parent}{named}"
    elif row.state == "circle":
        yield "its parents lead in a circle"
    if node.refused:
        yield "damaged: check it alone"


def dependents(row: Row) -> str:
    """Say who would break if an image were deleted."""
    return f"{count(row.dependents, 'image')} would break without it" if row.dependents else ""


def census(counts: Counts) -> Iterator[str]:
    """Say in lines what all of them come to."""
    parts = (
        ("stand-alone disks", counts.roots),
        ("ends of chains", counts.leaves),
        ("without their parent here", counts.orphans),
        ("with several images that may be the parent", counts.ambiguous),
        ("in a circle", counts.circles),
        ("damaged", counts.refused),
        ("not checked", counts.not_checked),
        ("no VHD", counts.no_images),
    )
    told = ", ".join(f"{words} {grouped(number)}" for words, number in parts if number)
    yield count(counts.images, "image") + (f": {told}" if told else "")
    if counts.deepest > 1:
        yield f"the longest chain has {count(counts.deepest, 'image')}"
