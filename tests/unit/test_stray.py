"""Where a footer is looked for that does not end its file: few places, and the right ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.recipes.file import gpt, mbr
from vhdcheck.engine import stray
from vhdcheck.format.geometry import chs_size_up
from vhdcheck.units import GIB, MIB, SECTOR

KIB = 1024
ODD = 7 * GIB + 12_345 * SECTOR  # what no tool rounds to


@given(st.binary(max_size=4096), st.integers(0, 1 << 44))
def test_guesses_are_few_sectors_of_the_file(head: bytes, size: int) -> None:
    places = stray.guesses(head.ljust(min(size, 4096), b"\0"), size)
    assert len(places) <= stray.MOST
    assert places == sorted(set(places))
    assert all(0 < at <= size - SECTOR and at % SECTOR == 0 for at in places)


@pytest.mark.parametrize("appended", [64 * KIB, MIB, 512 * MIB, 4 * GIB])
def test_what_is_left_when_a_power_of_two_was_appended(appended: int) -> None:
    assert ODD in stray.guesses(bytes(4096), ODD + SECTOR + appended)


@pytest.mark.parametrize("size", [20 * GIB, 1 * GIB, chs_size_up(20 * GIB)])
def test_a_size_that_people_choose(size: int) -> None:
    assert size in stray.guesses(bytes(4096), 50 * GIB)


def test_where_gpt_has_its_backup() -> None:
    assert ODD in stray.guesses(gpt(ODD).ljust(4096, b"\0"), 50 * GIB + SECTOR)


def test_behind_the_last_partition() -> None:
    assert 1234 * MIB + 7 * SECTOR in stray.guesses(mbr(1234 * MIB + 7 * SECTOR).ljust(4096, b"\0"), 50 * GIB + SECTOR)
    assert 1236 * MIB in stray.guesses(mbr(1234 * MIB + 7 * SECTOR).ljust(4096, b"\0"), 50 * GIB + SECTOR)


def test_no_guess_in_what_is_searched_anyway() -> None:
    assert stray.guesses(bytes(4096), 64 * KIB) == []
