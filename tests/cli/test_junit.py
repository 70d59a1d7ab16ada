"""--format junit, as junitparser reads it; and nothing that an image says breaks the XML."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from fixtures.writer import MIB, fixed
from tests.forms import written
from vhdcheck import check

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
TestSuite.__test__ = TestCase.__test__ = False  # they are no tests of ours, whatever pytest makes of their names


def read(text: str) -> JUnitXml:
    """Read a document."""
    assert text.isascii()
    return JUnitXml.fromstring(text.encode("ascii"))


def outcomes(suite: TestSuite) -> Iterator[tuple[str, list[type]]]:
    """Yield each case's name and what it came to; an empty list is a success."""
    for case in suite:
        yield case.name, [type(result) for result in case.result]


def test_every_kind_of_result(main: Main, good: Path, bad: Path, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "adder.vhd").write_text("entity adder is\nend;\n", encoding="ascii")
    good.rename(tmp_path / "d" / "good.vhd")
    done = main("d", "bad.vhd", "none.vhd", "--format", "junit")
    assert done.returncode == 2
    xml = read(done.stdout)
    suites = {suite.name: suite for suite in xml}
    assert {name: list(outcomes(suite)) for name, suite in suites.items()} == {
        "d/good.vhd": [("accepted", [])],
        "bad.vhd": [
            ("VHD701 virtual-size-over-limit (footer.current_size)", [Failure]),
            ("VHD311 no-blocks (table)", []),
        ],
        "none.vhd": [("checked", [Error])],
        "skipped": [("1 text file", [Skipped])],
        "summary": [],
    }
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (5, 1, 1, 1)
    worst = next(iter(suites["bad.vhd"]))
    assert worst.result[0].type == "VHD701"
    assert worst.result[0].message.startswith("error: the disk is 1 GiB")
    assert "\nfound: 41 GiB (44 023 414 784 bytes)\nfix: " in worst.result[0].text
    assert next(case for case in suites["bad.vhd"] if "VHD311" in case.name).system_out.startswith("note: the disk is")
    counts = xml.tests, xml.failures, xml.errors, xml.skipped
    xml.update_statistics()  # type: ignore[no-untyped-call]
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == counts


def test_what_is_ignored_is_skipped(main: Main, bad: Path) -> None:
    (image, _summary) = read(main("bad.vhd", "--ignore", "VHD7,VHD3", "--format", "junit").stdout)
    assert list(outcomes(image)) == [("accepted", []), ("ignored", [Skipped])]
    assert next(case for case in image if case.name == "ignored").result[0].message == "1 error, 0 warnings, 1 note"


def test_a_warning_that_fails(main: Main, tmp_path: Path) -> None:
    fixed(3 * MIB, saved_state=1).write(tmp_path / "x.vhd")
    words = "x.vhd", "--target", "generic", "--format", "junit"
    assert read(main(*words).stdout).failures == 0
    assert read(main(*words, "--fail-on", "warning").stdout).failures == 1


@given(name=st.text(min_size=1), creator=st.binary(min_size=4, max_size=4))
def test_hostile_names_and_fields(name: str, creator: bytes) -> None:
    name = "x" + os.fsdecode(name.encode("utf-8", "surrogatepass"))
    report = check(fixed(3 * MIB, creator=creator, saved_state=1).tobytes(), name=name)
    suite = next(iter(read(written("junit", [report], report.target))))
    assert suite.tests == len(report.findings)
