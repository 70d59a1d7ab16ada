"""The promises of `audit`, over executors of every temper: all images once, lazily, whatever a worker does."""

from __future__ import annotations

import itertools
import pickle
import subprocess
import sys
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, Locator, differencing, dynamic
from tests.audit.conftest import Eager, Late
from vhdcheck import Failure, Report, SourceError, UsageError, audit, check
from vhdcheck.engine.check import Settled
from vhdcheck.engine.executors import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

    from vhdcheck import Source

ROOT = Path(__file__).resolve().parents[2]

EXECUTORS: dict[str, Callable[[], Executor | None]] = {
    "none": lambda: None,
    "threads": lambda: ThreadPoolExecutor(3),
    "processes": lambda: ProcessPoolExecutor(2),
    "our processes": lambda: Processes(2),
    "eager": Eager,
    "late": Late,
}


def sources(results: list[Report | Failure]) -> list[str]:
    return sorted(result.source for result in results)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # what ProcessPoolExecutor does is its own matter
@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.parametrize(("batch", "window"), [(1, 1), (7, 3), (64, None)])
def test_every_executor_reports_each_image_once_and_the_same(
    images: Callable[[int], list[str]], name: str, batch: int, window: int | None
) -> None:
    paths = [*images(60), "none.vhd", str(ROOT)]
    executor = EXECUTORS[name]()
    try:
        results = list(audit(paths, executor=executor, batch=batch, window=window, now=1.8e9, target="azure"))
    finally:
        if executor is not None:
            executor.shutdown()
    assert sources(results) == sorted(paths)
    expected = {result.source: result for result in audit(paths, now=1.8e9, target="azure")}
    assert {result.source: result for result in results} == expected
    failures = {result.source: result.reason for result in results if isinstance(result, Failure)}
    assert failures == {
        "none.vhd": "No such file or directory",
        str(ROOT): "a directory, not a regular file or block device",
    }


def test_a_report_is_that_of_check_but_for_what_is_long(images: Callable[[int], list[str]]) -> None:
    for path in images(3):
        (report,) = audit([Path(path)], now=1.8e9)
        assert report == check(path, now=1.8e9)


