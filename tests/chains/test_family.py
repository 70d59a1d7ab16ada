"""Any family of images as a forest, compared with what a few plain loops say of it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import KIB, differencing, dynamic
from vhdcheck import check
from vhdcheck.engine.forest import Forest
from vhdcheck.verdict.report import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vhdcheck import Report

BLOCK = 4 * KIB


class Member(NamedTuple):
    """An image: its ID (0 is none), its parent's (None stands alone), and how many blocks it has in use."""

    own: int
    parent: int | None
    used: int


def unique_id(number: int) -> bytes:
    return bytes(15) + bytes([number])


@cache
def image_of(member: Member) -> bytes:
    common: dict[str, Any] = {"block_size": BLOCK, "blocks": range(member.used), "unique_id": unique_id(member.own)}
    if member.parent is None:
        return dynamic(3 * BLOCK, **common).tobytes()
    return differencing(3 * BLOCK, parent_id=unique_id(member.parent), **common).tobytes()


def report_of(member: Member, name: str) -> Report:
    return check(image_of(member), name=name, target="generic")


class Expected:
    """What is to be said of a family, whose names are in the order of its members."""

    def __init__(self, family: list[Member]) -> None:
        self.family = family
        self.states: list[str] = []
        self.parents: list[int | None] = []
        for place, member in enumerate(family):
            same = [at for at, other in enumerate(family) if other.own and other.own == member.parent and at != place]
            state = "root" if member.parent is None else "orphan" if not same else "child"
            self.states.append("ambiguous" if len(same) > 1 else state)
            self.parents.append(same[0] if len(same) == 1 else None)

    def above(self, place: int) -> list[int]:
        """List an image's parents, as far as none comes again."""
        found: list[int] = []
        at = self.parents[place]
        while at is not None and at not in found:
            found.append(at)
            at = self.parents[at]
        return found

    def rows(self) -> Iterator[tuple[object, ...]]:
        places = range(len(self.family))
        roots = [place for place in places if self.parents[place] is None]
        for root in roots:
            yield from self.tree(root, 0, 0, roots, last=True)
        hung = [place for place in places if not any(at in roots for at in (place, *self.above(place)))]
        while hung:
            circle = next(place for place in (hung[0], *self.above(hung[0])) if place in self.above(place))
            first = min(self.above(circle))
            rows = list(self.tree(first, 0, 0, [first], last=True))
            yield from ((row[0], "circle", *row[2:]) for row in rows)
            hung = [place for place in hung if str(place) not in {row[0] for row in rows}]

    def tree(self, place: int, depth: int, total: int, cut: list[int], *, last: bool) -> Iterator[tuple[object, ...]]:
        children = [at for at, parent in enumerate(self.parents) if parent == place]
        total += self.family[place].used * BLOCK
        shown = [at for at in children if at not in cut]
        below = [row for at in shown for row in self.tree(at, depth + 1, total, cut, last=at == shown[-1])]
        yield str(place), self.states[place], depth, len(children), len(below), last, total
        yield from below


@given(st.lists(st.builds(Member, st.integers(0, 4), st.none() | st.integers(0, 4), st.integers(0, 2)), max_size=8))
def test_rows_and_counts(family: list[Member]) -> None:
    forest = Forest()
    for place, member in reversed([*enumerate(family)]):
        forest.add(report_of(member, str(place)))
    rows = forest.rows()
    found = [(row.node.source, row.state, row.depth, row.children, row.dependents, row.last, row.total) for row in rows]
    assert found == list(Expected(family).rows())
    counts = forest.counts(rows)
    states = [state for _, state, *_ in found]
    assert (counts.images, counts.no_images, counts.not_checked) == (len(family), 0, 0)
    assert (counts.roots, counts.orphans) == (states.count("root"), states.count("orphan"))
    assert (counts.ambiguous, counts.circles) == (states.count("ambiguous"), states.count("circle"))
    assert counts.leaves == sum(1 for row in rows if row.node.is_child and row.children == 0)
    assert counts.deepest == max((row.depth + 1 for row in rows), default=0)
    assert counts.broken == len(family) - states.count("root") - states.count("child")


def test_what_is_no_image_and_what_is_there_twice(tmp_path: Path) -> None:
    image, other = tmp_path / "image.vhd", tmp_path / "other.vhd"
    image.write_bytes(image_of(Member(1, None, 0)))
    other.hardlink_to(image)
    forest = Forest()
    for report in (check(image), check(b"no image" * 1000), check(other), check(image)):
        forest.add(report)
    forest.add(Failure("gone.vhd", "No such file or directory"))
    counts = forest.counts(forest.rows())
    assert (counts.images, counts.no_images, counts.not_checked) == (1, 1, 1)
    assert [row.node.source for row in forest.rows()] == [str(image)]
