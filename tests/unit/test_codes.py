from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from vhdcheck.image import Image
from vhdcheck.targets import load
from vhdcheck.units import GIB
from vhdcheck.verdict.codes import MEANINGS, PRECEDENCE, TEXTS, Code, message
from vhdcheck.verdict.finding import Finding, Severity
from vhdcheck.verdict.report import Report

if TYPE_CHECKING:
    from pathlib import Path


def test_every_code_has_its_place_text_and_meaning() -> None:
    assert set(PRECEDENCE) == set(Code) == set(TEXTS) == set(MEANINGS)
    assert len(PRECEDENCE) == len(Code)


def test_message_names_the_limit_that_was_passed() -> None:
    virtual = message(Code.VIRTUAL_SIZE, max_virtual_size=40 * GIB, max_physical_size=50 * GIB)
    physical = message(Code.PHYSICAL_SIZE, max_virtual_size=40 * GIB, max_physical_size=50 * GIB)
    assert virtual == "413: The image cannot be imported. The virtual size of the disk exceeds the 40GB limit."
    assert physical == "609: The image cannot be imported. The physical size of the disk exceeds the 50GB limit."


@pytest.mark.parametrize("code", [code for code in Code if code not in (Code.VIRTUAL_SIZE, Code.PHYSICAL_SIZE)])
def test_message_without_a_limit(code: Code) -> None:
    text = message(code, max_virtual_size=None, max_physical_size=None)
    assert text == f"{code.value}: {TEXTS[code]}"
    assert "{" not in text


def test_texts_are_the_source_document_s(shared: Path) -> None:
    source = (shared / "source" / "get-task-details.rst").read_text(encoding="utf-8")
    plain = re.sub(r"[\s*|`]+", " ", source)
    for code, text in TEXTS.items():
        ours = text.format(limit="40GB").replace(
            "imported. ", "imported/ " if code == Code.UNSPECIFIED else "imported. "
        )
        for sentence in re.split(r"(?<=[./]) ", ours):
            assert re.sub(r"[./]$", "", sentence) in plain, sentence
        assert str(int(code)) in plain


@pytest.mark.parametrize("heads", range(len(PRECEDENCE)))
def test_the_first_of_the_codes_heads_a_report(heads: int) -> None:
    findings = tuple(Finding("VHD000", "x", Severity.ERROR, code, "m", None) for code in reversed(PRECEDENCE[heads:]))
    warnings = tuple(Finding("VHD000", "x", Severity.WARNING, code, "m", None) for code in PRECEDENCE[:heads])
    report = Report("name", 0, load("rackspace"), findings + warnings, Image(0))
    assert report.code == PRECEDENCE[heads]
    assert report.message is not None
    assert report.message.startswith(f"{PRECEDENCE[heads].value}: ")
    assert not report.ok
    assert (report.count(Severity.ERROR), report.count(Severity.WARNING)) == (len(findings), len(warnings))


def test_warnings_alone_have_no_code() -> None:
    report = Report(
        "name", 0, load("generic"), (Finding("V", "x", Severity.WARNING, Code.PARENT, "m", None),), Image(0)
    )
    assert (report.ok, report.code, report.message) == (True, None, None)
