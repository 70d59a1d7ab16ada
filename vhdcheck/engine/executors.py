"""Executors for `audit`: processes that are replaced when they die, and a dask cluster.

Why not `ProcessPoolExecutor`: when one of its processes dies, all work under way fails and no more is taken. If it died
while it wrote a result, everything waits for ever. An image that kills its checker (out of memory, a defect in a
library) must cost one Failure and not a night's run.

How `Processes` works: each worker process has a pipe and a thread here. The thread takes work from a queue, sends it
down the pipe, and waits for the answer. A process that dies closes its pipe; the thread sees EOFError, fails this one
piece of work and starts another process. So there is nothing shared that a dying process could leave locked.

Where processes come from: on Linux the first ones are forked, if this process has no other thread. That takes 2 ms, and
they have all that was loaded here, where one that begins anew would load it again, 200 ms long. With other threads it
would copy locks that these hold; so those that replace the dead, and all of them elsewhere, come from multiprocessing's
fork server.

States: `_forked` are processes that no thread has taken yet. `_threads` is empty after `shutdown`; `_fault` is set when
processes do not start, or were killed, and then fails all that follows instead of trying for every batch.
"""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from vhdcheck.errors import SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

_SCHEMES: Final = {"dask": "tcp", "dask+tls": "tls"}
_MODULES: Final = ["vhdcheck.engine.audit"]
"""What a worker needs before its first image. Not numpy, which most images do without: all workers load it at the same
time, where they need it."""
_METHOD: Final = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def _start_server() -> None:
    """Start multiprocessing's fork server, where there is one, and if it does not run yet."""
    if _METHOD != "forkserver":
        return
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.get_context(_METHOD).set_forkserver_preload(_MODULES)
    resource_tracker.ensure_running()  # it opens the mask that is set here, so it comes first
    with _uninterrupted():
        forkserver.ensure_running()


