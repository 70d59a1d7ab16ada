"""The committed images are what the recipes build, and the manifest says so."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.build import COMMITTED, build, describe, is_committed, main, manifest
from fixtures.recipes import CASES, Case

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = [case for case in CASES if is_committed(case, case.build())]


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "fixtures"


@pytest.fixture(scope="module")
def entries(folder: Path) -> dict[str, dict[str, Any]]:
    return {entry["file"]: entry for entry in json.loads((folder / "manifest.json").read_text("utf-8"))["images"]}


def test_names_are_unique_and_kebab_case() -> None:
    assert len({case.name for case in CASES}) == len({case.file for case in CASES}) == len(CASES)
    assert [
        case.name for case in CASES if not case.origin and not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.name)
    ] == []


def test_the_manifest_is_what_the_recipes_say(folder: Path) -> None:
    text = manifest([describe(case, case.build()) for case in CASES])
    assert (folder / "manifest.json").read_text("utf-8") == text, "run: python -m fixtures.build"


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.name)
def test_a_committed_image_is_what_its_recipe_builds(case: Case, folder: Path, entries: dict[str, Any]) -> None:
    data = (folder / case.file).read_bytes()
    assert data == case.build().tobytes(), "run: python -m fixtures.build"
    assert hashlib.sha256(data).hexdigest() == entries[case.file]["sha256"]
    assert len(data) == entries[case.file]["length"]


def test_nothing_else_is_committed(folder: Path) -> None:
    ours = {".py", ".md", ".json", ".pyc"}
    images = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix not in ours}
    assert images == {case.file for case in WRITTEN}


def test_what_is_committed_is_small(folder: Path) -> None:
    large = {case.file for case in WRITTEN if (folder / case.file).stat().st_size > COMMITTED}
    assert large == {"dynamic-clean.vhd", "qemu/dynamic-40g.vhd"}  # the README shows these two


def test_images_by_tools_say_how_they_were_made(entries: dict[str, Any]) -> None:
    assert {file for file, entry in entries.items() if "qemu-img" in entry["origin"]} == {
        file for file in entries if file.startswith("qemu/")
    }


def test_building_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "stale.vhd"
    stale.write_bytes(b"")
    (tmp_path / "manifest.json").write_text('{"images": [{"file": "stale.vhd"}]}', "utf-8")
    assert main([str(tmp_path)]) == 0
    assert not stale.exists()
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    parents = {f"parents/{case.name}/{name}" for case in CASES for name, _ in case.parents}
    assert files == {case.file for case in CASES} | parents | {"manifest.json"}
    assert (tmp_path / "fixed-of-exactly-40-gib.vhd").stat().st_size == (40 << 30) + 512


def test_building_twice_gives_the_same(tmp_path: Path) -> None:
    first, second = (build(tmp_path / name, every=False) for name in ("first", "second"))
    assert first == second


@pytest.mark.parametrize("arguments", [["--help"], ["one", "two"]])
def test_wrong_arguments_print_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "python -m fixtures.build" in capsys.readouterr().err
