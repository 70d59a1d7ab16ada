"""`--format line` for grep, `--quiet` for what is wrong only, numbers in one style."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import MIB, fixed
from vhdcheck import Failure, report
from vhdcheck.report.results import Results, census, summary

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def four(good: Path, bad: Path, tmp_path: Path) -> tuple[str, ...]:
    """One accepted, one refused, one with a WARNING, one that is not there."""
    fixed(3 * MIB, saved_state=1).write(tmp_path / "warned.vhd")
    return ("--target", "generic", "--max-virtual-size", "40GiB", "good.vhd", "bad.vhd", "warned.vhd", "none.vhd")


LINES = """\
good.vhd: accepted
bad.vhd: refused: 413: VHD701 virtual-size-over-limit
warned.vhd: accepted: with warnings: VHD120 saved-state
none.vhd: not checked: No such file or directory
"""


def test_a_line_an_image(main: Main, four: tuple[str, ...]) -> None:
    done = main("--format", "line", *four)
    assert (done.returncode, done.stdout) == (2, LINES)
    assert done.stderr == "4 images: 2 accepted, 1 refused, 1 not checked; 1 error, 1 warning, 1 note\n"


def test_a_name_stays_in_its_line(main: Main, tmp_path: Path) -> None:
    fixed(3 * MIB).write(tmp_path / "a\nb.vhd")
    assert main("--format", "line", "a\nb.vhd").stdout == "a\\nb.vhd: accepted\n"


def test_quiet(main: Main, four: tuple[str, ...]) -> None:
    whole, quiet = main("--format", "line", *four), main("--format", "line", "-q", *four)
    assert quiet.stdout == "".join(line for line in LINES.splitlines(keepends=True) if "accepted" not in line)
    assert (quiet.returncode, quiet.stderr) == (2, whole.stderr), "the summary counts them all"
    heeded = main("--format", "line", "--quiet", "--fail-on", "warning", *four)
    assert heeded.stdout == "".join(line for line in LINES.splitlines(keepends=True) if line != "good.vhd: accepted\n")


def test_quiet_text(main: Main, four: tuple[str, ...]) -> None:
    done = main("--quiet", *four)
    verdicts = re.findall(r"^(\w+\.vhd): (?:accepted|refused|not checked)", done.stdout, re.MULTILINE)
    assert verdicts == ["bad.vhd", "none.vhd"]
    assert done.stdout.splitlines()[-1].startswith("4 images: 2 accepted, 1 refused, 1 not checked; ")
    assert main("--quiet", "good.vhd").stdout == "1 image: 1 accepted; 0 errors, 0 warnings, 0 notes\n"


@pytest.mark.parametrize("form", report.names())
def test_quiet_in_every_form(main: Main, four: tuple[str, ...], form: str) -> None:
    done = main("--quiet", "--format", form, *four)
    assert done.returncode == 2
    assert ("good.vhd" in done.stdout, "bad.vhd" in done.stdout) == (False, True)
    if form == "json":
        assert json.loads(done.stdout)["summary"]["accepted"] == 2


def test_numbers_are_in_one_style() -> None:
    results = Results(accepted=10_000, refused=12_345, failed=1_000, skipped_texts=2_000)
    results.by_severity["error"], results.ignored["note"] = 23_456, 5_000
    results.by_code[413] = (12_345, ["a.vhd"])
    results.add(Failure("x", "y"))
    line = census(results)
    assert line == (
        "23 346 images: 10 000 accepted, 12 345 refused, 1 001 not checked; 23 456 errors, 0 warnings, 0 notes;"
        " ignored: 0 errors, 0 warnings, 5 000 notes; 2 000 skipped: text, VHDL source?"
    )
    for each in summary(results):
        assert not re.search(r"\d{4}", each), each


@pytest.mark.parametrize("size", ["40", "160", "0.5"])
def test_a_limit_without_a_unit(main: Main, good: Path, tmp_path: Path, size: str) -> None:
    for option in ("--max-virtual-size", "--max-physical-size"):
        done = main(option, size, "good.vhd")
        assert (done.returncode, done.stdout) == (2, "")
        assert "without a unit" in done.stderr or "whole number" in done.stderr
    for value in (size, f'"{size}"'):
        (tmp_path / "pyproject.toml").write_text(f"[tool.vhdcheck]\nmax-virtual-size = {value}\n", encoding="ascii")
        done = main("good.vhd")
        assert done.returncode == 2, value
    (tmp_path / "mine.toml").write_text("max_virtual_size = 40\n", encoding="ascii")
    done = main("--no-config", "--target", "./mine.toml", "good.vhd")
    assert (done.returncode, "without a unit: '40' (write 40GiB, 40MiB, or 40B for bytes)" in done.stderr) == (2, True)
