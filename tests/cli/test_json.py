"""The report for programs: valid by the schema that ships with it, read strictly, whatever the image."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from jsonschema import Draft202012Validator

from fixtures.writer import GIB, MIB, PARENT_ID, Image, Locator, differencing, dynamic, fixed
from vhdcheck import targets

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The schema as an installed package has it."""
    text = (importlib.resources.files("vhdcheck") / "report" / "schemas" / "report-v2.schema.json").read_text(
        encoding="utf-8"
    )
    loaded: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(loaded)
    return loaded


def strict(part: Any) -> Any:
    """Return the schema with every object closed: a key that it does not describe is an error, and so is one less."""
    if isinstance(part, list):
        return [strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {key: strict(value) for key, value in part.items()}
    if "object" in ([kind] if isinstance(kind := part.get("type"), str) else kind or []):
        listed = dict.fromkeys(part["required"], closed["additionalProperties"]) if "properties" not in part else {}
        closed["properties"] = {**listed, **closed.get("properties", {})}
        closed["additionalProperties"] = False
        closed["required"] = sorted(closed["properties"])
    return closed


IMAGES: dict[str, Callable[[], Image]] = {
    "accepted": lambda: dynamic(10 * MIB, blocks=[3, 0]),
    "fixed": lambda: fixed(3 * MIB),
    "refused": lambda: dynamic(41 * GIB),
    "raised by the target": lambda: fixed(3 * MIB, unique_id=bytes(16)),
    "no footer": lambda: Image(4096),
    "other format": lambda: Image.from_bytes(b"vhdxfile" + bytes(4096)),
    "empty": Image,
    "old footer": lambda: fixed(3 * MIB, features=0).cut(1),
    "only the copy": lambda: dynamic(10 * MIB, blocks=[0], tail=False),
    "copies differ": lambda: dynamic(10 * MIB, blocks=[0], front={"current_size": 8 * MIB}),
    "other sizes": lambda: fixed(3 * MIB, original_size=5 * MIB, creator=b"vpc "),
    "no header": lambda: dynamic(10 * MIB, blocks=[0]).patch(512, bytes(1024)),
    "damaged table": lambda: dynamic(10 * MIB, blocks=[0, 1, 2], bat={0: 7, 1: 7, 4: 0xFFFFFF00}),
    "parent on a stand-alone disk": lambda: dynamic(
        10 * MIB, blocks=[0], header={"parent_name": "parent.vhd", "parent_id": PARENT_ID}
    ),
    "differencing": lambda: differencing(10 * MIB, blocks=[1]),
    "hostile": lambda: differencing(
        10 * MIB,
        parent_name="\x1b[2J\u202e\ud800",
        creator=b"\xff\x1b\0\n",
        host=b"\x80\x81\0\xff",
        locators=(Locator(b"W2ru", "\\\\h\\\x1b\ud800"), Locator(b"\xff\x1b\0\n", b"\xff")),
    ),
    "strange numbers": lambda: fixed(
        3 * MIB, original_size=2**64 - 1, current_size=2**64 - 1, geometry=(65535, 255, 255), timestamp=2**32 - 1
    ),
    "type 7": lambda: fixed(3 * MIB, disk_type=7),
}


def errors(validator: Draft202012Validator, document: Any) -> Iterator[str]:
    """Say what is wrong, and where."""
    for error in validator.iter_errors(document):
        yield f"{error.json_path}: {error.message} {[context.message for context in error.context or ()]}"


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("target", ["rackspace", "generic"])
def test_every_image_is_reported_as_the_schema_says(
    main: Main, tmp_path: Path, schema: dict[str, Any], name: str, target: str
) -> None:
    IMAGES[name]().write(tmp_path / "x.vhd")
    done = main("--format", "json", "--deep", "--target", target, "x.vhd")
    document = json.loads(done.stdout)
    assert done.stdout.isascii()
    assert list(errors(Draft202012Validator(schema), document)) == []
    assert list(errors(Draft202012Validator(strict(schema)), document)) == []
    summary, (report,) = document["summary"], document["reports"]
    assert summary["exit_status"] == done.returncode == (0 if report["verdict"] == "accepted" else 1)
    assert (report["code"] is None) == (report["message"] is None) == (report["verdict"] == "accepted")
    severities = [finding["severity"] for finding in report["findings"]]
    assert summary["findings"] == {word: severities.count(word) for word in ("error", "warning", "note")}


def test_the_schema_can_fail(schema: dict[str, Any], main: Main, good: Path) -> None:
    document = json.loads(main("--format", "json", "good.vhd").stdout)
    document["reports"][0]["image"]["geometry"]["tracks"] = 3
    assert list(errors(Draft202012Validator(schema), document)) == []
    assert len(list(errors(Draft202012Validator(strict(schema)), document))) == 1
    del document["reports"][0]["image"]["geometry"]["heads"]
    assert len(list(errors(Draft202012Validator(schema), document))) == 1


def test_the_schema_describes_parent_blocks_and_related_places(main: Main, tmp_path: Path) -> None:
    """So that the images above have what the strict reading is about."""
    reports = {}
    for name in ("differencing", "parent on a stand-alone disk", "other sizes", "raised by the target"):
        IMAGES[name]().write(tmp_path / "x.vhd")
        (reports[name],) = json.loads(main("--format", "json", "x.vhd").stdout)["reports"]
    image = reports["differencing"]["image"]
    assert image["parent"] == {"unique_id": "5ec0ffee-0002-4000-8000-000000000002", "name": "parent.vhd"}
    assert (image["blocks"]["used"], image["blocks"]["total"], image["disk_type"]) == (1, 5, "differencing")
    related = [finding["related"] for finding in reports["parent on a stand-alone disk"]["findings"]]
    assert related == [[{"offset": 576, "length": 512, "field": "header.parent_unicode_name"}]]
    assert [size["size"] for size in reports["other sizes"]["image"]["other_sizes"]] == [5 * MIB, 3133440]
    assert [finding["raised_by"] for finding in reports["raised by the target"]["findings"]] == ["rackspace"]


def test_failures_and_skipped_texts(main: Main, tmp_path: Path, schema: dict[str, Any], good: Path, bad: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "adder.vhd").write_text("entity adder is\n", encoding="ascii")
    done = main("--format", "json", "good.vhd", "none.vhd", "bad.vhd", "d", "/dev/null")
    document = json.loads(done.stdout)
    assert list(errors(Draft202012Validator(strict(schema)), document)) == []
    assert document["summary"] == {
        "accepted": 1,
        "refused": 1,
        "not_checked": 3,
        "skipped_texts": 1,
        "findings": {"error": 1, "warning": 0, "note": 1},
        "ignored": {"error": 0, "warning": 0, "note": 0},
        "exit_status": 2,
    }
    assert done.returncode == 2
    assert {(report["source"], report["verdict"]) for report in document["reports"]} == {
        ("good.vhd", "accepted"),
        ("none.vhd", "not checked"),
        ("bad.vhd", "refused"),
        ("d", "not checked"),
        ("/dev/null", "not checked"),
    }


def test_values(main: Main, bad: Path) -> None:
    document = json.loads(main("--format", "json", "--max-physical-size", "1GiB", "bad.vhd").stdout)
    assert document["schema_version"] == 2
    assert document["target"] == {"name": "rackspace", "max_virtual_size": 40 * GIB, "max_physical_size": GIB}
    (report,) = document["reports"]
    assert (report["code"], report["size"]) == (413, bad.stat().st_size)
    finding = report["findings"][0]
    assert finding["location"] == {"offset": 0x14E30, "length": 8, "field": "footer.current_size"}
    assert finding["expected"] == "at most 40 GiB (42 949 672 960 bytes)"
    assert 0 < report["bytes_read"] < report["size"] + 4 * 4096


def test_one_document_for_every_target(main: Main, good: Path, schema: dict[str, Any]) -> None:
    for name in targets.names():
        document = json.loads(main("--format", "json", "--target", name, "good.vhd").stdout)
        assert document["target"]["name"] == name
        assert list(errors(Draft202012Validator(strict(schema)), document)) == []
