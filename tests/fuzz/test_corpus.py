"""The fuzzers' promises, on their corpus and on some mutations of it: the same ones every time, without atheris."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.fuzz.harnesses import CORPORA, HARNESSES
from tests.fuzz.mutator import mutate

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 32768


@pytest.mark.parametrize("name", HARNESSES)
def test_the_corpus_breaks_no_promise(name: str) -> None:
    inputs = sorted((CORPUS / CORPORA.get(name, name)).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        HARNESSES[name](path.read_bytes())


def test_mutations_break_no_promise() -> None:
    for path in sorted((CORPUS / "image").iterdir()):
        data = path.read_bytes()
        HARNESSES["image"](mutate(data, LONGEST, zlib.crc32(data)))


def test_mutations_are_the_same_every_time_and_mostly_well_signed() -> None:
    data = (CORPUS.parents[2] / "fixtures" / "differencing.vhd").read_bytes()
    mutations = [mutate(data, LONGEST, seed) for seed in range(200)]
    assert mutations == [mutate(data, LONGEST, seed) for seed in range(200)]
    assert len(set(mutations)) > 150
