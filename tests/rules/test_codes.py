"""The message codes: an image for each, and which of two heads the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import CASES, NOW
from fixtures.recipes.cases import child, empty
from fixtures.writer import GIB, MIB, Image, dynamic, fixed
from vhdcheck import Code, Severity, check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vhdcheck import Report

BEGINNING = "The image cannot be imported. "
# Case -> what the import task would say of it; all are for rackspace.
MESSAGES = {
    "footer-lost": "396: {}The file is not a valid VHD.",
    "differencing-rackspace": "721: {}Your VHD has a parent disk. You can only import a stand-alone VHD.",
    "disk-type-5": "523: {}Only fixed or dynamic disks may be imported.",
    "one-sector-over-40-gib": "413: {}The virtual size of the disk exceeds the 40GB limit.",
    "fixed-of-exactly-40-gib": "609: {}The physical size of the disk exceeds the 40GB limit.",
    "unique-id-zero-rackspace": "614: {}The internal UUID of the VHD is all zeros.",
    "hidden-rackspace": "111: {}There is an unspecified problem with your VHD that caused it to fail our validation"
    " checks.",
}
OVER = 41 * GIB
NO_ID = bytes(16)

# Images with two defects: the code that heads the report, the other one, the image.
PAIRS: dict[str, tuple[int, int, Callable[[], Image]]] = {
    "child without its footer": (396, 721, lambda: child(tail=False)),
    "unknown type with a bad checksum": (396, 523, lambda: fixed(3 * MIB, disk_type=5, checksum=1)),
    "too large, and its copy differs": (396, 413, lambda: dynamic(OVER, front={"timestamp": 1})),
    "file too long, and a sector is missing": (396, 609, lambda: fixed(OVER - 512, current_size=OVER)),
    "child that is too large": (721, 413, lambda: child(current_size=OVER, max_entries=20_992)),
    "child without an ID": (721, 614, lambda: child(unique_id=NO_ID)),
    "hidden child": (721, 111, lambda: child(hidden=1)),
    "unknown type that is too large": (523, 413, lambda: fixed(OVER, disk_type=5)),
    "unknown type without an ID": (523, 614, lambda: fixed(3 * MIB, disk_type=0, unique_id=NO_ID)),
    "disk and file too large": (413, 609, lambda: fixed(OVER)),
    "too large, without an ID": (413, 614, lambda: dynamic(OVER, unique_id=NO_ID)),
    "file too long, without an ID": (609, 614, lambda: fixed(40 * GIB, unique_id=NO_ID)),
    "file too long, and hidden": (609, 111, lambda: fixed(40 * GIB, hidden=1)),
    "hidden, without an ID": (614, 111, lambda: empty(hidden=1, unique_id=NO_ID)),
}


def judged(image: Image, folder: Path, *, virtual: str | None = None, physical: str | None = None) -> Report:
    path = image.write(folder / "image.vhd")
    return check(path, target="rackspace", max_virtual_size=virtual, max_physical_size=physical, now=NOW)


@pytest.mark.parametrize("name", MESSAGES)
def test_message(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == name)
    report = judged(case.build(), tmp_path)
    assert report.message == MESSAGES[name].format(BEGINNING)
    assert report.code == Code(int(MESSAGES[name][:3]))


def test_there_is_a_message_for_every_code() -> None:
    assert {int(message[:3]) for message in MESSAGES.values()} == set(Code)


@pytest.mark.parametrize("name", PAIRS)
def test_which_of_two_heads_the_report(name: str, tmp_path: Path) -> None:
    first, second, build = PAIRS[name]
    report = judged(build(), tmp_path)
    codes = {finding.code for finding in report.findings if finding.severity == Severity.ERROR}
    assert {first, second} <= codes
    assert report.code == first
    assert (report.message or "").startswith(f"{first}: {BEGINNING}")


@pytest.mark.parametrize(("limit", "words"), [("160GB", "160GB"), ("160GiB", "160GB"), ("163841MiB", "163841MB")])
def test_the_message_names_the_limit_that_was_given(limit: str, words: str, tmp_path: Path) -> None:
    virtual = judged(dynamic(161 * GIB), tmp_path, virtual=limit)
    assert virtual.message == f"413: {BEGINNING}The virtual size of the disk exceeds the {words} limit."
    physical = judged(fixed(161 * GIB), tmp_path, virtual="1TiB", physical=limit)
    assert physical.message == f"609: {BEGINNING}The physical size of the disk exceeds the {words} limit."


def test_a_raised_limit_accepts(tmp_path: Path) -> None:
    image = dynamic(160 * GIB)
    assert judged(image, tmp_path).code == Code.VIRTUAL_SIZE
    assert judged(image, tmp_path, virtual="160GB").ok


def test_an_accepted_image_has_neither_code_nor_message(tmp_path: Path) -> None:
    report = judged(fixed(3 * MIB), tmp_path)
    assert (report.ok, report.code, report.message, report.findings) == (True, None, None, ())
