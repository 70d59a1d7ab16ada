"""The documents: what they refer to is there, and what they list is complete."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import vhdcheck
from vhdcheck import targets
from vhdcheck.command.cli import parser
from vhdcheck.mend.__main__ import parser as mending
from vhdcheck.tasks.__main__ import serve_options

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*.md", ".github/*.md", "vhdcheck/*/*.md", "benchmarks/*.md", "fixtures/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
SITTING = 13_000
"""Bytes of a README that is read in one sitting."""


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request: pytest.FixtureRequest) -> Path:
    """Each document of the project."""
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def documents() -> str:
    """The text of all of them."""
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    """The content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """Return what GitHub makes of a document's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        there = document.parent / path if path else document
        assert there.exists(), link
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), link


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_bytes()) < SITTING


def test_every_document_is_linked(documents: str) -> None:
    """A document that no other leads to is found by nobody."""
    linked = {
        (path.parent / link.partition("#")[0]).resolve()
        for path in DOCUMENTS
        for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    }
    assert [path for path in DOCUMENTS if path.name != "README.md" or path.parent != ROOT if path not in linked] == []


def test_commands_name_what_exists(documents: str, pyproject: dict[str, Any]) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", documents, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    commands = "\n".join(blocks)
    assert [name for name in re.findall(r"-m (\w+)", commands) if importlib.util.find_spec(name) is None] == []
    extras = {extra for group in re.findall(r"\.\[([\w,-]+)\]", commands) for extra in group.split(",")}
    assert extras <= set(pyproject["project"]["optional-dependencies"])
    images = re.findall(r"(?<![\w/])fixtures/[\w./-]+", commands + (vhdcheck.__doc__ or ""))
    assert images
    assert [name for name in images if not (ROOT / name).is_file()] == []


def test_paths_in_prose_exist(documents: str) -> None:
    paths = re.findall(r"`((?:\.ci|fixtures|benchmarks|tests|vhdcheck)/[\w./-]*)`", documents)
    assert ".ci/run" in paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_options_in_prose_exist(documents: str) -> None:
    known = {option for each in (parser(), mending()) for action in each._actions for option in action.option_strings}
    known |= {option for action in serve_options() for option in action.option_strings}
    named = set(re.findall(r"`(?:vhdcheck |serve )?(--[a-z-]+)", documents))
    assert "--target" in named
    assert named <= known


def test_the_picture_of_the_rooms_is_that_of_the_contracts(pyproject: dict[str, Any]) -> None:
    """What CONTRIBUTING.md draws from top to bottom is what import-linter holds from bottom to top."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = text.partition("\n    vhdcheck/\n")[2].partition("\n\n")[0]
    drawn = re.findall(r"^ {6}(\w+)(?:\.py|/) ", picture, re.MULTILINE)
    layers = pyproject["tool"]["importlinter"]["contracts"][0]["layers"]
    held = [set(layer.replace(" ", "").split("|")) for layer in reversed(layers) if layer != "__main__"]
    for floor in held:
        assert set(drawn[: len(floor)]) == floor
        del drawn[: len(floor)]
    assert drawn == []


def test_the_targets_are_listed() -> None:
    assert all(targets.load(name).accepts for name in targets.names())
    table = (ROOT / "vhdcheck" / "targets" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z-]+)`(?: \(default\))? \|", table, re.MULTILINE)) == list(targets.names())


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
