"""The forest of many images: who is whose parent, by unique ID, and who would break if one were deleted.

    report ─ node() ─▶ Node ─ add() ─▶ Forest ─ rows() ─▶ Row: a node in its place, trees from the root down

A node keeps the few fields that matter, so that memory is bounded for each image, whatever it claims. Links are made
when all images are known. Each node has one parent at the most, so that what no root leads to is a circle, or hangs on
one. Nothing here recurses: a chain may be longer than Python's stack is deep.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal, NamedTuple, TypeAlias

from vhdcheck.chain import has_parent, own_data
from vhdcheck.engine.parents import NOBODY, key_of
from vhdcheck.verdict.report import Failure, Report

State: TypeAlias = Literal["root", "child", "orphan", "ambiguous", "circle"]
"""Stands alone; its parent is here; its parent is not here; several images have its parent's ID; its parents lead back
to itself."""
NAME: Final = 260
"""Characters that are kept of the name that a child states for its parent."""


class Node(NamedTuple):
    """An image, as far as chains go."""

    source: str
    unique_id: bytes
    parent_id: bytes
    """Zeros where it is no differencing disk, or its parent has no ID."""
    parent_name: str
    """What a differencing disk calls its parent: a stranger's words."""
    disk_type: int
    size: int
    """Of the disk, in bytes."""
    length: int
    """Of the file."""
    own: int
    """Bytes of the disk that lie in this file: its blocks in use, or all of a fixed disk."""
    refused: bool
    """Whether the format refuses it."""
    is_child: bool


class NoImage(NamedTuple):
    """A file that has no footer."""

    source: str


class Row(NamedTuple):
    """A node in its place."""

    node: Node
    state: State
    depth: int
    """Images between it and the root of its tree, the root included."""
    children: int
    dependents: int
    """Images that would break if this one were deleted: its children, and theirs."""
    last: bool
    """Whether it is the last child of its parent."""
    total: int
    """Bytes of the disk that lie in this file and those above it: blocks that are in several count several times."""


class Counts(NamedTuple):
    """How many of each there are."""

    images: int
    roots: int
    leaves: int
    """Differencing disks without children: nothing breaks if one of them is deleted."""
    orphans: int
    ambiguous: int
    circles: int
    """Images that are part of a circle, or hang on one."""
    refused: int
    deepest: int
    """Images in the longest chain."""
    not_checked: int
    no_images: int
    """Files that have no footer."""

    @property
    def broken(self) -> int:
        """Images whose parents are not here, cannot be told apart, or lead in a circle."""
        return self.orphans + self.ambiguous + self.circles


class Forest:
    """Images, and who is whose parent."""

    def __init__(self) -> None:
        """Begin with none."""
        self._nodes: list[Node] = []
        self._keys: set[object] = set()
        self._no_images = 0
        self.failures: list[Failure] = []

    def add(self, found: Node | NoImage | Failure) -> None:
        """Add what `node` made of an image; a second name of the same file is not one more."""
        if isinstance(found, Failure):
            self.failures.append(found)
        elif isinstance(found, NoImage):
            self._no_images += 1
        elif (key := key_of(found.source)) not in self._keys:
            self._keys.add(key)
            self._nodes.append(found)

    def rows(self) -> list[Row]:
        """Return every image: trees by the name of their root, children by their names."""
        return _Linked(self._nodes).rows()

    def counts(self, rows: list[Row]) -> Counts:
        """Count them."""
        states = Counter(row.state for row in rows)
        return Counts(
            images=len(rows),
            roots=states["root"],
            leaves=sum(1 for row in rows if row.node.is_child and not row.children),
            orphans=states["orphan"],
            ambiguous=states["ambiguous"],
            circles=states["circle"],
            refused=sum(row.node.refused for row in rows),
            deepest=max((row.depth + 1 for row in rows), default=0),
            not_checked=len(self.failures),
            no_images=self._no_images,
        )


def node(result: Report | Failure) -> Node | NoImage | Failure:
    """Keep of an image what matters here."""
    if isinstance(result, Failure):
        return result
    image = result.image
    footer = image.footer
    if footer is None:
        return NoImage(result.source)
    child = has_parent(image)
    header = image.header if child else None
    return Node(
        source=result.source,
        unique_id=footer.unique_id,
        parent_id=NOBODY if header is None else header.parent_unique_id,
        parent_name="" if header is None else header.parent_name[:NAME],
        disk_type=footer.disk_type,
        size=footer.current_size,
        length=result.size,
        own=own_data(image),
        refused=not result.ok,
        is_child=child,
    )


class _Linked:
    """Nodes by number, each with the number of its parent."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = sorted(nodes, key=lambda node: node.source)
        by_id: dict[bytes, list[int]] = {}
        for number, node in enumerate(self._nodes):
            if any(node.unique_id):
                by_id.setdefault(node.unique_id, []).append(number)
        self._states: list[State] = []
        self._parents: list[int] = []
        self._children: list[list[int] | None] = [None] * len(self._nodes)
        for number, node in enumerate(self._nodes):
            state, parent = _link(number, node, by_id)
            self._states.append(state)
            self._parents.append(parent)
            if parent >= 0:
                siblings = self._children[parent]
                if siblings is None:
                    self._children[parent] = [number]
                else:
                    siblings.append(number)

    def rows(self) -> list[Row]:
        """Walk the trees from their roots, then cut each circle that is left at its first image."""
        order: list[tuple[int, int, bool]] = []
        reached = bytearray(len(self._nodes))
        for number, parent in enumerate(self._parents):
            if parent < 0:
                self._walk(number, order, reached)
        for number in range(len(self._nodes)):
            if not reached[number]:
                self._walk(self._on_circle(number), order, reached, circle=True)
        return self._rows(order)

    def _walk(self, root: int, order: list[tuple[int, int, bool]], reached: bytearray, *, circle: bool = False) -> None:
        waiting = [(root, 0, True)]
        while waiting:
            number, depth, last = waiting.pop()
            if reached[number]:
                continue
            reached[number] = 1
            if circle:
                self._states[number] = "circle"
            order.append((number, depth, last))
            below = [child for child in self._children[number] or () if not reached[child]]
            waiting += ((child, depth + 1, place == 0) for place, child in enumerate(reversed(below)))

    def _on_circle(self, number: int) -> int:
        """Follow parents until one comes again: it is part of the circle that the image hangs on."""
        seen = set()
        while number not in seen:
            seen.add(number)
            number = self._parents[number]
        members = [number]
        while (at := self._parents[members[-1]]) != number:
            members.append(at)
        return min(members)

    def _rows(self, order: list[tuple[int, int, bool]]) -> list[Row]:
        dependents = [0] * len(self._nodes)
        totals = [0] * len(self._nodes)
        for number, depth, _ in order:
            above = totals[self._parents[number]] if depth else 0
            totals[number] = above + self._nodes[number].own
        for number, depth, _ in reversed(order):
            if depth:
                dependents[self._parents[number]] += dependents[number] + 1
        return [
            Row(
                self._nodes[number],
                self._states[number],
                depth,
                len(self._children[number] or ()),
                dependents[number],
                last,
                totals[number],
            )
            for number, depth, last in order
        ]


def _link(number: int, node: Node, by_id: dict[bytes, list[int]]) -> tuple[State, int]:
    """Return what an image is, and the number of its parent; -1 where it has none here."""
    if not node.is_child:
        return "root", -1
    same = by_id.get(node.parent_id, [])
    others = [other for other in same[:3] if other != number]
    if len(others) > 1:
        return "ambiguous", -1
    return ("child", others[0]) if others else ("orphan", -1)
