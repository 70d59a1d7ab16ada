"""Fuzz one harness, guided by coverage: `python -m tests.fuzz.run HARNESS [libFuzzer's options]`.

It grows what is committed in `tests/fuzz/corpus`, writes what it adds to `build/fuzz/HARNESS`, and an input that breaks
a promise to `build/fuzz/HARNESS-crash-...`. Give it `-max_total_time=3600` for an hour, a path to run one input again.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["vhdcheck"]):  # type: ignore[attr-defined]
    from tests.fuzz.harnesses import CORPORA, HARNESSES, IMAGES

from tests.fuzz.mutator import mutate

ROOT: Final = Path(__file__).resolve().parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
LIMITS: Final = ["-timeout=60", "-rss_limit_mb=320", "-max_len=32768", "-len_control=0"]
"""A check's 256 MiB and what the fuzzer takes. The harnesses know the time; the 60 s are for what never ends."""


def _mutated(data: bytes, size: int, seed: int, *, hole: int) -> bytes:
    """Change blindly one time in three; `hole` bytes at the end are no part of the image."""
    if seed % 3 == 0:
        return bytes(atheris.Mutate(data, size))
    image, rest = data[: len(data) - hole], data[len(data) - hole :]
    if hole and seed % 3 == 1:
        return image + bytes(atheris.Mutate(rest, hole))
    return mutate(image, size - hole, seed) + rest


def main(words: list[str]) -> None:
    """Run libFuzzer; it ends the process."""
    if not words or words[0] not in HARNESSES:
        sys.exit(f"{__doc__}\nharnesses: {', '.join(HARNESSES)}")
    name, *options = words
    found = ROOT / "build" / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    folders = (
        []
        if any(not option.startswith("-") for option in options)
        else [str(found), str(CORPUS / CORPORA.get(name, name))]
    )
    again = f"{sys.executable} -m tests.fuzz.run {name}"  # how -merge and -fork start it, through a shell
    arguments = [again, *LIMITS, f"-artifact_prefix={found}-", *options, *folders]
    if name in IMAGES:
        mutator = partial(_mutated, hole=IMAGES[name])
        atheris.Setup(arguments, HARNESSES[name], custom_mutator=mutator)
    else:
        atheris.Setup(arguments, HARNESSES[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