def test_reports_pickle_small(tmp_path: Path) -> None:
    """Whatever the image: slack of 64 KiB, a batmap of 128 KiB, locators of 60 KiB. The name comes on top."""
    long = tuple(Locator(code, bytes(60 << 10)) for code in (b"W2ru", b"W2ku", b"MacX"))
    made = [
        differencing(10 * MIB, blocks=[0], locators=long).write(tmp_path / "a.vhd"),
        dynamic(2040 << 30, creator=b"tap\0", batmap=True).write(tmp_path / "b.vhd"),
    ]
    lengths = []
    for path in [*made, *(ROOT / "fixtures").rglob("*.vhd")]:
        (report,) = audit([path], deep=True)
        pickled = pickle.dumps(report)
        assert b"numpy" not in pickled
        lengths.append(len(pickled) - len(str(path)))
    assert max(lengths) < 8_500
    assert sorted(lengths)[len(lengths) // 2] < 6_000


def counted(paths: list[str], taken: list[str]) -> Iterator[str]:
    for path in itertools.cycle(paths):
        taken.append(path)
        yield path


def test_few_images_keep_many_workers_busy(images: Callable[[int], list[str]]) -> None:
    """And many are handed over at little cost."""
    few, many = Eager(), Eager()
    assert len(list(audit(images(60), executor=few, window=16))) == 60
    assert max(map(len, few.batches)) <= 60 // 15
    assert len(list(audit(images(3000), executor=many, window=16))) == 3000
    sizes = [len(batch) for batch in many.batches]
    assert sorted(sizes[:-1]) == sizes[:-1]
    assert (sizes[0], max(sizes)) == (4, 64)
    assert sum(size == 64 for size in sizes) > 30


@pytest.mark.parametrize("name", ["none", "threads", "eager", "late"])
def test_no_more_is_taken_than_is_under_way(images: Callable[[int], list[str]], name: str) -> None:
    """The sources have no end."""
    taken: list[str] = []
    executor = EXECUTORS[name]()
    reports = audit(counted(images(9), taken), executor=executor, batch=5, window=4)
    assert taken == []
    for number in range(1, 101):
        next(reports)
        assert len(taken) < number + 5 * 4 + 5
    if executor is not None:
        reports.close()  # type: ignore[attr-defined]
        executor.shutdown()
    assert len(taken) < 100 + 5 * 4 + 5


def test_what_was_not_begun_is_cancelled(images: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1) as executor:
        submitted: list[Future[Any]] = []
        really_submit = executor.submit

        def submit(*words: Any) -> Future[Any]:
            submitted.append(really_submit(*words))
            return submitted[-1]

        monkeypatch.setattr(executor, "submit", submit)
        reports = audit(images(600), executor=executor, batch=10, window=40)
        next(reports)
        reports.close()  # type: ignore[attr-defined]
        assert executor.submit(int).result() == 0, "the executor stays open"
    assert len(submitted) == 41
    assert sum(future.cancelled() for future in submitted) > 20


@pytest.mark.parametrize("error", [BrokenExecutor("a worker died"), TypeError("cannot pickle")])
@pytest.mark.parametrize("poison", [{0}, {63}, {17, 18, 40}, set(range(64)), set()])
def test_poison_costs_one_failure_each(
    images: Callable[[int], list[str]], error: BaseException, poison: set[int]
) -> None:
    paths = images(64)
    bad = {paths[number] for number in poison}
    executor = Eager(lambda batch: error if bad & set(batch) else None)
    results = list(audit(paths, executor=executor, batch=16, window=3))
    assert sources(results) == paths
    failures = [result for result in results if isinstance(result, Failure)]
    assert {failure.source for failure in failures} == bad
    assert {failure.reason for failure in failures} <= {
        f"the worker that checked it failed: {type(error).__name__}" + (f": {error}" if str(error) else "")
    }


def test_a_bystander_is_never_blamed(images: Callable[[int], list[str]]) -> None:
    """When a pool breaks, all that is under way fails: only who fails alone is to blame."""
    paths = images(40)
    broken = itertools.count()

    def failing(batch: tuple[str, ...]) -> BaseException | None:
        return BrokenExecutor("all of it") if next(broken) < 6 or paths[11] in batch else None

    executor = Late(failing)
    results = list(audit(paths, executor=executor, batch=4, window=6))
    assert sources(results) == paths
    assert [result.source for result in results if isinstance(result, Failure)] == [paths[11]]


def test_an_executor_that_takes_no_more_work_is_the_caller_s_to_know(images: Callable[[int], list[str]]) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(audit(images(3), executor=executor))


def test_a_list_that_breaks_off_breaks_the_audit_off(images: Callable[[int], list[str]]) -> None:
    def listed() -> Iterator[str]:
        yield from images(3)
        raise SourceError("list.txt: gone")

    results = audit(listed())
    assert len(list(itertools.islice(results, 3))) == 3
    with pytest.raises(SourceError, match="gone"):
        next(results)


def test_wrong_arguments_are_told_at_once() -> None:
    wrong: list[dict[str, Any]] = [{"target": "azur"}, {"max_virtual_size": "x"}, {"batch": 0}, {"window": 0}]
    for words in wrong:
        with pytest.raises(UsageError):
            audit([], **words)


def test_a_defect_of_ours_costs_one_line(images: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Settled.examined

    def broken(settled: Settled, reader: Source) -> Report:
        if reader.name.endswith("2.vhd"):
            raise ZeroDivisionError("division\nby zero")
        return sound(settled, reader)

    monkeypatch.setattr(Settled, "examined", broken)
    results = list(audit(images(4)))
    assert [type(result) for result in results] == [Report, Report, Failure, Report]
    assert results[2] == Failure(images(3)[2], "vhdcheck failed: ZeroDivisionError: division by zero")


def test_the_function_is_not_hidden_by_a_module_of_its_name() -> None:
    line = "import vhdcheck.engine.audit; from vhdcheck import audit; assert list(audit([])) == []"
    subprocess.run([sys.executable, "-c", line], cwd=ROOT, check=True, timeout=60)
