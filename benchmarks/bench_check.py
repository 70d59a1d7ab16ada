"""A whole check: inside one process, and as a process of its own. `python -m pytest benchmarks`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.images import full, write
from benchmarks.tools import IMPORT, imported
from fixtures.writer import GIB, MIB, dynamic, fixed
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from fixtures.writer import Image

IMAGES: dict[str, Callable[[], Image]] = {
    "fixed-1GiB": lambda: fixed(1 * GIB),
    "dynamic-10MiB": lambda: dynamic(10 * MIB, blocks=[0, 3]),
    "dynamic-40GiB-empty": lambda: dynamic(40 * GIB),
    "dynamic-40GiB-full": lambda: full(40 * GIB),
    "dynamic-40GiB-shuffled": lambda: full(40 * GIB, shuffled=True),
    "dynamic-2040GiB-full": lambda: full(2040 * GIB),
    "dynamic-2040GiB-shuffled": lambda: full(2040 * GIB, shuffled=True),
}
FLOORS = {"python -c pass": ["-c", "pass"], "--help": ["-m", "vhdcheck", "--help"]}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.mark.parametrize("name", IMAGES)
def test_in_process(benchmark: BenchmarkFixture, folder: Path, name: str) -> None:
    path = write(IMAGES[name](), folder / f"{name}.vhd")
    report = benchmark(check, path, target="generic")
    assert report.ok


@pytest.mark.parametrize("name", IMAGES)
def test_as_a_process(benchmark: BenchmarkFixture, folder: Path, name: str) -> None:
    path = write(IMAGES[name](), folder / f"{name}.vhd")
    command = [sys.executable, "-m", "vhdcheck", "--target", "generic", str(path)]
    done = benchmark(lambda: subprocess.run(command, check=True, capture_output=True))
    assert b"accepted" in done.stdout


@pytest.mark.parametrize("name", IMAGES)
def test_imports_of_a_process(benchmark: BenchmarkFixture, folder: Path, name: str) -> None:
    path = write(IMAGES[name](), folder / f"{name}.vhd")
    command = [sys.executable, "-c", IMPORT, *imported(path)]
    benchmark(lambda: subprocess.run(command, check=True, capture_output=True))


@pytest.mark.parametrize("name", FLOORS)
def test_floor_of_a_process(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark(lambda: subprocess.run([sys.executable, *FLOORS[name]], check=True, capture_output=True))
