"""Images by real writers: the verdict, the size, type and creator that the corpus's index states for each."""

from __future__ import annotations

import calendar
import re
from typing import TYPE_CHECKING, Any

import pytest

from vhdcheck import Severity, check
from vhdcheck.format.structures import DIFFERENCING, EPOCH, FIXED

if TYPE_CHECKING:
    from vhdcheck import Report

Rows = dict[str, dict[str, Any]]

NOW = calendar.timegm((2027, 1, 1, 0, 0, 0))  # all were made before, but for two whose clock ran from 1970
FUTURE = "111 while its timestamp lies in the future"

# file -> (the verdict, and why the index's is not it)
NAMED_VERDICTS = {
    "made/derived/fixed-footer-only.vhd": ("396", "all of the disk is missing; vhd-util does not compare the length"),
    "real/aoiflux-fuzz/FuzzOpen-181edacc179863f7.vhd": ("396", "an unknown version, and cut: nothing can be trusted"),
}
# file -> the verdict once the time in its footer has come; vhd-util stopped at the time
AFTER_ITS_TIME = {
    "made/dosbox-x/imgmake-hd10.vhd": "111",  # 640/2/16 where the specification has 301/4/17: "geometry too large"
    "made/dosbox-x/imgmake-hd16-nofs.vhd": "111",
    "made/dosbox-x/v40g.vhd": "accepted",
    "made/dosbox-x/vdyn10.vhd": "accepted",
    "made/dosbox-x/vdyn3.vhd": "accepted",
    "made/vhd-lib/raw-3M.vhd": "accepted",
    "made/vhd-lib/sparse-6M.vhd": "accepted",
}
# What `vhd-util check` and target xenserver disagree on: file -> (a rule that refuses it or "", why).
VHD_UTIL_DIFFERS = {
    "made/derived/fixed-511.vhd": ("footer-cut-short", "vhd-util takes the cut footer for one of the old kind"),
    "made/derived/win8-minus1.vhd": ("footer-cut-short", "vhd-util takes the cut footer for one of the old kind"),
    "made/derived/fixed-footer-only.vhd": ("fixed-disk-truncated", "vhd-util does not compare a fixed disk's length"),
    "made/vbox/dyn-2196875771904.vhd": ("virtual-size-over-limit", "XenServer's storage manager stops at 2040 GiB"),
    "made/vhd-util/dyn-2043G.vhd": ("virtual-size-over-limit", "XenServer's storage manager stops at 2040 GiB"),
    "made/vbox/vboxmanage-child.vhd": ("", "its parent is not beside it; vhdcheck opens no path that an image names"),
}


def verdict(report: Report) -> str:
    """Say what the import task would."""
    return str(int(report.code)) if report.code else "accepted"


def slugs(report: Report, least: Severity = Severity.NOTE) -> set[str]:
    """Return what was found, of at least this severity."""
    return {finding.slug for finding in report.findings if finding.severity >= least}


@pytest.fixture(scope="module")
def generic(corpus: Rows) -> dict[str, Report]:
    """Every image judged by the format alone."""
    return {name: check(row["path"], target="generic", now=NOW) for name, row in corpus.items()}


def test_the_images_are_the_index_s(corpus: Rows, generic: dict[str, Report]) -> None:
    assert {name: int(row["length"]) for name, row in corpus.items()} == {
        name: report.size for name, report in generic.items()
    }
    assert [name for name, report in generic.items() if report.crashed] == []


def test_verdict_for_rackspace(corpus: Rows) -> None:
    expected, found = {}, {}
    for name, row in corpus.items():
        if not row["expect_rackspace"].startswith(FUTURE):
            expected[name] = NAMED_VERDICTS.get(name, row["expect_rackspace"].split())[0]
            found[name] = verdict(check(row["path"], now=NOW))
    assert found == expected
    differ = {name for name in NAMED_VERDICTS if corpus[name]["expect_rackspace"].split()[0] == found[name]}
    assert not differ, "named, and yet the index says the same"


def test_verdict_before_and_after_the_time_in_the_footer(corpus: Rows, generic: dict[str, Report]) -> None:
    rows = {name: row for name, row in corpus.items() if row["expect_rackspace"].startswith(FUTURE)}
    after = {}
    for name, row in rows.items():
        footer = generic[name].image.footer
        assert footer is not None
        before = check(row["path"], now=footer.timestamp + EPOCH - 3600)
        assert (verdict(before), "created-in-future" in slugs(before, Severity.ERROR)) == ("111", True), name
        after[name] = verdict(check(row["path"], now=footer.timestamp + EPOCH))
    assert after == AFTER_ITS_TIME


