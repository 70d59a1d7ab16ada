"""The parts of a check: parsing, checksums, the block allocation table. `python -m pytest benchmarks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.images import full_table
from fixtures.writer import MIB, SECTOR, dynamic
from vhdcheck.blocks import allocation, arrays, facts
from vhdcheck.format import layout
from vhdcheck.format.span import Span
from vhdcheck.format.structures import DynamicHeader, Footer

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

IMAGE = dynamic(10 * MIB).tobytes()
FIRST = 20_000  # sectors before the first block: room for the largest table
ENTRIES = {"40GiB": 20_480, "2040GiB": 1_044_480}


def test_footer(benchmark: BenchmarkFixture) -> None:
    footer = benchmark(Footer.parse, IMAGE[:SECTOR], 0, "footer")
    assert footer.current_size == 10 * MIB


def test_footer_interpreted_by_construct(benchmark: BenchmarkFixture) -> None:
    assert benchmark(layout.FOOTER.parse, IMAGE[:SECTOR]).current_size == 10 * MIB


def test_header(benchmark: BenchmarkFixture) -> None:
    assert benchmark(DynamicHeader.parse, IMAGE[SECTOR:1536], SECTOR).max_table_entries == 5


def test_checksum(benchmark: BenchmarkFixture) -> None:
    footer = Footer.parse(IMAGE[:SECTOR], 0, "footer")
    assert benchmark(lambda: footer.computed_checksum) == footer.checksum


@pytest.mark.parametrize("order", ["in order", "shuffled"])
@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES)
def test_table(benchmark: BenchmarkFixture, entries: int, order: str) -> None:
    raw = full_table(entries, shuffled=order == "shuffled", first=FIRST)
    end = (FIRST + entries * 4097) * SECTOR
    bounds = facts.Bounds(entries, 4097 * SECTOR, [Span(0, 1536), Span(1536, len(raw))], end, end + SECTOR)
    table = benchmark(lambda: arrays.analyse(arrays.decode([raw], entries)[0], bounds))
    assert table.used == entries
    assert not table.overlapping.count


@pytest.mark.parametrize("order", ["in order", "shuffled"])
@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES)
def test_map(benchmark: BenchmarkFixture, entries: int, order: str) -> None:
    raw = full_table(entries, shuffled=order == "shuffled", first=FIRST)
    end = (FIRST + entries * 4097) * SECTOR
    bounds = facts.Bounds(entries, 4097 * SECTOR, [Span(0, 1536), Span(1536, len(raw))], end, end + SECTOR)
    table, _ = arrays.decode([raw], entries)
    found = benchmark(lambda: allocation.allocate(table, bounds))
    assert (found.used, found.faulty) == (entries, 0)


@pytest.mark.parametrize("order", ["in order", "shuffled"])
@pytest.mark.parametrize("entries", ENTRIES.values(), ids=ENTRIES)
def test_floor_decode_and_sort(benchmark: BenchmarkFixture, entries: int, order: str) -> None:
    """The least that a table of this size costs in numpy: decode it and sort it once."""
    raw = full_table(entries, shuffled=order == "shuffled", first=FIRST)
    ordered = benchmark(lambda: np.sort(np.frombuffer(raw, ">u4").astype(np.uint32)))
    assert len(ordered) == entries
