"""`--chains`: who is whose parent, and who would break."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import html5lib
import pytest

from tests.chains.test_parents import command, link

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two trees, an orphan, a circle with an image that hangs on it, two of the same ID and a child of theirs."""
    link(tmp_path, 1, name="base.vhd")
    link(tmp_path, 2, 1, name="left.vhd", blocks=[0])
    link(tmp_path, 3, 2, name="leaf.vhd")
    link(tmp_path, 4, 1, name="right.vhd")
    link(tmp_path, 5, name="alone.vhd")
    link(tmp_path, 6, 66, name="orphan.vhd", parent_name="lost<b>\x1b[31m.vhd")
    link(tmp_path, 7, 8, name="ring-a.vhd")
    link(tmp_path, 8, 7, name="ring-b.vhd")
    link(tmp_path, 9, 8, name="on-the-ring.vhd")
    link(tmp_path, 10, name="twin-a.vhd")
    link(tmp_path, 10, name="twin-b.vhd")
    link(tmp_path, 11, 10, name="child-of-twins.vhd")
    (tmp_path / "none.vhd").write_bytes(b"\0" * 4096)
    return tmp_path


def forest(folder: Path, *words: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any], int]:
    """Run the command, and return the images by name, the summary, and the exit status."""
    done = command(folder, "--chains", "--format", "json", *words)
    content = json.loads(done.stdout)
    return (
        {image["source"].rpartition("/")[2]: image for image in content["images"]},
        content["summary"],
        done.returncode,
    )


@pytest.mark.parametrize("words", [(), ("--jobs", "2")])
def test_json(folder: Path, words: tuple[str, ...]) -> None:
    images, summary, status = forest(folder, *words)
    assert {name: image["state"] for name, image in images.items()} == {
        "alone.vhd": "root",
        "base.vhd": "root",
        "left.vhd": "child",
        "leaf.vhd": "child",
        "right.vhd": "child",
        "orphan.vhd": "orphan",
        "ring-a.vhd": "circle",
        "ring-b.vhd": "circle",
        "on-the-ring.vhd": "circle",
        "twin-a.vhd": "root",
        "twin-b.vhd": "root",
        "child-of-twins.vhd": "ambiguous",
    }
    assert {name: images[name]["dependents"] for name in ("base.vhd", "left.vhd", "leaf.vhd", "alone.vhd")} == {
        "base.vhd": 3,
        "left.vhd": 1,
        "leaf.vhd": 0,
        "alone.vhd": 0,
    }
    assert (images["leaf.vhd"]["depth"], images["leaf.vhd"]["parent"]) == (2, images["left.vhd"]["source"])
    assert images["left.vhd"]["own_data"] == 2 << 20
    assert (summary["images"], summary["orphans"], summary["circles"], summary["ambiguous"]) == (12, 1, 3, 1)
    assert (summary["broken"], summary["no_images"], summary["deepest"], status) == (5, 1, 3, 1)


def test_a_whole_forest_passes(tmp_path: Path) -> None:
    link(tmp_path, 1)
    link(tmp_path, 2, 1)
    assert forest(tmp_path)[2] == 0


def test_text(folder: Path) -> None:
    done = command(folder, "--chains")
    lines = [line.replace(f"{folder}/", "") for line in done.stdout.splitlines()]
    at = next(place for place, line in enumerate(lines) if line.startswith("base.vhd"))
    assert [line.partition("  d")[0] for line in lines[at : at + 4]] == [
        "base.vhd",
        "├─ left.vhd",
        "│  └─ leaf.vhd",
        "└─ right.vhd",
    ]
    assert lines[at].endswith("3 images would break without it")
    assert "\x1b" not in done.stdout
    ascii_only = subprocess.run(
        [sys.executable, "-m", "vhdcheck", folder, "--chains"],
        capture_output=True, env={"PYTHONIOENCODING": "ascii"}, timeout=60, check=False,
    )  # fmt: skip
    assert b"|  `- " in ascii_only.stdout


def test_html_is_sound_and_escaped(folder: Path) -> None:
    done = command(folder, "--chains", "--format", "html")
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(done.stdout)
    assert done.stdout.isascii()
    assert "<b>" not in done.stdout
    assert done.stdout.count("<tr ") == 12


def test_a_chain_longer_than_the_stack_is_deep(tmp_path: Path) -> None:
    for number in range(1, 1502):
        link(tmp_path, number, number - 1)
    images, summary, status = forest(tmp_path)
    assert (summary["deepest"], status) == (1501, 0)
    assert images["1.vhd"]["dependents"] == 1500
    for form in ("text", "html"):
        done = command(tmp_path, "--chains", "--format", form)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout) < 1 << 20


@pytest.mark.parametrize(
    "words",
    [("--target", "azure"), ("--format", "sarif"), ("--parent", "a.vhd"), ("--parents", "."), ("-",)],
)
def test_what_does_not_go_with_it(words: tuple[str, ...], tmp_path: Path) -> None:
    done = command("--chains", *words, *(() if words == ("-",) else (tmp_path,)))
    assert (done.returncode, "--chains" in done.stderr) == (2, True)
