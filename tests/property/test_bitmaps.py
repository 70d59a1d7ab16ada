"""Sector bitmaps, sorted many at a time, against their twin: plain Python, one at a time, bit by bit."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from fixtures.writer import KIB, SECTOR, TAP, dynamic
from vhdcheck.blocks import arrays
from vhdcheck.blocks.bitmaps import EXAMPLES, Tally
from vhdcheck.blocks.facts import Bitmaps, Blocks
from vhdcheck.engine.plan import steps
from vhdcheck.engine.windows import Wanted
from vhdcheck.image import Image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KINDS = ("full", "partial", "empty", "padding", "contradicted")
Bitmap = tuple[int, int, bytes]  # of a block, which begins at a sector


@dataclass(frozen=True)
class Case:
    """Bitmaps in the order of the file, and what they are judged by."""

    sectors: int
    last_block: int
    last_sectors: int
    batmap: bytes
    bitmaps: list[Bitmap]
    cuts: list[int]


def twin(case: Case, bitmaps: Iterable[Bitmap]) -> dict[str, list[tuple[int, int]]]:
    """Sort bitmaps by what the docstrings of the kinds say."""
    found: dict[str, list[tuple[int, int]]] = {kind: [] for kind in KINDS}
    length = -(-case.sectors // 8)
    for block, sector, bitmap in bitmaps:
        bits = "".join(f"{byte:08b}" for byte in bitmap)
        ours = max(1, min(case.last_sectors, case.sectors)) if block == case.last_block else case.sectors
        kind = "full" if "0" not in bits[:ours] else "partial" if any(bitmap[:length]) else "empty"
        found[kind].append((block, sector))
        marks = "".join(f"{byte:08b}" for byte in case.batmap)
        if kind != "full" and marks[block : block + 1] == "1":
            found["contradicted"].append((block, sector))
        if set(bitmap[length:]) - {0} and set(bitmap[length:]) - {0xFF}:
            found["padding"].append((block, sector))
    return found


def sorted_by(result: Bitmaps) -> dict[str, Blocks]:
    return {kind: getattr(result, kind) for kind in KINDS}


def expected(found: dict[str, list[tuple[int, int]]]) -> dict[str, Blocks]:
    return {kind: Blocks(len(blocks), blocks[:EXAMPLES]) for kind, blocks in found.items()}


def filled(sectors: int) -> st.SearchStrategy[bytes]:
    """Draw a bitmap: all of one kind, or with a few bytes changed where it matters."""
    length = -(-sectors // 8)
    size = SECTOR * -(-length // SECTOR)
    edge = st.sampled_from([0, length - 1, min(length, size - 1), size - 1, length // 2])
    change = st.tuples(edge, st.sampled_from([0, 0xFF, 0x80, 0x7F, 0xFE, 0xF0, 0xC0, 1]))

    def built(parts: tuple[int, int, list[tuple[int, int]]]) -> bytes:
        bits, padding, changes = parts
        data = bytearray([bits] * length + [padding] * (size - length))
        for at, value in changes:
            data[at] = value
        return bytes(data)

    ends = st.sampled_from([0, 0xFF])
    return st.tuples(ends, ends, st.lists(change, max_size=2)).map(built)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw bitmaps of which many are the same, in any order of blocks, with the disk's last block among them or not."""
    sectors = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 2048, 4096, 8192]))
    some = draw(st.lists(filled(sectors), min_size=1, max_size=4))
    blocks = draw(st.lists(st.integers(0, 40), unique=True, max_size=24))
    start = draw(st.integers(0, 9))
    bitmaps = [(block, start + 9 * at, draw(st.sampled_from(some))) for at, block in enumerate(blocks)]
    last_block = draw(st.one_of(st.integers(-1, 41), st.sampled_from([(1 << 32) - 1, 1 << 55])))
    last_sectors = draw(st.one_of(st.integers(-1, sectors + 1), st.just(1 << 40)))
    batmap = draw(st.binary(max_size=6))
    return Case(sectors, last_block, last_sectors, batmap, bitmaps, sorted(draw(st.lists(st.integers(0, 24)))))


ONE_SECTOR = Case(1, 1, 1, b"\xc0", [(0, 9, b"\x80".ljust(512, b"\0")), (1, 11, b"\x7f".ljust(512, b"\xff"))], [])


