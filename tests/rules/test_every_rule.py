"""Each rule finds what it is about and passes by what is nearly that, and says so usefully."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fixtures.recipes import CASES, NOW, Case
from vhdcheck import Code, Severity, check
from vhdcheck.rules import FAMILIES, RULES, registry
from vhdcheck.rules.registry import Fault, Rule
from vhdcheck.targets import load, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vhdcheck import Report
    from vhdcheck.format.structures import Footer

    Checked = Callable[[Case], Report]

TRIED = {rule.slug: rule for rule in RULES.values() if rule.id != "VHD999"}
COMMANDS = re.compile(r"[`{}]|&&|(?<!\w)-[a-zA-Z] |--[a-z]")
"""What a command has and words have not; commands are not the rules' business."""

BY_THE_CASE = {"VHD109", "VHD402", "VHD502"}
"""Rules whose doubt depends on the case."""

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_findings_are_exactly_these(case: Case, checked: Checked) -> None:
    found = sorted((finding.severity.word, finding.slug) for finding in checked(case).findings)
    assert found == list(case.findings)


@every_case
def test_every_finding_says_what_where_and_how_to_mend_it(case: Case, checked: Checked) -> None:
    report = checked(case)
    for finding in report.findings:
        assert RULES[finding.rule].slug == finding.slug
        assert finding.message
        assert not finding.message.endswith(".")
        assert finding.fix or finding.severity == Severity.NOTE
        assert not COMMANDS.search(finding.fix)
        if finding.rule not in BY_THE_CASE:
            assert finding.doubts == RULES[finding.rule].doubts
        assert finding.at is not None
        assert finding.at.field
        for place in (finding.at, *finding.related):
            assert 0 <= place.offset <= report.size
            assert place.length >= 0


@every_case
def test_the_verdict_follows_the_findings(case: Case, checked: Checked) -> None:
    report = checked(case)
    refused = any(severity == "error" for severity, _ in case.findings)
    assert (report.ok, report.code is None, report.message is None) == (not refused, not refused, not refused)
    assert not report.crashed


@pytest.mark.parametrize("case", [case for case in CASES if case.rule], ids=lambda case: case.name)
def test_a_case_is_what_it_is_called(case: Case) -> None:
    assert case.rule in TRIED
    assert case.kind in ("hit", "near")
    assert (case.rule in {slug for _, slug in case.findings}) == (case.kind == "hit")


@pytest.mark.parametrize("kind", ["hit", "near"])
def test_every_rule_has_such_a_case(kind: str) -> None:
    assert {case.rule for case in CASES if case.kind == kind} == set(TRIED)


def test_what_real_writers_do_is_never_refused_by_the_format(checked: Checked) -> None:
    cases = [replace(case, target="generic") for case in CASES if case.kind == "fine"]
    assert cases
    assert [case.name for case in cases if not checked(case).ok] == []


@pytest.mark.parametrize("target", names())
def test_what_a_target_refuses_is_an_error_there(target: str, checked: Checked) -> None:
    refuses = load(target).refuses
    hits = [replace(case, target=target) for case in CASES if case.kind == "hit" and case.rule in refuses]
    assert {case.rule for case in hits} == refuses
    for case in hits:
        finding = next(finding for finding in checked(case).findings if finding.slug == case.rule)
        assert (finding.severity, finding.raised_by) == (Severity.ERROR, target), case.name


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.slug)
def test_every_rule_explains_itself(rule: Rule) -> None:
    assert rule.title.endswith(".")
    assert rule.title[0].isupper()
    assert len(rule.title) <= 100
    for section in (rule.checks, rule.matters, rule.fix):
        assert section
        assert section[-1] == "."
    assert not COMMANDS.search(rule.fix)
    assert rule.part in registry.PARTS
    assert rule.doubts in ("", "data", "description")
    assert rule.spec
    assert re.fullmatch(r"VHD\d{3}", rule.id)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.slug)


