"""A process that lacks something: descriptors, outputs, a working directory, Python's docstrings, good names."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.recipes import CASES
from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full is absent")
@pytest.mark.parametrize(
    "words",
    [
        ["--format", "jsonl", "good.vhd"],  # its summary goes there
        ["--format", "jsonl", "--jobs", "2", "good.vhd", "bad.vhd"],
        ["--target", "azur", "good.vhd"],
        ["--nonsense"],
    ],
)
def test_errors_that_cannot_be_told_are_still_a_status(run: Run, good: Path, bad: Path, words: list[str]) -> None:
    """Never 1, which would call an image refused."""
    with FULL.open("wb") as full:
        assert run(*words, stderr=full).returncode == 2
        assert run(*words, stderr=full, stdout=full).returncode == 2


@pytest.mark.parametrize("words", [["--jobs", "2"], ["--format", "jsonl"], ["--format", "jsonl", "--jobs", "2"]])
def test_outputs_that_end_do_not_stop_the_workers_from_ending(
    run: Run, good: Path, bad: Path, words: list[str]
) -> None:
    names = ["good.vhd", "bad.vhd"] * 150
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run(*words, *names, stdout=writing, stderr=subprocess.DEVNULL).returncode == 2
    finally:
        os.close(writing)
    if FULL.exists():
        with FULL.open("wb") as full:
            done = run(*words, *names, stdout=full)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "vhdcheck: cannot write: No space left on device")


def test_a_file_that_may_not_grow(run: Run, tmp_path: Path, bad: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    with (tmp_path / "out").open("wb") as out:
        done = run(*["bad.vhd"] * 50, stdout=out, preexec_fn=limited)
    assert (done.returncode, done.stderr) == (2, "vhdcheck: cannot write: File too large\n")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "<&- 2>&-", "<&- >&-", ">&- 2>&-"])
@pytest.mark.parametrize("words", [[], ["--jobs", "2"], ["--format", "jsonl"]], ids=" ".join)
def test_closed_descriptors(run: Run, good: Path, bad: Path, words: list[str], closed: str) -> None:
    """An image is then opened as descriptor 0, 1 or 2, and nothing may be written into it."""
    before = good.read_bytes(), bad.read_bytes()
    done = run(*words, "bad.vhd", "good.vhd", "none.vhd", under=("sh", "-c", f'exec "$@" {closed}', "sh"))
    assert done.returncode == 2
    assert ("good.vhd" in done.stdout) == (" >&-" not in f" {closed}")
    assert (good.read_bytes(), bad.read_bytes()) == before


@pytest.mark.parametrize("words", [[], ["--jobs", "2"]], ids=" ".join)
def test_many_images_and_few_descriptors(run: Run, tmp_path: Path, good: Path, words: list[str]) -> None:
    for number in range(300):
        (tmp_path / f"{number}.vhd").hardlink_to(good)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    done = run(*words, ".", preexec_fn=limited)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("301 images: 301 accepted; 0 errors, 0 warnings, 0 notes\n")


def test_a_working_directory_that_is_gone(run: Run, tmp_path: Path, good: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = run("x.vhd", str(good), under=("sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh"))
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("x.vhd: not checked: No such file or directory\n")
    assert f"{good}: accepted\n" in done.stdout


def test_a_directory_that_cannot_be_written_to(
    run: Run, powerless: tuple[str, ...], tmp_path: Path, good: Path
) -> None:
    tmp_path.chmod(0o555)
    try:
        done = run("good.vhd", under=("env", "-u", "HOME", f"TMPDIR={tmp_path}", *powerless))
        jobs = run("--jobs", "2", "good.vhd", "good.vhd", under=("env", "-u", "HOME", *powerless))
    finally:
        tmp_path.chmod(0o755)
    assert (done.returncode, done.stderr) == (0, "")
    assert (jobs.returncode, jobs.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["good.vhd"]  # noqa: PTH208 (names)


NAMES = [
    rb"C:\images\disk.vhd",
    rb"\\host\share\disk.vhd",
    rb"\\.\PhysicalDrive0",
    rb"..\disk.vhd",
    b"CON.vhd",
    b"NUL",
    b"disk.vhd:stream",
    b"trailing. ",
    b"caf\xe9 \xff\xfe.vhd",
    b"$(reboot) `reboot` 'x' \"y\" & | > <.vhd",
    b"%s %n {0} {in}.vhd",
]


@pytest.mark.parametrize("way", ["named", "listed", "in a folder"])
def test_names_that_mean_something_elsewhere(run: Run, tmp_path: Path, way: str) -> None:
    """They are files like others: named, in a list, in a folder (whose images end in .vhd), as JSON."""
    names = [name for name in NAMES if way != "in a folder" or name.endswith(b".vhd")]
    for name in names:
        fixed(3 * MIB, unique_id=bytes(16)).write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    (tmp_path.parent / "list").write_bytes(b"\0".join(names))
    ways: dict[str, list[str | bytes]] = {"named": [*names], "listed": ["--files-from", "../list", "-0"]}
    words = ways.get(way, ["."])
    shown = sorted(name.decode("utf-8", "surrogateescape").encode("ascii", "backslashreplace") for name in names)
    done = run(*words)
    assert (done.returncode, done.stderr) == (1, "")
    told = [line.removeprefix("./") for line in done.stdout.splitlines() if ": refused: 614: " in line]
    assert sorted(line.rpartition(": refused: 614: ")[0].encode() for line in told) == shown
    reports = json.loads(run("--format", "json", *words).stdout)["reports"]
    sources = [report["source"].removeprefix("./") for report in reports]
    assert sorted(source.encode("ascii", "backslashreplace") for source in sources) == shown


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """One image for each rule that does not look at the clock, so that nearly every message and remedy is written."""
    folder = tmp_path_factory.mktemp("images")
    hits = {case.rule: case for case in CASES if case.kind == "hit" and "future" not in case.rule}
    return [str(case.build().write(folder / case.name.replace("/", "-"))) for case in hits.values()]


@pytest.mark.parametrize("level", ["-O", "-OO"])
def test_optimised_python_says_the_same(run: Run, every_kind: list[str], level: str) -> None:
    """Under -OO there are no docstrings, and the rules' texts are docstrings."""
    for words in (
        ["--format", "json", "--deep", *every_kind],
        ["--rules"],
        ["--explain", "VHD103"],
        ["--explain", "413"],
    ):
        plain, optimised = run(*words), run(*words, python=(level,))
        assert (optimised.returncode, optimised.stderr, optimised.stdout) == (plain.returncode, "", plain.stdout)
