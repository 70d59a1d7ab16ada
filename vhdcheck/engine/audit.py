"""Many images, over any `concurrent.futures.Executor`: lazily, in batches, so many of them at a time."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vhdcheck import targets
from vhdcheck.engine.check import Settled, resolve, with_chain
from vhdcheck.engine.parents import Parents
from vhdcheck.errors import UsageError, VhdcheckError
from vhdcheck.image import slimmed
from vhdcheck.redaction import redacted, without_urls
from vhdcheck.verdict.report import Failure, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future
    from typing import Unpack

    from vhdcheck.engine.options import CheckOptions
    from vhdcheck.sources.source import Source

BATCH: Final = 64
"""Images a task: 10 ms of work on local files, so that handing it over, up to 1 ms on a cluster, counts little."""

Finish: TypeAlias = "Callable[[Report], Report]"
Work: TypeAlias = "tuple[tuple[str, ...], CheckOptions, Finish | None]"
"""Sources, the arguments of `check`, and what is done to each report."""


def audit(
    sources: Iterable[str | os.PathLike[str]],
    *,
    executor: Executor | None = None,
    batch: int = BATCH,
    window: int | None = None,
    finish: Finish | None = None,
    **options: Unpack[CheckOptions],
) -> Iterator[Report | Failure]:
    """Check many images, and yield a report for each as it completes, in no certain order.

    What cannot be checked costs one Failure, whatever the reason. `sources` may be endless: no more of it is taken than
    is under way. The reports are the same with every executor; they do without the few large parts of an image's
    metadata (`image.slack.data`, `image.batmap.map`, the locators' `data`), so that they pass quickly between
    processes and many of them can be kept.

    A batch whose worker fails as a whole is tried again, alone and then in halves, so that an image that kills its
    worker costs a Failure for itself only. Batches may so be checked twice, and are reported once. It takes an
    executor that replaces lost workers, as a cluster does; a `ProcessPoolExecutor` does not,
    `vhdcheck.engine.executors.Processes` does.

    Args:
        sources: paths and URLs.
        executor: where to check; the caller closes it. Only `submit` with one positional argument is used, and that
            and its result can be pickled. Without one, images are checked here, one after the other.
        batch: images a task.
        window: tasks under way at the same time; by default four for each of this machine's processors.
        finish: applied to each report where the image was checked: `vhdcheck.mend.with_repair`, say. With an
            executor it can be pickled.
        **options: as in `check`: `vhdcheck.CheckOptions` explains them.

    Raises:
        UsageError: an unknown target, a malformed limit, an empty batch or window, one path instead of many.
        Exception: whatever `executor.submit` raises, when the executor takes no more work.

    Examples:
        >>> from vhdcheck import audit
        >>> [result.source for result in audit(["fixtures/dynamic-empty.vhd", "none.vhd"])]
        ['fixtures/dynamic-empty.vhd', 'none.vhd']
    """
    if isinstance(sources, (str, bytes, os.PathLike)):
        shown = redacted(repr(sources))
        raise UsageError(f"audit takes many sources, and this is one: give [{shown}], or use check")
    if window is None:
        window = 4 * (os.cpu_count() or 1)
    if batch < 1 or window < 1:
        raise UsageError(f"batch and window are at least 1, not {batch} and {window}")
    target = resolve(
        options.pop("target", targets.DEFAULT),
        options.pop("max_virtual_size", None),
        options.pop("max_physical_size", None),
    )
    parents = options.pop("parents", None)
    settled: CheckOptions = {**options, "target": target}
    Settled.by(**settled)  # what is wrong with them is said here, once
    paths = (os.fspath(source) for source in sources)
    if executor is None:
        found: Iterator[Report | Failure] = (
            checked(path, settled, finish=finish if parents is None else None) for path in paths
        )
    else:
        found = _Dispatch(executor, settled, finish if parents is None else None).results(paths, batch, window)
    if parents is None:
        return found
    family = parents if isinstance(parents, Parents) else Parents(parents)
    results = (with_family(result, family, now=options.get("now")) for result in found)
    if finish is None:
        return results
    return (result if isinstance(result, Failure) else finish(result) for result in results)


def check_batch(work: Work) -> list[Report | Failure]:
    """Check a batch: what runs in a worker."""
    sources, options, finish = work
    return [checked(source, options, finish=finish) for source in sources]


def checked(
    source: str,
    options: CheckOptions,
    watch: Callable[[Source], Source] | None = None,
    *,
    finish: Finish | None = None,
) -> Report | Failure:
    """Check one image; whatever goes wrong is a Failure.

    Args:
        source: a path or a URL.
        options: as in `check`, all of them right.
        watch: put around the driver, to see what is read.
        finish: applied to the report.
    """
    settled = Settled.by(**options)
    try:
        with settled.opened(source, None) as reader:
            report = settled.examined(watch(reader) if watch is not None else reader)
        if finish is not None:
            report = finish(report)
    except VhdcheckError as error:
        return Failure(redacted(source), str(error).removeprefix(f"{redacted(source)}: "))
    except Exception as error:  # noqa: BLE001 (a defect of vhdcheck must not end a run of a million images)
        return Failure(redacted(source), f"vhdcheck failed: {_words(error)}")
    return replace(report, image=slimmed(report.image))


def with_family(result: Report | Failure, parents: Parents | None, *, now: float | None = None) -> Report | Failure:
    """Add what is found of an image's parents, where some are given; not in a worker, so that each is read once."""
    if parents is None or isinstance(result, Failure):
        return result
    try:
        return with_chain(result, result.source, parents, now=now)
    except VhdcheckError as error:
        return Failure(result.source, f"its parents cannot be read: {error}")


class _Dispatch:
    """Batches under way in an executor."""

    def __init__(self, executor: Executor, options: CheckOptions, finish: Finish | None) -> None:
        self._executor = executor
        self._options, self._finish = options, finish
        self._flying: dict[Future[list[Report | Failure]], tuple[str, ...]] = {}

    def results(self, paths: Iterator[str], batch: int, window: int) -> Iterator[Report | Failure]:
        """Keep `window` batches under way, and yield what they come to."""
        from concurrent.futures import FIRST_COMPLETED, wait  # 5 ms, for an executor only

        suspects: deque[tuple[str, ...]] = deque()
        try:
            while True:
                # With a suspect the window runs dry first: who is then alone in the executor is to blame.
                while not suspects and len(self._flying) < window and (sources := tuple(islice(paths, batch))):
                    self._submit(sources)
                if self._flying:
                    for future in wait(self._flying, return_when=FIRST_COMPLETED).done:
                        sources = self._flying.pop(future)
                        if _error(future) is None:
                            yield from future.result()
                        else:
                            suspects.append(sources)
                elif suspects:
                    yield from self._alone(suspects.popleft())
                else:
                    return
        finally:
            for future in self._flying:
                future.cancel()

    def _submit(self, sources: tuple[str, ...]) -> Future[list[Report | Failure]]:
        future = self._executor.submit(check_batch, (sources, self._options, self._finish))
        self._flying[future] = sources
        return future

    def _alone(self, sources: tuple[str, ...]) -> Iterator[Report | Failure]:
        """Try a batch again, in halves where it fails again, with nothing else under way."""
        stack = [sources]
        while stack:
            sources = stack.pop()
            future = self._submit(sources)
            error = _error(future)
            del self._flying[future]
            if error is None:
                yield from future.result()
            elif len(sources) == 1:
                yield Failure(redacted(sources[0]), f"the worker that checked it failed: {_words(error)}")
            else:
                middle = len(sources) // 2
                stack += [sources[middle:], sources[:middle]]


def _error(future: Future[Any]) -> BaseException | None:
    """Wait for a future, and return what it failed with."""
    from concurrent.futures import CancelledError  # 5 ms, for an executor only

    try:
        return future.exception()
    except CancelledError as error:  # by the executor: a cluster that lost its scheduler
        return error


def _words(error: BaseException) -> str:
    """Name an error in one line."""
    text = without_urls(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
