"""Work in batches over any `concurrent.futures.Executor`: lazily, so many batches at a time, each item once.

    items ─ in batches ─▶ window ─ submit ─▶ do(batch), in a worker ─▶ queue of what is done ─▶ results, one by one

What a worker sends back is all that its batch costs here, so `do` returns little: a worker has nothing else to do, and
this process serves all of them. Whoever is done says so by itself (a callback puts the future into a queue): to ask all
that are under way whenever one is done would cost more here with each worker.

The first batches are small, so that a few hundred items keep all workers busy too, and results come soon.

A batch whose worker fails as a whole is a suspect. The window runs dry, then it is tried again alone and in halves: who
is alone in the executor when it fails is to blame. So an image that kills its worker costs one result of `lost`.
"""

from __future__ import annotations

from collections import deque
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from vhdcheck.redaction import without_urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from queue import SimpleQueue

Item = TypeVar("Item")
Result = TypeVar("Result")
FIRST: Final = 4
"""Items of the first batches."""
Do: TypeAlias = "Callable[[Sequence[Item]], Sequence[Result]]"
"""What is done to a batch, in a worker: it can be pickled."""
Lost: TypeAlias = "Callable[[Item, str], Result]"
"""What an item comes to that ends its worker, by the reason. Called here."""


def dispatched(
    items: Iterable[Item],
    do: Do[Item, Result],
    lost: Lost[Item, Result],
    *,
    executor: Executor | None,
    batch: int,
    window: int,
) -> Iterator[Result]:
    """Do something to each item in an executor, and yield the results as batches are done, in no certain order.

    Args:
        items: what to do it to; no more of them are taken than are under way.
        do: what is done, to a batch at a time.
        lost: what stands for an item whose worker failed.
        executor: where; without one it is done here, one item after the other.
        batch: items a task, at the most.
        window: tasks under way at the same time.

    Raises:
        Exception: whatever `executor.submit` raises, when the executor takes no more work.
    """
    if executor is None:
        return (result for item in items for result in do((item,)))
    return _Dispatch(executor, do, lost).results(iter(items), batch, window)


def done(work: tuple[Sequence[Item], Do[Item, Result]]) -> Sequence[Result]:
    """Do a batch: what runs in a worker."""
    items, do = work
    return do(items)


def in_words(error: BaseException) -> str:
    """Name an error in one line."""
    text = without_urls(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Dispatch(Generic[Item, Result]):
    """Batches under way in an executor."""

    def __init__(self, executor: Executor, do: Do[Item, Result], lost: Lost[Item, Result]) -> None:
        from queue import SimpleQueue  # for an executor only

        self._executor, self._do, self._lost = executor, do, lost
        self._flying: dict[Future[Sequence[Result]], tuple[Item, ...]] = {}
        self._landed: SimpleQueue[Future[Sequence[Result]]] = SimpleQueue()

    def results(self, items: Iterator[Item], batch: int, window: int) -> Iterator[Result]:
        """Keep `window` batches under way, and yield what they come to."""
        suspects: deque[tuple[Item, ...]] = deque()
        sizes = _sizes(batch, window)
        try:
            while True:
                # With a suspect the window runs dry first: who is then alone in the executor is to blame.
                while not suspects and len(self._flying) < window and (taken := tuple(islice(items, next(sizes)))):
                    self._submit(taken).add_done_callback(self._landed.put)
                if self._flying:
                    future = self._landed.get()
                    taken = self._flying.pop(future)
                    if _error(future) is None:
                        yield from future.result()
                    else:
                        suspects.append(taken)
                elif suspects:
                    yield from self._alone(suspects.popleft())
                else:
                    return
        finally:
            for future in self._flying:
                future.cancel()

    def _submit(self, items: tuple[Item, ...]) -> Future[Sequence[Result]]:
        future = self._executor.submit(done, (items, self._do))
        self._flying[future] = items
        return future

    def _alone(self, items: tuple[Item, ...]) -> Iterator[Result]:
        """Try a batch again, in halves where it fails again, with nothing else under way."""
        stack = [items]
        while stack:
            items = stack.pop()
            future = self._submit(items)
            error = _error(future)
            del self._flying[future]
            if error is None:
                yield from future.result()
            elif len(items) == 1:
                yield self._lost(items[0], f"the worker that checked it failed: {in_words(error)}")
            else:
                middle = len(items) // 2
                stack += [items[middle:], items[:middle]]


def _sizes(batch: int, window: int) -> Iterator[int]:
    """Yield how many items go into each batch: twice as many each time that the window has been filled."""
    size = min(FIRST, batch)
    while size < batch:
        yield from repeat(size, window)
        size = min(2 * size, batch)
    yield from repeat(batch)


def _error(future: Future[Any]) -> BaseException | None:
    """Wait for a future, and return what it failed with."""
    from concurrent.futures import CancelledError  # 5 ms, for an executor only

    try:
        return future.exception()
    except CancelledError as error:  # by the executor: a cluster that lost its scheduler
        return error
