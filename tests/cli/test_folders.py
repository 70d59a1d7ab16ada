"""Folders: what a walk finds, skips, counts and reports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

VHDL = "library ieee;\nentity adder is\nend adder;\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Images good and bad, and what is called like one."""
    folder = tmp_path / "tree"
    (folder / "a" / "deep.vhd").mkdir(parents=True)  # a folder of that name is a folder
    fixed(3 * MIB).write(folder / "a" / "deep.vhd" / "snapshot.avhd")
    fixed(3 * MIB).write(folder / "a" / "UPPER.VHD")
    dynamic(41 * GIB).write(folder / "bad.vhd")
    (folder / "link.vhd").symlink_to("bad.vhd")
    (folder / "up").symlink_to("..")  # a circle
    (folder / "pointer.vhd").write_text(POINTER, encoding="ascii")
    (folder / "adder.vhd").write_text(VHDL, encoding="ascii")
    (folder / "a" / "umlaut.vhd").write_text(f"-- Addierer für Größen\n{VHDL}", encoding="latin-1")
    (folder / "notes.txt").write_text("no image", encoding="ascii")
    (folder / "disk.vhdx").write_bytes(b"vhdxfile" + bytes(512))
    return folder


def verdicts(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the verdict lines, in order, without their messages."""
    lines = [line for line in done.stdout.splitlines() if line[:1] not in ("", " ") and ": " in line]
    return [": ".join(line.split(": ")[:2]) for line in lines[:-1]]


def test_a_mixed_folder(main: Main, tree: Path) -> None:
    done = main("tree")
    assert (done.returncode, done.stderr) == (1, "")
    assert sorted(verdicts(done)) == [
        "tree/a/UPPER.VHD: accepted",
        "tree/a/deep.vhd/snapshot.avhd: accepted",
        "tree/bad.vhd: refused",
        "tree/link.vhd: refused",
        "tree/pointer.vhd: refused",
    ]
    assert "this is a Git LFS pointer, not a VHD" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "5 images: 2 accepted, 3 refused; 3 errors, 0 warnings, 2 notes; 2 skipped: text, VHDL source?"
    )


def test_the_same_order_each_time_and_after_what_is_named(main: Main, tree: Path) -> None:
    first = main("tree", tree / "bad.vhd")
    assert first.stdout == main("tree/", tree / "bad.vhd").stdout
    assert verdicts(first)[-1] == f"{tree}/bad.vhd: refused"
    inner = [name for name in verdicts(first) if name.startswith("tree/a/")]
    assert inner == sorted(inner)


def test_several_folders_and_one_without_images(main: Main, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "adder.vhd").write_text(VHDL, encoding="ascii")
    done = main("empty", "tree/a", "sources")
    assert done.returncode == 2
    assert "empty: not checked: no .vhd or .avhd images in this folder\n" in done.stdout
    assert "sources: not checked: no .vhd or .avhd images in this folder: 1 text file, VHDL source?\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("4 images: 2 accepted, 2 not checked; ")


def test_an_empty_folder_alone(main: Main, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = main("empty")
    assert done.returncode == 2
    assert done.stdout.startswith("empty: not checked: no .vhd or .avhd images in this folder\n")


def test_a_text_that_ends_in_a_footer_is_an_image(main: Main, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    size = 3 * MIB
    fixed(size, content=b"text\n" * (size // 5)).write(tmp_path / "d" / "text.vhd")
    (tmp_path / "d" / "empty.vhd").touch()
    done = main("d")
    assert verdicts(done) == ["d/empty.vhd: refused", "d/text.vhd: accepted"]
    assert "skipped" not in done.stdout


def test_what_cannot_be_read_in_a_folder(run: Main, tree: Path, powerless: tuple[str, ...]) -> None:
    os.mkfifo(tree / "fifo.vhd")
    (tree / "dangling.vhd").symlink_to("none")
    (tree / "locked").mkdir()
    (tree / "locked").chmod(0)
    (tree / "a" / "UPPER.VHD").chmod(0)
    try:
        done = run("tree", under=powerless)
    finally:
        (tree / "locked").chmod(0o700)
    assert (done.returncode, done.stderr) == (2, "")
    failures = sorted(line for line in done.stdout.splitlines() if ": not checked: " in line)
    assert failures == [
        "tree/a/UPPER.VHD: not checked: Permission denied",
        "tree/dangling.vhd: not checked: No such file or directory",
        "tree/fifo.vhd: not checked: a device, a pipe or a socket, not a regular file or block device",
        "tree/locked: not checked: Permission denied",
    ]
    assert done.stdout.splitlines()[-1].startswith("8 images: 1 accepted, 3 refused, 4 not checked; ")


def test_accepted_images_are_one_line_each(main: Main, tmp_path: Path, good: Path) -> None:
    fixed(4 * MIB).write(tmp_path / "other.vhd")
    done = main(".")
    assert done.stdout.splitlines() == [
        "good.vhd: accepted",
        "other.vhd: accepted",
        "2 images: 2 accepted; 0 errors, 0 warnings, 0 notes",
    ]
