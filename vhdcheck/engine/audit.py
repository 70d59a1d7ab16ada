"""Many images, over any `concurrent.futures.Executor`: lazily, in batches, so many of them at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from vhdcheck.engine.check import Settled, with_chain
from vhdcheck.engine.dispatch import dispatched, in_words
from vhdcheck.engine.parents import Parents
from vhdcheck.errors import UsageError, VhdcheckError
from vhdcheck.image import slimmed
from vhdcheck.redaction import redacted
from vhdcheck.verdict.report import Failure, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from typing import Unpack

    from vhdcheck.engine.options import CheckOptions
    from vhdcheck.sources.source import Source

BATCH: Final = 64
"""Images a task: 10 ms of work on local files, so that handing it over, up to 1 ms on a cluster, counts little."""

Finish: TypeAlias = "Callable[[Report], Report]"


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
        batch: images a task, at the most; the first tasks are smaller, so that few images keep many workers busy.
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
    parents = options.pop("parents", None)
    settled = Settled.by(**options)  # what is wrong with them is said here, once
    found = dispatched(
        (os.fspath(source) for source in sources),
        _Checks(settled, finish if parents is None else None),
        _lost,
        executor=executor,
        batch=batch,
        window=window,
    )
    if parents is None:
        return found
    family = parents if isinstance(parents, Parents) else Parents(parents)
    results = (with_family(result, family, now=settled.now) for result in found)
    return results if finish is None else (finished(result, finish) for result in results)


@dataclass(frozen=True, slots=True)
class _Checks:
    """What is done to a batch of sources."""

    settled: Settled
    finish: Finish | None

    def __call__(self, sources: Sequence[str]) -> list[Report | Failure]:
        return [finished(checked(source, self.settled), self.finish) for source in sources]


def _lost(source: str, reason: str) -> Failure:
    return Failure(redacted(source), reason)


def checked(source: str, settled: Settled, watch: Callable[[Source], Source] | None = None) -> Report | Failure:
    """Check one image; whatever goes wrong is a Failure.

    Args:
        source: a path or a URL.
        settled: how to check it.
        watch: put around the driver, to see what is read.
    """
    try:
        if watch is None:
            return settled.report(source, None)
        with settled.opened(source, None) as reader:
            return settled.examined(watch(reader))
    except Exception as error:  # noqa: BLE001 (a defect of vhdcheck must not end a run of a million images)
        return failure(source, error)


def finished(result: Report | Failure, finish: Finish | None) -> Report | Failure:
    """Apply to a report what is to be done where the image was checked, and leave out of it what is long."""
    if isinstance(result, Failure):
        return result
    if finish is not None:
        try:
            result = finish(result)
        except Exception as error:  # noqa: BLE001 (as above)
            return failure(result.source, error)
    image = slimmed(result.image)
    return result if image is result.image else replace(result, image=image)


def failure(source: str, error: Exception) -> Failure:
    """Say why an image could not be checked."""
    name = redacted(source)
    if isinstance(error, VhdcheckError):
        return Failure(name, str(error).removeprefix(f"{name}: "))
    return Failure(name, f"vhdcheck failed: {in_words(error)}")


def with_family(result: Report | Failure, parents: Parents | None, *, now: float | None = None) -> Report | Failure:
    """Add what is found of an image's parents, where some are given; not in a worker, so that each is read once."""
    if parents is None or isinstance(result, Failure):
        return result
    try:
        return with_chain(result, result.source, parents, now=now)
    except VhdcheckError as error:
        return Failure(result.source, f"its parents cannot be read: {error}")