def test_a_number_says_which_file_its_rule_is_in() -> None:
    for module, ranges in FAMILIES.items():
        declared = [rule for rule in RULES.values() if rule.examines.__module__ == module.__name__]
        numbers = [int(rule.id.removeprefix("VHD")) for rule in declared]
        assert declared
        assert [number for number in numbers if not any(number in each for each in ranges)] == []
        lines = [rule.examines.__code__.co_firstlineno for rule in declared]
        assert lines == sorted(lines), f"{module.__name__}: the rules do not stand in order"
    taken = [number for ranges in FAMILIES.values() for each in ranges for number in each]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize(
    ("slug", "doubts"),
    [
        ("overlapping-blocks", "data"),
        ("footer-copies-differ", "data"),
        ("truncated", "data"),
        ("table-offset", "data"),
        ("footer-checksum", "description"),
        ("batmap-header", "description"),
        ("entry-beyond-disk", "description"),
        ("virtual-size-over-limit", ""),
        ("hidden", ""),
    ],
)
def test_a_rule_knows_what_it_doubts(slug: str, doubts: str) -> None:
    assert next(rule for rule in RULES.values() if rule.slug == slug).doubts == doubts


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the first rule raise, once it has found these faults."""

    def install(*faults: Fault) -> None:
        def examines(footer: Footer) -> Iterator[Fault]:
            yield from faults
            raise ZeroDivisionError("by accident")

        first, *others = (each for each in RULES.values() if each.part == "footer")
        assert first.slug == "footer-cookie"
        monkeypatch.setitem(registry._OF_PART, "footer", registry.bound([replace(first, examines=examines), *others]))

    return install


def built(name: str) -> bytes:
    """Build a case's image by its name."""
    return next(case for case in CASES if case.name == name).build().tobytes()


@pytest.mark.parametrize("target", [name for name in names() if "fixed" in load(name).disk_types])
def test_a_rule_that_raises_refuses_the_image(target: str, breaks: Callable[..., None]) -> None:
    image = built("dynamic-xen-orchestra" if target == "xen-orchestra" else "fixed-azure")
    before = check(image, target=target, now=NOW)
    assert before.ok
    breaks()
    report = check(image, target=target, now=NOW)
    assert (report.ok, report.code, report.crashed) == (False, Code.UNSPECIFIED, True)
    finding, *others = report.findings
    assert others == list(before.findings)
    assert (finding.rule, finding.slug, finding.severity) == ("VHD999", "internal-error", Severity.ERROR)
    assert finding.message.endswith(": VHD101 footer-cookie: ZeroDivisionError: by accident")
    assert finding.fix


def test_a_rule_that_raises_takes_nothing_else_with_it(breaks: Callable[..., None]) -> None:
    breaks(Fault("found before"))
    findings = check(built("saved-1"), now=NOW).findings
    assert {finding.slug for finding in findings} == {"footer-cookie", "internal-error", "saved-state", "no-blocks"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dynamic-footer-alone", "a file with room for a header"),
        ("header-over-the-end", "a multiple of 512 from 0x200 to 0x400"),
    ],
)
def test_what_is_expected_can_be_had(name: str, expected: str) -> None:
    (finding,) = [each for each in check(built(name), now=NOW).findings if each.slug == "dynamic-data-offset"]
    assert finding.expected == expected


def test_a_footer_alone_is_not_to_be_mended() -> None:
    report = check(built("dynamic-footer-alone"), now=NOW)
    (finding,) = [each for each in report.findings if each.slug == "footer-copy-missing"]
    assert finding.found == "the footer itself: the file has nothing else"
    assert finding.fix == "transfer the image again: all but its footer is missing"


@pytest.mark.parametrize(
    ("name", "slug", "doubts"),
    [
        ("stand-alone-with-parent-time", "parent-on-stand-alone-disk", "description"),
        ("stand-alone-with-parent-id", "parent-on-stand-alone-disk", "data"),
        ("dynamic-before-another-footer", "leftover-data", "data"),
    ],
)
def test_a_doubt_that_depends_on_the_case(name: str, slug: str, doubts: str) -> None:
    """Without ID and name, parent fields are left over; a footer in unused space is that of another image."""
    (finding,) = [each for each in check(built(name), now=NOW).findings if each.slug == slug]
    assert finding.doubts == doubts
