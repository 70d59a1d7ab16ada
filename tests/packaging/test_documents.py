"""README.md and CHANGELOG.md: what they refer to is there, and what they list is complete."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

import vhdcheck
from vhdcheck import targets
from vhdcheck.command.cli import parser
from vhdcheck.mend.__main__ import parser as mending
from vhdcheck.tasks.__main__ import serve_options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    """The text of README.md."""
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_links_lead_somewhere(readme: str, root: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", readme)
    assert links
    assert [link for link in links if not re.match(r"https?://|#", link) and not (root / link).exists()] == []
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", readme, re.MULTILINE)
    }
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []


def test_commands_name_what_exists(readme: str, root: Path, pyproject: dict[str, Any]) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    commands = "\n".join(blocks)
    assert [name for name in re.findall(r"-m (\w+)", commands) if importlib.util.find_spec(name) is None] == []
    extras = {extra for group in re.findall(r"\.\[([\w,-]+)\]", commands) for extra in group.split(",")}
    assert extras <= set(pyproject["project"]["optional-dependencies"])
    images = re.findall(r"(?<![\w/])fixtures/[\w./-]+", commands + (vhdcheck.__doc__ or ""))
    assert images
    assert [name for name in images if not (root / name).is_file()] == []


def test_paths_in_prose_exist(readme: str, root: Path) -> None:
    paths = re.findall(r"`((?:\.ci|fixtures|benchmarks|tests|vhdcheck)/[\w./-]*)`", readme)
    assert ".ci/run" in paths
    assert [path for path in paths if not (root / path).exists()] == []


def test_options_in_prose_exist(readme: str) -> None:
    known = {option for each in (parser(), mending()) for action in each._actions for option in action.option_strings}
    known |= {option for action in serve_options() for option in action.option_strings}
    named = set(re.findall(r"`(?:vhdcheck |serve )?(--[a-z-]+)", readme))
    assert "--target" in named
    assert named <= known


def test_the_picture_of_the_modules_is_complete(readme: str, root: Path) -> None:
    picture = readme.partition("\n    vhdcheck/\n")[2].partition("\n\n")[0]
    drawn = set(re.findall(r"^ {6}(\w+\.py|\w+/) ", picture, re.MULTILINE))
    there = {
        path.name + "/" * path.is_dir()
        for path in (root / "vhdcheck").iterdir()
        if not path.name.startswith("__") and path.name != "py.typed"
    }
    assert drawn == there - {"schemas/"}  # data of report/json.py, which the text links to


def test_the_targets_are_listed(readme: str) -> None:
    assert sorted(re.findall(r"^\| `([a-z-]+)`(?: \(default\))? \|", readme, re.MULTILINE)) == list(targets.names())


def test_the_changelog_has_this_version_or_what_is_to_come(root: Path) -> None:
    sections = re.findall(r"^## \[([^\]]+)\]", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections
    assert {vhdcheck.__version__, "Unreleased"} & set(sections)


def test_the_version_stands_in_one_place(pyproject: dict[str, Any]) -> None:
    assert "version" not in pyproject["project"]
    assert pyproject["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", vhdcheck.__version__)


def test_the_licence_is_the_one_named(root: Path, pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["license"] == "Apache-2.0"
    assert "Apache License\n" in (root / "LICENSE").read_text(encoding="utf-8")[:200]