def test_size_type_and_creator(corpus: Rows, generic: dict[str, Report]) -> None:
    kinds = {FIXED: "fixed", 3: "dynamic", DIFFERENCING: "differencing", 6: "6 (linked/deprecated)"}
    for name, row in corpus.items():
        footer = generic[name].image.footer
        if row["virtual_size"] == "-":
            assert footer is None, name
            continue
        assert footer is not None, name
        assert str(footer.current_size) == row["virtual_size"], name
        assert kinds.get(footer.disk_type, str(footer.disk_type)) == row["disk_type"], name
        creator = footer.creator_application.decode("latin-1").replace("\0", "\\0")
        assert creator == row["creator"], name


def test_what_is_called_valid_has_no_error(corpus: Rows, generic: dict[str, Report]) -> None:
    valid = {name for name, row in corpus.items() if row["what"].startswith(("valid", "DIFFERENCING"))}
    assert len(valid) > 100
    assert {name: slugs(generic[name], Severity.ERROR) for name in valid if not generic[name].ok} == {}


def test_what_is_called_corrupt_has_an_error(corpus: Rows, generic: dict[str, Report]) -> None:
    corrupt = {name for name, row in corpus.items() if row["what"].startswith(("CORRUPT", "FUZZ"))}
    assert corrupt
    in_the_batmap = {"made/vhd-util/tapqemu.vhd"}  # which the specification does not know: XenServer alone refuses it
    assert {name for name in corrupt if generic[name].ok} == in_the_batmap
    assert slugs(generic[in_the_batmap.pop()]) >= {"batmap-missing"}


def test_vhd_util_and_target_xenserver_agree(corpus: Rows, generic: dict[str, Report]) -> None:
    differs = {}
    for name, row in corpus.items():
        now = NOW
        if row["vhd-util check"].endswith("creation time in future"):
            footer = generic[name].image.footer
            assert footer is not None
            now = footer.timestamp + EPOCH - 3600
        refused_for = slugs(check(row["path"], target="xenserver", now=now), Severity.ERROR)
        if bool(refused_for) == row["vhd-util check"].startswith("rc=0"):
            differs[name] = refused_for
    assert set(differs) == set(VHD_UTIL_DIFFERS)
    assert {name for name, (slug, _) in VHD_UTIL_DIFFERS.items() if not {slug} - {""} <= differs[name]} == set()


@pytest.mark.parametrize("tool", ["qemu-img -f vpc", "7zz", "vhdiinfo"])
def test_what_a_tool_refuses_is_an_error_or_a_warning(tool: str, corpus: Rows, generic: dict[str, Report]) -> None:
    refused = {name for name, row in corpus.items() if not row[tool].startswith("ok")}
    assert refused
    assert {name for name in refused if not slugs(generic[name], Severity.WARNING)} == set()


@pytest.mark.parametrize(
    ("tool", "slug"), [("qemu-img -f vpc", "geometry-truncates-disk"), ("vhdiinfo", "original-size-differs")]
)
def test_a_tool_that_sees_another_size(tool: str, slug: str, corpus: Rows, generic: dict[str, Report]) -> None:
    seen = 0
    for name, row in corpus.items():
        match = re.match(r"ok \D*(\d+)", row[tool])
        if match is None:
            continue
        footer = generic[name].image.footer
        assert footer is not None
        assert (int(match[1]) != footer.current_size) == (slug in slugs(generic[name])), name
        seen += slug in slugs(generic[name])
    assert seen


def test_header_level_work_takes_few_reads(generic: dict[str, Report]) -> None:
    for name, report in generic.items():
        table = 4 * report.image.header.max_table_entries if report.image.header else 0
        assert report.rounds <= 4, name
        assert report.bytes_read <= 2 * 4096 + 2 * 65536 + 2 * table + 65536, name


def test_deep_finds_no_more_errors_in_valid_images(corpus: Rows) -> None:
    for name, row in corpus.items():
        if row["what"].startswith("valid"):
            deep = check(row["path"], target="generic", now=NOW, deep=True)
            assert deep.ok, name
            bitmaps = {"empty-bitmap", "batmap-contradicts-bitmap", "bitmap-padding"}
            assert not slugs(deep) & bitmaps, name
