"""The map on a terminal and for programs: by the command, in any locale and width, of any image."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import TYPE_CHECKING, TypeAlias

import pytest
from jsonschema import Draft202012Validator

from fixtures.recipes import CASES
from fixtures.writer import GIB, KIB, MIB, SECTOR, Image, dynamic, fixed
from vhdcheck import Report, StreamChecker, audit, check
from vhdcheck.report.map import ASCII, UNICODE, level, map_lines, share_words
from vhdcheck.report.regions import regions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

SLOT = (2 * MIB + 512) // SECTOR
DAMAGED: dict[str, Callable[[], Image]] = {
    "over the header": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], bat={4: 1}),
    "out of the file": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], bat={4: 0xFFFF_FFFE}),
    "over the footer": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], bat={4: 4 + 3 * SLOT}),
    "one over another": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], bat={4: 5 + SLOT}),
    "twice there": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], bat={4: 4 + SLOT}),
    "behind the disk": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], max_entries=12, bat={10: 4 + 3 * SLOT}),
    "a size that lies": lambda: dynamic(20 * MIB, blocks=[0, 1, 2], current_size=2**64 - 512),
    "a table cut off": lambda: dynamic(2040 * GIB).cut(SECTOR + 2048 * KIB),
    "nothing but a table": lambda: dynamic(20 * MIB, header={"max_table_entries": 2**32 - 1}),
    "a table of zeros": lambda: dynamic(20 * MIB, bat=dict.fromkeys(range(10), 0)),
}


def drawn(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines of the map."""
    lines = done.stdout.splitlines()
    first = next((number for number, line in enumerate(lines) if " by disk address" in line), None)
    return lines[first:] if first is not None else lines


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_the_map_fits_the_terminal_and_its_encoding(run: Run, tmp_path: Path, columns: int, locale: str) -> None:
    dynamic(4 * GIB, blocks=[*range(500), *range(1000, 1600, 3)], bat={2047: 2}).write(tmp_path / "x.vhd")
    environment = {"COLUMNS": str(columns), "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("--map", "x.vhd", env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    lines = drawn(done)
    signs = ASCII if locale == "C" else UNICODE
    assert done.stdout.isascii() == (locale == "C")
    strip = next(line for line in lines if re.fullmatch(rf"  [{re.escape(signs.levels)}!]{{9,}}", line))
    assert len(strip) == columns - 2
    assert set(strip) - {" "} == {signs.levels[0], signs.levels[2], signs.levels[4], "!"} | (
        set(strip) & {signs.levels[1], signs.levels[3]}
    )
    assert strip.endswith("!")
    assert max(len(line) for line in lines[: lines.index("")]) <= columns
    text = "\n".join(lines)
    for legend in ("not in use: 1 347", "all in use: 701", "! fault: 2"):
        assert legend in text
    assert re.search(r"0x2600 +\S+ \w+ +blocks", text)


def test_colour_says_nothing_that_signs_do_not(tmp_path: Path) -> None:
    path = dynamic(40 * MIB, blocks=[0, 1, 5], bat={7: 3}).write(tmp_path / "x.vhd")
    image = check(path, allocation=True).image
    plain = list(map_lines(image, 80, UNICODE, lambda _, text: text))
    coloured = list(map_lines(image, 80, UNICODE, lambda style, text: f"\x1b[3m<{style}>{text}\x1b[0m"))
    assert plain[1] == "!█···█·!············"
    assert [re.sub(r"\x1b\[3m<\w+>|\x1b\[0m", "", line) for line in coloured] == plain
    assert coloured != plain


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_image_is_drawn_and_its_fault_marked(run: Run, tmp_path: Path, name: str) -> None:
    DAMAGED[name]().write(tmp_path / "x.vhd")
    done = run("--map", "x.vhd")
    assert (done.returncode, done.stderr) == (1, "")
    image = check(tmp_path / "x.vhd", allocation=True).image
    if image.allocation is None:
        assert "Not examined" in done.stdout
    else:
        assert sum(image.allocation.by_disk.faulty) > 0
        assert re.search(r"^  [·░▒▓█]*!", done.stdout, re.MULTILINE)
    assert "after compaction: size not known" in done.stdout or name in {"behind the disk", "a size that lies"}


def test_a_fixed_disk_has_regions_only(run: Run, tmp_path: Path) -> None:
    fixed(3 * MIB).append(bytes(100)).write(tmp_path / "x.vhd")
    done = run("--map", "x.vhd")
    assert re.findall(r"^  (0x\w+) +(.*?)  (?:data|footer|trailing bytes)\b", done.stdout, re.MULTILINE) == [
        ("0x0", "3 MiB"),
        ("0x300000", "512 B"),
        ("0x300200", "100 B"),
    ]
    assert "100 bytes less" in done.stdout
    assert "disk address" not in done.stdout


def test_without_the_option_nothing_is_counted(run: Run, good: Path) -> None:
    assert check(good).image.allocation is None
    assert "0x0" not in run("good.vhd").stdout
    assert json.loads(run("--format", "json", "good.vhd").stdout)["reports"][0]["map"] is None


def test_every_fixture_has_a_map_that_covers_it() -> None:
    number = 0
    for case in CASES:
        image = check(case.build().tobytes(), allocation=True).image if case.build().length < 64 * MIB else None
        if image is None:
            continue
        number += 1
        parts = regions(image)
        at = 0
        for part in parts:
            assert part.offset <= at or part.offset > image.size, (case.name, part)
            at = max(at, min(part.end, image.size))
        assert at == image.size, case.name
        lines = list(map_lines(image, 80, ASCII, lambda _, text: text))
        assert all(line.isascii() and line.isprintable() for line in lines), case.name
    assert number > 200


@pytest.mark.parametrize("name", DAMAGED)
def test_programs_get_the_map_as_the_schema_says(main: Run, tmp_path: Path, name: str) -> None:
    DAMAGED[name]().write(tmp_path / "x.vhd")
    text = (importlib.resources.files("vhdcheck") / "report" / "schemas" / "report-v2.schema.json").read_text(
        encoding="utf-8"
    )
    document = json.loads(main("--map", "--format", "json", "x.vhd").stdout)
    Draft202012Validator(json.loads(text)).validate(document)
    (line,) = main("--map", "--format", "jsonl", "x.vhd").stdout.splitlines()
    assert json.loads(line)["map"] == document["reports"][0]["map"] is not None


def test_the_same_from_a_file_a_stream_and_another_process(tmp_path: Path, run: Run) -> None:
    path = dynamic(40 * MIB, blocks=[3, 0, 7], slack=4096).write(tmp_path / "x.vhd")
    expected = check(path, allocation=True).image.allocation
    assert expected is not None
    stream = StreamChecker(allocation=True)
    stream.feed(path.read_bytes())
    assert stream.finish().image.allocation == expected
    (audited,) = audit([path], allocation=True)
    assert isinstance(audited, Report)
    assert audited.image.allocation == expected
    alone = drawn(run("--map", "x.vhd"))
    assert drawn(run("--map", "--jobs", "2", "x.vhd")) == alone
    with path.open("rb") as file:
        assert drawn(run("--map", "-", stdin=file)) == alone


@pytest.mark.parametrize(
    ("used", "length", "expected"),
    [(0, 9, 0), (1, 9, 1), (2, 9, 1), (3, 9, 2), (5, 9, 2), (6, 9, 3), (8, 9, 3), (9, 9, 4), (1, 1, 4), (10, 9, 4)],
)
def test_only_nothing_is_drawn_as_nothing_and_only_all_as_all(used: int, length: int, expected: int) -> None:
    assert level(used, length) == expected


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.5, "50 %"),
        (0.1234, "12.3 %"),
        (0.99999, "more than 99.9 %"),
        (1e-5, "less than 0.1 %"),
    ],
)
def test_shares_do_not_round_to_none_or_all(share: float, words: str) -> None:
    assert share_words(share) == words
