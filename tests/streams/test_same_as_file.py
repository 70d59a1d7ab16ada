"""A stream gives the findings of a file, for every image and every chunking."""

from __future__ import annotations

import base64
import json
import random
import zlib
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.recipes import CASES, NOW
from fixtures.writer import MIB, differencing, dynamic, fixed
from vhdcheck import Finding, StreamChecker, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST = 24 * MIB
IN_STREAMS_ONLY = {"VHD424", "VHD650"}
# Fixed disks whose footer is in the middle of the file: that has passed before the end says that it is looked for.
OUT_OF_REACH = {"enlarged-by-64-kib", "enlarged-by-1-mib"}


def streamed(image: bytes, sizes: Iterator[int], target: str, *, deep: bool, reused: bool = False) -> list[Finding]:
    """Feed an image in chunks of these sizes, every second from a buffer that is used again; an early refusal holds."""
    checker = StreamChecker(target=target, deep=deep, now=NOW)
    position, refused, turn = 0, False, False
    while position < len(image):
        size = next(sizes)
        chunk, turn = image[position : position + size], reused and not turn
        if turn:
            buffer = bytearray(chunk)
            checker.feed(memoryview(buffer) if size % 2 else buffer)
            buffer[:] = b"c" * len(buffer)
        else:
            checker.feed(chunk)
        position += size
        refused = refused or checker.refused
    report = checker.finish()
    assert not (refused and report.ok)
    return list(report.findings)


def compare(image: bytes, target: str, chunkings: list[Iterator[int]], *, deep: bool) -> None:
    expected = list(check(image, target=target, deep=deep, now=NOW).findings)
    for number, sizes in enumerate(chunkings):
        found = streamed(image, sizes, target, deep=deep, reused=number > 0)
        assert [finding for finding in found if finding.rule not in IN_STREAMS_ONLY] == expected


def chunkings(image: bytes) -> list[Iterator[int]]:
    """128 KiB, 1 MiB and random sizes; for short images 511, 512 and single bytes too."""
    drawn = random.Random(len(image))
    some = [1, 7, 512, 4096, 9000, 65_537, 300_000, (1 << 20) + 1]
    many = [repeat(1 << 17), repeat(1 << 20), (drawn.choice(some) for _ in repeat(None))]
    return many + ([repeat(511), repeat(512)] if len(image) < 300_000 else []) + [repeat(1)] * (len(image) < 10_000)


@pytest.mark.parametrize(
    ("deep", "step"), [(False, 4), *(pytest.param(each, 1, marks=pytest.mark.slow) for each in (False, True))]
)
def test_every_fixture(deep: bool, step: int) -> None:
    """A fourth of them; and all."""
    compared = 0
    for case in CASES[::step]:
        image = case.build()
        if image.length <= LONGEST and not case.stream and case.name not in OUT_OF_REACH:
            compared += 1
            data = image.tobytes()
            compare(data, case.target, chunkings(data), deep=deep)
    assert compared > 300 // step


@pytest.mark.parametrize("name", sorted(OUT_OF_REACH))
def test_a_footer_that_has_passed_is_said_to_be_out_of_reach(name: str) -> None:
    image = next(case for case in CASES if case.name == name).build().tobytes()
    checker = StreamChecker(now=NOW)
    checker.feed(image)
    report = checker.finish()
    assert [finding.slug for finding in report.findings] == ["no-footer"]
    assert report.image.unexamined == ["the middle of the file: a footer may be there, and the stream had passed it"]


def test_every_oracle_case(shared: Path) -> None:
    for line in (shared / "oracle" / "cases.jsonl").read_text().splitlines():
        case = json.loads(line)
        buffer = bytearray(case["length"])
        for offset, packed in case["extents"]:
            data = zlib.decompress(base64.b64decode(packed))
            buffer[offset : offset + len(data)] = data
        image = bytes(buffer)
        compare(image, "xenserver", chunkings(image), deep=True)


def test_every_file_of_the_corpus(shared: Path) -> None:
    images = [path for path in (shared / "corpus").rglob("*.vhd") if path.stat().st_size <= LONGEST]
    assert images
    for path in images:
        image = path.read_bytes()
        compare(image, "rackspace", chunkings(image), deep=True)


IMAGES = [
    dynamic(9 * MIB, blocks=[0, 3, 1]).tobytes(),
    differencing(6 * MIB, blocks=[2]).tobytes(),
    fixed(64 * 1024).tobytes(),
    dynamic(9 * MIB, blocks=[1], creator=b"tap\0", creator_version=0x10003, host=bytes(4)).tobytes(),
    dynamic(9 * MIB, blocks=[1], creator=b"tap\0", creator_version=0x10001, host=bytes(4)).tobytes(),
]


@given(
    st.sampled_from(IMAGES),
    st.lists(st.tuples(st.integers(0, 4096), st.binary(min_size=1, max_size=8)), max_size=3),
    st.lists(st.tuples(st.integers(1, 1100), st.binary(min_size=1, max_size=8)), max_size=2),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=6),
)
def test_damaged_images(
    image: bytes, at_head: list[tuple[int, bytes]], at_tail: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    """Early refusals hold, and nothing is accepted that a file's check refuses."""
    damaged = bytearray(image)
    for offset, data in at_head:
        damaged[offset : offset + len(data)] = data
    for offset, data in at_tail:
        damaged[-offset : len(damaged) - offset + len(data)] = data
    report = check(damaged, now=NOW)
    found = streamed(bytes(damaged), chain(sizes, repeat(1 << 20)), "rackspace", deep=False)
    if not any(finding.rule == "VHD650" for finding in found):
        assert found == list(report.findings)