@given(cases())
@example(ONE_SECTOR)
def test_many_at_a_time_are_sorted_as_one_at_a_time(case: Case) -> None:
    tally = Tally(512, case.sectors, case.last_block, case.last_sectors, case.batmap)
    for start, end in zip([0, *case.cuts], [*case.cuts, len(case.bitmaps)], strict=True):
        batch = case.bitmaps[start:end]
        blocks = np.array([block for block, _, _ in batch], dtype=np.uint32)
        places = np.array([sector for _, sector, _ in batch], dtype=np.uint32)
        rows = np.frombuffer(b"".join(bitmap for _, _, bitmap in batch), dtype=np.uint8)
        width = SECTOR * -(-case.sectors // 8 // SECTOR) or SECTOR
        marked = arrays.called_full(case.batmap, blocks) if case.batmap else None
        tally.add(blocks, places, rows.reshape(-1, width), marked)
    assert sorted_by(tally.result) == expected(twin(case, case.bitmaps))


def served(data: bytes, lost: Sequence[range], *, apart: bool) -> Image:
    """Check what is in memory, by a driver that has lost some of its bitmaps; or wants to be asked for each apart."""
    image = Image(len(data))
    plan = steps(image, deep=True)
    answers: list[bytes | None] = []
    try:
        while True:
            step = plan.send(answers) if answers else next(plan)
            answers = []
            for span in step.spans if isinstance(step, Wanted) else ():
                gone = any(span.offset < part.stop and part.start < span.end for part in lost)
                refused = (gone and span.part in {"bitmap", "bitmaps"}) or (apart and span.part == "bitmaps")
                answers.append(None if refused else data[span.offset : span.end])
    except StopIteration:
        return image


@given(st.data())
def test_an_image_s_bitmaps_whoever_reads_them(data: st.DataObject) -> None:
    """Blocks next to one another are read in one go, those further apart one by one; the outcome is the same."""
    draw = data.draw
    block_size = draw(st.sampled_from([SECTOR, 2 * SECTOR, 4 * KIB, 8 * KIB, 32 * KIB]))
    sectors = block_size // SECTOR
    number = draw(st.integers(1, 12))
    slot = 1 + sectors
    order = draw(st.permutations(range(number)))
    used = draw(st.lists(st.sampled_from(order), unique=True, min_size=1).map(sorted))
    steps_between = draw(st.lists(st.sampled_from([0, 0, 0, 1, 7, 8, 9]), min_size=len(used), max_size=len(used)))
    options: dict[str, Any] = {**TAP, "batmap": {"map": draw(st.binary(min_size=2, max_size=2))}}
    options = draw(st.sampled_from([{}, options]))
    size = number * block_size - draw(st.integers(0, sectors - 1)) * SECTOR
    image = dynamic(size, block_size=block_size, **options)
    footer = image.read(-SECTOR, SECTOR)
    at, bitmaps = image.length // SECTOR - 1, []
    for block, step in zip([order[place] for place in used], steps_between, strict=True):
        bitmap = draw(filled(sectors))
        bitmaps.append((block, at + step, bitmap))
        image.put(1536 + 4 * block, struct.pack(">I", at + step))
        image.put((at + step) * SECTOR, bitmap + b"data" * (sectors * SECTOR // 4))
        at += step + slot
    raw = image.put(at * SECTOR, footer).tobytes()
    place = st.integers(bitmaps[0][1] * SECTOR, at * SECTOR)
    lost = draw(st.lists(st.builds(range, place, place), max_size=2))
    last = size - (number - 1) * block_size
    batmap = options["batmap"]["map"] if options else b""
    case = Case(sectors, number - 1, last // SECTOR, batmap, bitmaps, [])
    for holes in ([], [part for part in lost if part]):
        seen = [
            each
            for each in bitmaps
            if not any(each[1] * SECTOR < part.stop and part.start < (each[1] + 1) * SECTOR for part in holes)
        ]
        for apart in (False, True):
            found = served(raw, holes, apart=apart)
            assert found.bitmaps is not None
            assert sorted_by(found.bitmaps) == expected(twin(case, seen))
            assert any(span.part == "bitmaps" for span in found.unseen) == (len(seen) < len(bitmaps))
