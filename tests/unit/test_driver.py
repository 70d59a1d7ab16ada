"""A driver of one's own that does not keep its promise is told, and no verdict is made of what it gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, dynamic
from vhdcheck import SourceError, examine, targets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vhdcheck import Span

IMAGE = dynamic(10 * MIB, blocks=[0]).tobytes()


class Driver:
    """Answers from memory, not always as asked."""

    name = "mine"
    size = len(IMAGE)

    def __init__(self, spoil: Callable[[list[bytes]], list[bytes]]) -> None:
        self._spoil = spoil

    def read(self, spans: Sequence[Span]) -> list[bytes]:
        return self._spoil([IMAGE[span.offset : span.end] for span in spans])

    def verify(self) -> None:
        """Do nothing."""


def test_one_that_answers_as_asked() -> None:
    assert examine(Driver(lambda parts: parts), targets.load("generic")).ok


@pytest.mark.parametrize(
    "spoil",
    [lambda parts: [part[:-1] for part in parts], lambda parts: parts[1:], lambda parts: [b"".join(parts)]],
    ids=["too short", "too few", "too many in one"],
)
def test_one_that_does_not(spoil: Callable[[list[bytes]], list[bytes]]) -> None:
    with pytest.raises(SourceError, match="mine: the driver did not answer with the bytes that were asked for"):
        examine(Driver(spoil), targets.load("generic"))