def _can_fork() -> bool:
    """Say whether a fork copies all that runs here: on macOS there is more than is seen."""
    with suppress(OSError):
        return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1
    return False


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let what is started here inherit that it is not interrupted, from its first moment on.

    An interrupt is the main thread's to handle, and a process that is still importing would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Processes(Executor):
    """A pool of processes that outlives them: a process that dies fails its own work only, and is replaced."""

    def __init__(self, workers: int) -> None:
        """Fork the processes, where that can be done, and start the threads; else each starts its process.

        Args:
            workers: processes.
        """
        self._context: Any = multiprocessing.get_context(_METHOD)
        self._work: SimpleQueue[tuple[Future[Any], Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._running: set[Any] = set()
        self._fault = ""
        self._forked: list[_Worker] = []
        if _can_fork():
            self._fork(workers)
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in a process.

        Raises:
            SourceError: processes do not start.
            RuntimeError: after `shutdown`.
        """
        with self._lock:
            if self._fault:
                raise SourceError(self._fault)
            if not self._threads:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future: Future[T] = Future()
            self._work.put((future, (fn, args, kwargs)))
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (Executor's)
        """End the processes when the work is done."""
        with self._lock:
            threads, self._threads = self._threads, []
        if cancel_futures:
            with suppress(Empty):
                while item := self._work.get_nowait():
                    item[0].cancel()
        for _ in threads:
            self._work.put(None)
        if wait:
            for thread in threads:
                thread.join()
            while self._forked:
                self._forget(self._forked.pop())

    def kill(self) -> None:
        """End the processes now: the work under way fails, what waits is cancelled."""
        self._blame("the processes were killed")
        with self._lock:
            running = [*self._running]
        for process in running:
            process.terminate()
        self.shutdown(cancel_futures=True)

    def _serve(self) -> None:
        """Hand work to a process, one piece after the other; a new process where it died."""
        worker: _Worker | None = None
        while (item := self._work.get()) is not None:
            future, work = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                worker = worker or self._started()
                result, error = worker.do(work)
            except _DIED:
                from concurrent.futures.process import BrokenProcessPool  # 20 ms, for a death only

                result, error = None, BrokenProcessPool("a process died")
                self._forget(worker)
                worker = None
            except Exception as problem:  # noqa: BLE001 (work that cannot be pickled, a result that cannot be unpickled)
                result, error = None, problem
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            del future, work, item, result, error
        self._forget(worker)

    def _fork(self, number: int) -> None:
        """Fork processes; if the system gives no more, those that are missing are started where they are needed."""
        was_frozen = gc.get_freeze_count()
        gc.freeze()  # whoever looks for garbage copies what it looks at, and there is none in what is loaded
        try:
            with _uninterrupted(), suppress(OSError):
                for _ in range(number):
                    self._forked.append(_Worker(multiprocessing.get_context("fork"), self._forked))
        finally:
            if not was_frozen:
                gc.unfreeze()
            self._running.update(worker.process for worker in self._forked)

    def _started(self) -> _Worker:
        with self._lock:
            if self._fault:
                raise EOFError
        worker = None
        try:
            with self._lock:
                if self._forked:
                    worker = self._forked.pop()
                else:
                    _start_server()
                    worker = _Worker(self._context)
                self._running.add(worker.process)
            if problem := worker.pipe.recv():
                raise RuntimeError(problem)  # noqa: TRY301 (handled as the others)
        except Exception as error:
            # Or every batch would fail, one after the other: no memory, or a script that lacks `if __name__ == ...`.
            text = " ".join(str(error).split())
            self._blame(f"worker processes do not start{f': {text}' if text else ''}")
            self._forget(worker)
            raise EOFError from error
        return worker

    def _blame(self, fault: str) -> None:
        with self._lock:
            self._fault = self._fault or fault

    def _forget(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.pipe.close()  # a live one ends by that
            worker.process.join()
            self._running.discard(worker.process)


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, context: Any, forked: Sequence[_Worker] | None = None) -> None:  # a context of multiprocessing
        """Start a process; with those that were forked before, if it is one of them."""
        self.pipe, theirs = context.Pipe()
        # It ends by its pipe's end, so it must not hold our ends of its own and of theirs.
        ours = () if forked is None else (self.pipe, *(worker.pipe for worker in forked))
        self.process = context.Process(target=_work, args=(theirs, ours), daemon=True)
        self.process.start()
        theirs.close()

    def do(self, work: Any) -> tuple[Any, BaseException | None]:  # function and arguments
        self.pipe.send(work)
        answer: tuple[Any, BaseException | None] = self.pipe.recv()
        return answer


_DIED: Final = (EOFError, ConnectionError)


def _work(pipe: Connection, others: Sequence[Connection]) -> None:
    """What a process does until its pipe is closed."""
    for other in others:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle
    try:
        load(_MODULES)
    except Exception as error:  # noqa: BLE001 (the caller's to see, in a line)
        pipe.send(f"{type(error).__name__}: {error}")
        return
    with suppress(*_DIED):
        pipe.send("")
        while True:
            try:
                fn, args, kwargs = pipe.recv()
                answer = ForkingPickler.dumps((fn(*args, **kwargs), None))
            except _DIED:
                return
            except Exception as error:  # noqa: BLE001 (the caller's to see)
                answer = ForkingPickler.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))
            pipe.send_bytes(answer)


def load(modules: list[str]) -> None:
    """Import modules: what a cluster's worker is asked first, to show that it has vhdcheck."""
    for name in modules:
        importlib.import_module(name)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Offer `Processes`, and end them: when their work is done, or at once by an exception."""
    executor = Processes(workers)
    try:
        yield executor
    except BaseException:
        executor.kill()
        raise
    executor.shutdown()


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a dask cluster, whose workers have vhdcheck installed.

    Args:
        address: `dask://HOST:PORT` of the scheduler; `dask+tls://HOST:PORT` with the certificates that
            dask's own configuration names.

    Yields:
        Its executor, and how many threads its workers have.

    Raises:
        UsageError: no such address, or dask is not installed here.
        SourceError: the cluster cannot be reached, or its workers cannot run vhdcheck.
    """
    scheme, _, place = address.partition("://")
    if scheme not in _SCHEMES or not place:
        raise UsageError(f"not an executor: {address!r}; give dask://HOST:PORT")
    try:
        from distributed import Client, Security  # an extra
    except ImportError:
        raise UsageError("to use a dask cluster, install vhdcheck with its extra dask") from None
    try:
        # Without a certificate its client fails with a TypeError, and says more on standard error when it is forgotten.
        encrypted = scheme != "dask+tls" or Security().get_connection_args("client")["ssl_context"]  # type: ignore[no-untyped-call, unused-ignore]
    except OSError as error:
        raise UsageError(f"{address}: cannot use the certificates: {error}") from error
    if not encrypted:
        raise UsageError(f"{address}: no certificate: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT")
    try:
        client: Any = Client(f"{_SCHEMES[scheme]}://{place}", set_as_default=False)  # type: ignore[no-untyped-call, unused-ignore]
    except (OSError, ValueError) as error:
        raise SourceError(f"{address}: cannot reach the scheduler: {error}") from error
    with client:
        executor = client.get_executor(pure=False)
        try:
            executor.submit(load, _MODULES).result()
        except Exception as error:
            raise SourceError(f"{address}: its workers cannot run vhdcheck: {error}") from error
        try:
            yield executor, sum(client.nthreads().values())
        except BaseException:
            logging.disable()  # an interrupted client complains of the connections that it closes
            raise
