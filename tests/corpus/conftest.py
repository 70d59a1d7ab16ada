"""The images of ../shared, rebuilt; without that folder each test that asks for them skips, saying so."""

from __future__ import annotations

import base64
import csv
import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import Image

if TYPE_CHECKING:
    from pathlib import Path


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rebuilt(record: dict[str, Any], path: Path) -> Path:
    """Write what a record describes, length and compressed extents, as a sparse file."""
    extents = {offset: zlib.decompress(base64.b64decode(packed)) for offset, packed in record["extents"]}
    return Image(record["length"], extents).write(path)


def rebuilt_cases(file: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Rebuild the cases of a file of the oracle: by name, each with the `path` of its image."""
    return {
        case["name"]: {**case, "path": _rebuilt(case, folder / f"{number}.vhd")}
        for number, case in enumerate(_records(file))
    }


@pytest.fixture(scope="session")
def oracle(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The oracle's cases by name, each with the `path` of its image."""
    return rebuilt_cases(shared / "oracle" / "cases.jsonl", tmp_path_factory.mktemp("oracle"))


@pytest.fixture(scope="session")
def corpus(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The rows of the corpus's index by file, each with the `path` of its image."""
    folder = tmp_path_factory.mktemp("corpus")
    source = shared / "corpus"
    large = {
        record["name"]: _rebuilt(record, folder / f"{number}.vhd")
        for number, record in enumerate(_records(source / "large.jsonl"))
    }
    with (source / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {row["file"]: {**row, "path": large.get(row["file"], source / row["file"])} for row in rows}
