from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fixtures.writer import GIB, MIB, dynamic
from vhdcheck import Severity, SourceError, UsageError, check, iter_findings, rules, targets
from vhdcheck.targets import Target, load, names

IMAGE = dynamic(10 * MIB, blocks=[0], saved_state=1).tobytes()


def test_the_targets_that_come_with_it() -> None:
    assert list(names()) == sorted(path.stem for path in Path(targets.__file__).parent.glob("*.toml"))
    assert {"rackspace", "generic"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_each_target_is_complete(name: str) -> None:
    target = load(name)
    assert target.name == name
    assert target.title
    assert target.source
    assert target.refuses <= rules.SLUGS
    raised = {rules.find(slug).severity for slug in target.refuses}
    assert Severity.ERROR not in raised, "what is an ERROR anyway need not be raised"
    assert check(IMAGE, target=name).target == target


def test_rackspace_s_limits_are_the_source_document_s() -> None:
    target = load("rackspace")
    assert (target.max_virtual_size, target.max_physical_size) == (40 * GIB, 40 * GIB)
    assert "differencing" not in target.disk_types


def test_generic_asks_for_nothing() -> None:
    generic = load("generic")
    assert generic == Target("generic", generic.title, generic.accepts, generic.source)


@pytest.mark.parametrize("limit", [160 * GIB, "160GiB", "160GB", "171798691840"])
def test_limits_are_overridden(limit: str | int) -> None:
    target = load("rackspace", max_virtual_size=limit)
    assert target == dataclasses.replace(load("rackspace"), max_virtual_size=160 * GIB)
    target = load("rackspace", max_physical_size=limit)
    assert target == dataclasses.replace(load("rackspace"), max_physical_size=160 * GIB)
    assert load("rackspace").max_virtual_size == 40 * GIB, "the override leaked into the bundled target"


def test_an_override_judges() -> None:
    size = 10 * MIB
    assert check(IMAGE, target="generic", max_virtual_size=size).ok
    report = check(IMAGE, target="generic", max_virtual_size=size - 1)
    assert report.message is not None
    assert report.message.startswith("413: ")
    assert check(IMAGE, target="generic", max_physical_size=len(IMAGE)).ok
    assert check(IMAGE, target="generic", max_physical_size=len(IMAGE) - 1).code == 609
    assert check(IMAGE, target="generic", max_virtual_size=0).code == 413
    assert next(iter_findings(IMAGE, target="generic", max_physical_size="1k")).code == 609


@pytest.mark.parametrize("which", ["max_virtual_size", "max_physical_size"])
def test_a_cylinder_is_near_where_one_percent_is_less(which: str) -> None:
    """Bundled targets have limits of which 1 % is more than the largest cylinder: 16 heads by 255 sectors."""
    size = 10 * MIB if which == "max_virtual_size" else len(IMAGE)
    for below, slugs in ((16 * 255 * 512, {"near-limit"}), (16 * 255 * 512 + 1, set())):
        report = check(IMAGE, target="generic", **{which: size + below})  # type: ignore[arg-type]
        assert {finding.slug for finding in report.findings} & {"near-limit"} == slugs


@pytest.mark.parametrize("limit", ["40 apples", -1, True, ""])
def test_a_malformed_limit(limit: str | int) -> None:
    for name in ("max_virtual_size", "max_physical_size"):
        with pytest.raises(UsageError):
            check(IMAGE, **{name: limit})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rackspce", "RACKSPACE", "", "generic "])
def test_an_unknown_target(name: str) -> None:
    with pytest.raises(UsageError, match="one of aws, azure, generic"):
        check(IMAGE, target=name)
    with pytest.raises(UsageError, match="unknown target"):
        iter_findings(IMAGE, target=name)  # at once, not with the first finding


def own(tmp_path: Path, text: str, name: str = "mine.toml") -> str:
    """Write a target of one's own."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_target_of_one_s_own(tmp_path: Path) -> None:
    path = own(
        tmp_path,
        """
        title = "Ours"
        disk_types = ["dynamic"]
        max_virtual_size = "8MiB"
        min_virtual_size = 1048576
        virtual_size_multiple = "1MiB"
        file_is_virtual_plus_footer = true
        unresizable_creators = ["qemu"]
        refuses = ["saved-state"]
        """,
    )
    target = load(path)
    assert target == Target(
        "mine",
        "Ours",
        disk_types=("dynamic",),
        max_virtual_size=8 * MIB,
        min_virtual_size=MIB,
        virtual_size_multiple=MIB,
        file_is_virtual_plus_footer=True,
        unresizable_creators=("qemu",),
        refuses=frozenset({"saved-state"}),
    )
    report = check(IMAGE, target=path)
    assert {finding.slug for finding in report.findings if finding.severity == Severity.ERROR} == {
        "saved-state",
        "virtual-size-over-limit",
    }
    raised = [finding for finding in report.findings if finding.raised_by]
    assert [(finding.slug, finding.raised_by) for finding in raised] == [("saved-state", "mine")]
    assert load(own(tmp_path, 'name = "ours"')).name == "ours"
    assert load(own(tmp_path, "")) == Target("mine")


def test_a_target_may_be_made_in_code() -> None:
    target = Target("mine", max_virtual_size=5)
    assert load(target) is target
    assert check(IMAGE, target=target).code == 413
    assert load(target, max_virtual_size="1GiB") == Target("mine", max_virtual_size=GIB)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('refuse = ["saved-state"]', "unknown key 'refuse', did you mean 'refuses'"),
        ("max_virtual_szie = 5", "unknown key 'max_virtual_szie', did you mean 'max_virtual_size'"),
        ("zzz = 5", "unknown key 'zzz'$"),
        ("max_virtual_size = -5", "negative"),
        ("max_virtual_size = true", "not a size"),
        ("max_virtual_size = 1.5", "not a size"),
        ("max_virtual_size = []", "not a size"),
        ('max_physical_size = "forty"', "not a size: 'forty'"),
        ("virtual_size_multiple = 0", "virtual_size_multiple cannot be zero"),
        ('refuses = "saved-state"', "refuses takes a list of strings"),
        ("refuses = [1]", "refuses takes a list of strings"),
        ('disk_types = ["fixd"]', "unknown disk type 'fixd': fixed, dynamic, differencing"),
        ('disk_types = { a = "fixed" }', "disk_types takes a list"),
        ('file_is_virtual_plus_footer = "yes"', "file_is_virtual_plus_footer takes a boolean"),
        ("file_is_virtual_plus_footer = 1", "file_is_virtual_plus_footer takes a boolean"),
        ("title = 5", "title takes a string"),
        ("name = []", "name takes a string"),
        ("name = 2020-01-01", "name takes a string"),
        ("= 5", "not a TOML file"),
        ("\x00", "not a TOML file"),
        ("a = " + "[" * 5000, "not a TOML file"),
    ],
)
def test_a_target_with_a_mistake(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        load(own(tmp_path, text))
    assert str(tmp_path / "mine.toml") in str(caught.value)


def test_a_target_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(UsageError, match="not a TOML file"):
        load(str(tmp_path / "mine.toml"))


def test_a_target_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.toml: No such file"):
        load(str(tmp_path / "nowhere.toml"))
    for impossible in ("a\0.toml", "\ud800.toml"):
        with pytest.raises(SourceError, match=r"\.toml: "):
            check(b"", target=impossible)
    with pytest.raises(SourceError, match="directory"):
        load(f"{tmp_path}/")


def test_a_target_that_refuses_an_unknown_rule(tmp_path: Path) -> None:
    path = own(tmp_path, 'refuses = ["saved-state", "saved-sate"]')
    for function in (check, iter_findings):
        with pytest.raises(UsageError, match="target mine: unknown rule 'saved-sate', did you mean 'saved-state'"):
            function(IMAGE, target=path)


def test_a_target_cannot_lower_what_the_format_calls_an_error() -> None:
    broken = bytearray(IMAGE)
    broken[-448] ^= 1
    everything = Target("strict", refuses=rules.SLUGS)
    slugs = [finding.slug for finding in check(bytes(broken), target="generic").findings]
    strict = check(bytes(broken), target=everything)
    assert [finding.slug for finding in strict.findings if finding.severity < Severity.ERROR] == []
    assert sorted(finding.slug for finding in strict.findings) == sorted(slugs)
    by_format = {finding.slug for finding in strict.findings if not finding.raised_by}
    assert by_format == {
        finding.slug for finding in check(bytes(broken), target="generic").findings if finding.severity == 3
    }
