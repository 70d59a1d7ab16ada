"""What a run comes to: its exit status, by what was found in it and in the one that it resumes."""

from __future__ import annotations

import pytest

from fixtures.writer import MIB, dynamic, fixed
from vhdcheck import Severity, check
from vhdcheck.report.results import Before, Results, Tally, summary
from vhdcheck.verdict.report import Failure

GOOD = check(fixed(3 * MIB).tobytes(), name="good.vhd")
WARNED = check(dynamic(10 * MIB, blocks=[0], saved_state=1).tobytes(), name="warned.vhd", target="generic")
REFUSED = check(fixed(3 * MIB, unique_id=bytes(16)).tobytes(), name="refused.vhd")
FAILED = Failure("gone.vhd", "No such file or directory")


def results(*found: object, before: Before | None = None, **options: object) -> Results:
    made = Results(before=before or Before(), **options)  # type: ignore[arg-type]
    for each in found:
        made.add(each)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("found", "options", "status"),
    [
        ((), {}, 2),
        ((GOOD,), {}, 0),
        ((GOOD, WARNED), {}, 0),
        ((GOOD, WARNED), {"fail_on": Severity.WARNING}, 1),
        ((GOOD,), {"fail_on": Severity.WARNING}, 0),
        ((GOOD, REFUSED), {}, 1),
        ((GOOD, REFUSED), {"exit_zero": True}, 0),
        ((GOOD, FAILED), {}, 2),
        ((GOOD, FAILED), {"exit_zero": True}, 2),
        ((), {"skipped_texts": 1}, 2),
        ((), {"skipped_texts": 1, "texts_suffice": True}, 0),
        ((), {"texts_suffice": True}, 2),
        ((GOOD,), {"crashed": 1}, 2),
        ((GOOD,), {"broken_chains": 1}, 1),
        ((GOOD,), {"before": Before(skipped=1)}, 0),
        ((), {"before": Before(skipped=1)}, 0),
        ((GOOD,), {"before": Before(skipped=1, refused=1)}, 1),
        ((GOOD,), {"before": Before(skipped=1, failed=1)}, 2),
        ((GOOD,), {"before": Before(skipped=1, warned=1)}, 0),
        ((GOOD,), {"before": Before(skipped=1, warned=1), "fail_on": Severity.WARNING}, 1),
    ],
)
def test_the_exit_status(found: tuple[object, ...], options: dict[str, object], status: int) -> None:
    assert results(*found, **options).exit_status == status  # type: ignore[arg-type]


def test_which_results_fail() -> None:
    for fail_on, fails in ((Severity.ERROR, [False, False, True, True]), (Severity.WARNING, [False, True, True, True])):
        assert [Tally.of(each).fails(fail_on) for each in (GOOD, WARNED, REFUSED, FAILED)] == fails


def test_what_was_done_before_is_counted_by_its_verdict() -> None:
    before = Before({"a": "accepted", "b": "refused", "c": "accepted with warnings", "d": "not checked"})
    assert [before.has(name) for name in "abcde"] == [True] * 4 + [False]
    assert (before.skipped, before.refused, before.warned, before.failed) == (4, 1, 1, 1)


@pytest.mark.parametrize(("number", "told"), [(2, ": "), (3, ": "), (4, ", such as "), (5, ", such as ")])
def test_three_examples_of_a_code(number: int, told: str) -> None:
    line, census = summary(results(*[REFUSED] * number))
    assert line == f"  614: {number} images{told}{', '.join(['refused.vhd'] * min(number, 3))}"
    assert census.startswith(f"{number} images: {number} refused; ")
