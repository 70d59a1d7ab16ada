"""Values are compared and hashed by their fields, come back whole from a pickle, and take no others."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace

import pytest

from vhdcheck.values import value


@value(frozen=True, slots=True)
class Pair:
    first: int
    second: str = ""

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"


@dataclass(frozen=True, slots=True)
class Plain:
    first: int
    second: str = ""


def test_values() -> None:
    pair = Pair(1, "a")
    assert (pair.both, repr(pair)) == ("1a", "Pair(first=1, second='a')")
    assert pair == Pair(1, "a") != Pair(1)
    assert len({pair, Pair(1, "a"), Pair(2)}) == 2
    assert replace(pair, second="b") == Pair(1, "b")
    assert copy.copy(pair) == copy.deepcopy(pair) == pair
    with pytest.raises(AttributeError):
        pair.third = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_value(protocol: int) -> None:
    pair = Pair(7, "seven")
    assert pickle.loads(pickle.dumps(pair, protocol)) == pair  # noqa: S301 (its own)


def test_a_pickle_names_no_fields() -> None:
    assert b"second" not in pickle.dumps(Pair(1))
    assert len(pickle.dumps(Pair(1))) < len(pickle.dumps(Plain(1)))
